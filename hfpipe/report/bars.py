"""Where scores and their intervals stand on a line that all of them share.

Refuses nothing; a score that is not known has no place. The decision worth knowing: the last rung of a ladder is off
the scale where it is so far from the others that they could not be told apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hfpipe.evaluation.ladder import Rung
from hfpipe.evaluation.record import MetricRecord

FAR = 4.0
"""A rung is off the scale where it is so many times as far from the best as the one before it."""


@dataclass(frozen=True)
class Bar:
    """Where a score and its interval stand on a line, in per cent of its length."""

    low: float
    value: float
    high: float


def place_rungs(rungs: Sequence[Rung]) -> list[Bar | None]:
    """Return where each rung stands on a line, without the last one where it would hide the others."""
    scores = [rung.score for rung in rungs]
    values = [score.value for score in scores if score.value is not None]
    if len(values) > 2 and abs(values[-1] - values[0]) > FAR * abs(values[-2] - values[0]):
        scores[len(values) - 1] = MetricRecord(None)
    return place_bars(scores)


def place_bars(scores: Sequence[MetricRecord]) -> list[Bar | None]:
    """Return where each score stands on a line that all of them share; None for one that is not known."""
    ends = [each for score in scores for each in (score.low, score.value, score.high) if each is not None]
    if not ends:
        return [None] * len(scores)
    low, high = min(ends), max(ends)
    room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    start, span = low - room, high - low + 2 * room

    def place(value: float) -> float:
        return round(100 * (value - start) / span, 2)

    def bar(score: MetricRecord) -> Bar | None:
        if score.value is None:
            return None
        bounds = (score.low, score.high)
        low, high = (score.value if bound is None else bound for bound in bounds)
        return Bar(place(low), place(score.value), place(high))

    return [bar(score) for score in scores]
