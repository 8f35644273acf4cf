"""The ladder: the model and its baselines by their headline score, best first, with what each costs."""

from dataclasses import dataclass

from hfpipe.evaluation.numbers import is_lower_better
from hfpipe.evaluation.record import ComparisonRecord, EvaluationRecord, MetricRecord


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
