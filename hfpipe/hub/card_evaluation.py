"""What a card says of an honest evaluation: the verdict, intervals, the ladder of baselines, calibration, pictures.

All of it is of the finished model alone; a card of weights on the way has none of these lines.
"""

from collections.abc import Iterator

from hfpipe.evaluation.ladder import Rung, build_ladder
from hfpipe.evaluation.numbers import (
    is_share,
    say_metric,
    show_count,
    show_p,
    show_range,
    show_scoring_rate,
    show_seconds,
    show_signed,
    show_value,
)
from hfpipe.evaluation.record import MetricRecord
from hfpipe.evaluation.verdict import judge_record
from hfpipe.hub.card_facts import PARTS, CardFacts
from hfpipe.hub.card_text import number, plain, table
from hfpipe.hub.files import CONFUSION, RELIABILITY

_PICTURES = {
    CONFUSION: "confusion matrix: true labels down, predicted ones across",
    RELIABILITY: "how often the model is right, by how sure it is; on the diagonal it says the truth",
}


def verdict_lines(facts: CardFacts) -> Iterator[str]:
    """Yield what the model is worth in a paragraph."""
    if facts.evaluation is not None:
        verdict = judge_record(facts.evaluation)
        yield from (f"**{plain(verdict.title)}.** {plain(verdict.text)}", "")


def say_interval(facts: CardFacts, prefix: str, name: str) -> str:
    """Return the interval of a score in brackets, to stand behind it; nothing where there is none."""
    part = None if facts.evaluation is None else facts.evaluation.parts.get(PARTS[prefix])
    score = MetricRecord(None) if part is None else part.metrics.get(name, MetricRecord(None))
    if score.low is None or score.high is None:
        return ""
    return f" ({number(score.low)} to {number(score.high)})"


def ladder_lines(facts: CardFacts) -> Iterator[str]:
    """Yield the model and its baselines, best first."""
    record = facts.evaluation
    if record is None or not record.baselines:
        return
    metric = record.headline
    difference = f"model against it{' (points)' if is_share(metric) else ''}"
    heading = ["model", say_metric(metric), "95 % interval", difference, "parameters", "training", "rows a second"]
    yield from ("### Against baselines", "")
    yield from (*table(heading, [_cells(rung, metric) for rung in build_ladder(record)]), "")
    yield from (f"All were scored on the {record.judged_part} part; differences are tested on the same rows.", "")


def calibration_lines(facts: CardFacts) -> Iterator[str]:
    """Yield what the temperature does, and the pictures that lie beside the card."""
    calibration = None if facts.evaluation is None else facts.evaluation.calibration
    if calibration is not None:
        loss = [show_value(each) for each in (calibration.log_loss_before, calibration.log_loss_after)]
        error = [show_value(each) for each in (calibration.ece_before, calibration.ece_after)]
        yield (
            f"Calibration: a temperature of {calibration.temperature:.4g}, fitted on {calibration.rows:,} validation "
            f"rows, takes their log loss from {loss[0]} to {loss[1]} and their expected calibration error from "
            f"{error[0]} to {error[1]}."
        )
        yield ""
    has_thresholds = facts.evaluation is not None and facts.evaluation.thresholds is not None
    for name in facts.pictures:
        told = f"{_PICTURES[name]}{', by thresholds' if has_thresholds and name == CONFUSION else ''}"
        yield from (f"![{told}]({name})", "")


def _cells(rung: Rung, metric: str) -> list[str]:
    title = plain(rung.title)
    against = rung.comparison
    told = "" if against is None else f"{show_signed(against.difference, metric)} {show_p(against.p_value)}".strip()
    return [
        f"**{title}**" if rung.is_model else title,
        show_value(rung.score.value, metric),
        show_range(rung.score.low, rung.score.high, metric),
        told.replace("<", "&lt;"),
        show_count(rung.parameters),
        show_seconds(rung.train_seconds),
        show_scoring_rate(rung.rows_per_second),
    ]
