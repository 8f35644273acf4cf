"""The ladder: the model and its baselines by their headline score, best first, with what each costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from hfpipe.evaluation.numbers import is_lower_better
from hfpipe.evaluation.record import ComparisonRecord, EvaluationRecord, MetricRecord

FAR = 4.0
"""A rung is off the scale where it is so many times as far from the best as the one before it."""


@dataclass(frozen=True)
class Rung:
    """One model of the ladder; `comparison` is the run's model against it."""

    title: str
    is_model: bool
    score: MetricRecord
    parameters: int | None
    train_seconds: float | None
    rows_per_second: float | None
    comparison: ComparisonRecord | None = None


@dataclass(frozen=True)
class Bar:
    """Where a score and its interval stand on a line, in per cent of its length."""

    low: float
    value: float
    high: float


def build_ladder(record: EvaluationRecord) -> list[Rung]:
    """Return the rungs on the part the model is judged by, best first; models without a score come last."""
    unknown = MetricRecord(None)
    part = record.parts.get(record.judged_part)
    own = part.metrics.get(record.headline, unknown) if part else unknown
    model = record.model
    rungs = [Rung(model.title, True, own, model.parameters, model.train_seconds, model.rows_per_second)]
    for each in record.baselines:
        theirs = each.parts.get(record.judged_part)
        score = theirs.metrics.get(record.headline, unknown) if theirs else unknown
        cost = (each.parameters, each.train_seconds, each.rows_per_second)
        rungs.append(Rung(each.title, False, score, *cost, each.comparison))
    sign = 1 if is_lower_better(record.headline) else -1
    return sorted(rungs, key=lambda rung: (rung.score.value is None, sign * (rung.score.value or 0.0)))


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
