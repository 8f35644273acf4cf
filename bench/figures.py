"""Numbers from timings: medians with their spread, ratios of turns that were played next to each other, rates.

Medians throughout: on a machine with other work the slow turns say little about the code.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The middle of some values, and how far they lie apart."""

    median: float
    low: float
    high: float
    count: int

    def told(self, digits: int = 3, unit: str = "") -> str:
        """Return 'median (low to high)' with so many significant digits."""
        middle, low, high = (significant(value, digits) for value in (self.median, self.low, self.high))
        return f"{middle}{unit} ({low} to {high})"


def spread(values: Sequence[float]) -> Spread:
    """Return the median, smallest and largest of some values, which are at least one."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def paired_ratio(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """Return how many times `fast` goes into `slow`, turn by turn; low and high are the quartiles.

    Turns beyond those that both sides have are left out.
    """
    ratios = [one / other for one, other in zip(slow, fast, strict=False)]
    if len(ratios) == 1:
        return spread(ratios)
    lower, middle, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return Spread(middle, lower, upper, len(ratios))


def rate(work: Sequence[float], seconds: Sequence[float]) -> float:
    """Return work a second: all the work over as many times the median turn as there were turns."""
    return sum(work) / (len(seconds) * statistics.median(seconds))


def significant(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, thousands separated and never in powers of ten."""
    if value == 0:
        return "0"
    whole = len(f"{abs(value):.0f}") if abs(value) >= 1 else 0
    if whole:
        return f"{value:,.{max(0, digits - whole)}f}"
    places = digits - 1 - int(f"{value:e}".partition("e")[2])
    return f"{value:.{places}f}"
