"""How far the scores of several runs lie apart.

The interval is Student's for a mean of independent values of a normal distribution: it says where the mean over all
seeds lies, on these very rows. What other rows would change, the interval of each run's own score says.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Of the scores of `runs` runs: mean, sample standard deviation, extremes, and the 95 % interval of the mean."""

    runs: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    low: float
    high: float


def find_spread(values: Sequence[float]) -> Spread | None:
    """Return the spread of `values`; None where fewer than two are finite, which have none."""
    finite = [value for value in values if math.isfinite(value)]
    count = len(finite)
    if count < 2:
        return None
    mean = math.fsum(finite) / count
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in finite) / (count - 1))
    reach = _quantile(count - 1) * deviation / math.sqrt(count)
    return Spread(count, mean, deviation, min(finite), max(finite), mean - reach, mean + reach)


def _quantile(degrees_of_freedom: int) -> float:
    """Return what Student's distribution stays below in all but half of what the interval leaves out."""
    from scipy.special import stdtrit  # a part of a second, and nothing else here needs it

    return float(stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2))
