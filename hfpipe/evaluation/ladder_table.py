"""The ladder as lines of a log: each model with its score and cost, best first, and a sentence on what that means.

Nothing is said to beat anything unless the whole 95 % interval of the difference is on its side.
"""

from hfpipe.evaluation.ladder import Rung, build_ladder
from hfpipe.evaluation.numbers import (
    is_lower_better,
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
from hfpipe.evaluation.record import CAUSAL_LM, BaselineRecord, ComparisonRecord, EvaluationRecord
from hfpipe.evaluation.verdict import find_best_baseline, find_tone


def describe_ladder(record: EvaluationRecord) -> list[str]:
    """Return the table of the model and its baselines, and the sentence below it; nothing where there are none."""
    if not record.baselines:
        return []
    pace = "blocks/s" if record.problem_type == CAUSAL_LM else "rows/s"
    head = (f"{record.judged_part} {say_metric(record.headline)}", "score", "95 % interval")
    cells = [
        (*head, "parameters", "trained in", pace),
        *(_cells(rung, record.headline) for rung in build_ladder(record)),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head) + 3)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]
    best = find_best_baseline(record)
    return lines if best is None else [*lines, compare_in_words(best)]


def compare_in_words(baseline: BaselineRecord) -> str:
    """Return whether the model beats a baseline, by how much and how sure that is."""
    title, comparison = baseline.title, baseline.comparison
    if comparison is None or comparison.difference is None:
        return f"not compared with {title}"
    told, tone = _say_difference(comparison), find_tone(comparison)
    evidence = _say_evidence(comparison)
    if tone == "better":
        return f"{told} {'against' if is_lower_better(comparison.metric) else 'over'} {title}{evidence}"
    if tone == "worse":
        return f"worse than {title}: {told}{evidence}; use the simpler model"
    if tone == "unclear":
        return f"not distinguishable from {title}: {told}{evidence}; consider the simpler model"
    return f"{told} against {title}; how sure that is is not known, for there are too few rows"


def _cells(rung: Rung, metric: str) -> tuple[str, ...]:
    score = rung.score
    return (
        f"* {rung.title}" if rung.is_model else f"  {rung.title}",
        show_value(score.value, metric),
        show_range(score.low, score.high, metric),
        show_count(rung.parameters),
        show_seconds(rung.train_seconds),
        show_scoring_rate(rung.rows_per_second),
    )


def _say_difference(comparison: ComparisonRecord) -> str:
    metric = comparison.metric
    unit = "points" if is_share(metric) else say_metric(metric)
    hint = " (lower is better)" if is_lower_better(metric) else ""
    return f"{show_signed(comparison.difference, metric)} {unit}{hint}"


def _say_evidence(comparison: ComparisonRecord) -> str:
    low, high = (show_signed(bound, comparison.metric) for bound in (comparison.low, comparison.high))
    facts = [f"95 % interval {low} to {high}", show_p(comparison.p_value)]
    return f" [{'; '.join(fact for fact in facts if fact)}]"
