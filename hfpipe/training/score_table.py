"""The scores of a run as the few lines that are shown at its end: the ones that stand for it, with their intervals."""

from collections.abc import Iterator

from hfpipe.evaluation.headlines import HEADLINES
from hfpipe.evaluation.record import EvaluationRecord, MetricRecord

SHOWN = 6
"""Rows of scores that have an interval; beside them stand the loss, sources of a mixture and thresholds."""


def score_table(record: EvaluationRecord) -> list[str]:
    """Return the scores as the lines of a table, a row a metric, a column a part; the one compared by comes first."""
    names = list(_shown_names(record))
    cells = [[name, *(_cell(part.metrics.get(name)) for part in record.parts.values())] for name in names]
    rows = [["scores, 95 % interval", *record.parts], *([f"  {name}", *rest] for name, *rest in cells)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    left = sum(name not in names for name in next(iter(record.parts.values())).metrics)
    return [*lines, f"  {left:,} more in metrics.json"] if left else lines


def _shown_names(record: EvaluationRecord) -> Iterator[str]:
    found = dict.fromkeys(name for part in record.parts.values() for name in part.metrics)
    headlines = [name for name in dict.fromkeys((record.headline, *HEADLINES[record.problem_type])) if name in found]
    yield from headlines[:SHOWN]
    yield from (name for name in found if name.endswith("_at_thresholds"))
    yield from (name for name in found if name.startswith(f"{record.headline}_") and _is_of_source(name, record))
    if "loss" not in headlines[:SHOWN]:
        yield "loss"


def _is_of_source(name: str, record: EvaluationRecord) -> bool:
    """Tell whether a metric is that of a source of a mixture: each source has all of them."""
    source = name.removeprefix(f"{record.headline}_")
    return any(f"loss_{source}" in part.metrics for part in record.parts.values())


def _cell(metric: MetricRecord | None) -> str:
    if metric is None or metric.value is None:
        return ""
    if metric.low is None or metric.high is None:
        return f"{metric.value:,.4f}"
    return f"{metric.value:,.4f} [{metric.low:,.4f}, {metric.high:,.4f}]"
