"""The content of a report, section by section, as templates show it; a section that lacks its files is None.

What is missing is told at the end of the report with the reason, so that nobody takes a short report for a whole one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hfpipe.config.sections import REGRESSION, SINGLE_LABEL
from hfpipe.evaluation.ladder import Rung, build_ladder
from hfpipe.evaluation.predictions import Predictions
from hfpipe.evaluation.record import EvaluationRecord, MetricRecord, PartRecord
from hfpipe.evaluation.verdict import Verdict, judge_record, say_decision
from hfpipe.inspection.record import FindingsRecord
from hfpipe.report.bars import Bar, place_bars, place_rungs
from hfpipe.report.charts import draw_curves, draw_predicted, draw_rankings, draw_reliability
from hfpipe.report.facts import RunFacts, describe_facts
from hfpipe.report.files import RunFiles
from hfpipe.report.groups import Group, group_by_columns, group_by_length
from hfpipe.report.line_chart import Chart
from hfpipe.report.rows import ShownRow, show_rows
from hfpipe.report.samples import Continuations, gather_continuations
from hfpipe.report.told_rows import ScoredPart
from hfpipe.secrecy import hide

LABELS_IN_MATRIX = 12
CONFUSIONS = 10


@dataclass(frozen=True)
class Scored:
    """Something with a score and where that stands among its like."""

    name: str
    rows: int
    score: MetricRecord
    bar: Bar | None


@dataclass(frozen=True)
class GroupTable:
    """Rows of the part by one property; without groups `reason` says why."""

    name: str
    groups: Sequence[Scored]
    reason: str = ""


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix: rows of (true label, counts, shares); of many labels the commonest confusions alone."""

    labels: Sequence[str]
    rows: Sequence[tuple[str, Sequence[int], Sequence[float]]]
    confusions: Sequence[tuple[str, str, int]]


@dataclass(frozen=True)
class SourceScores:
    """The scores of a source of a mixture."""

    name: str
    scores: Sequence[MetricRecord]


@dataclass(frozen=True)
class RunView:
    """Everything the report of a run shows."""

    files: RunFiles
    record: EvaluationRecord | None
    verdict: Verdict | None
    facts: RunFacts
    ladder: Sequence[tuple[Rung, Bar | None]]
    curves: Sequence[Chart]
    matrix: Matrix | None
    reliability: Chart | None
    rankings: Sequence[Chart]
    scatter: Chart | None
    groups: Sequence[GroupTable]
    rows: Sequence[ShownRow]
    sources: Sequence[SourceScores]
    source_metrics: Sequence[str]
    continuations: Continuations | None
    findings: FindingsRecord | None
    omitted: Sequence[str]

    @property
    def part(self) -> PartRecord | None:
        """The part that the model is judged by."""
        return self.record.parts.get(self.record.judged_part) if self.record else None

    @property
    def decision(self) -> str:
        """From which probabilities on labels are given; '' without thresholds."""
        return say_decision(self.record) if self.record else ""


def view_run(files: RunFiles) -> RunView:
    """Return what the report of a run shows."""
    record, predictions = files.evaluation, files.judged
    part = _read_scores(record, predictions) if record and predictions is not None and len(predictions) else None
    is_ranked = part is not None and part.predictions.problem_type != REGRESSION
    ladder = build_ladder(record) if record else []
    source_metrics, sources = _find_sources(files)
    return RunView(
        files,
        record,
        judge_record(record) if record else None,
        describe_facts(files),
        list(zip(ladder, place_rungs(ladder), strict=True)),
        draw_curves(files) if files.history else [],
        _build_matrix(record),
        draw_reliability(part) if part and is_ranked else None,
        list(draw_rankings(part)) if part and is_ranked else [],
        draw_predicted(part.predictions) if part and not is_ranked else None,
        list(_find_groups(files, part)) if part else [],
        show_rows(part, files.attributions, record.judged_part) if part and record else [],
        sources,
        source_metrics,
        gather_continuations(files),
        files.findings,
        list(_find_omitted(files)),
    )


def _read_scores(record: EvaluationRecord, predictions: Predictions) -> ScoredPart:
    """Return what the model said as `predict` reads it."""
    temperature = record.calibration.temperature if record.calibration else 1.0
    return ScoredPart(predictions, temperature, record.thresholds.values if record.thresholds else {})


def _build_matrix(record: EvaluationRecord | None) -> Matrix | None:
    part = record.parts.get(record.judged_part) if record else None
    if record is None or part is None or part.confusion is None:
        return None
    counts, names = np.array(part.confusion), record.label_names
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = np.where(np.eye(len(names), dtype=bool), 0, counts)
    commonest = [divmod(int(cell), len(names)) for cell in np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]]
    confusions = [
        (names[true], names[other], int(counts[true, other])) for true, other in commonest if wrong[true, other]
    ]
    if len(names) > LABELS_IN_MATRIX:
        return Matrix((), (), confusions)
    rows = [(name, own.tolist(), share.tolist()) for name, own, share in zip(names, counts, shares, strict=True)]
    return Matrix(names, rows, confusions if len(names) > 2 else ())


def _find_groups(files: RunFiles, part: ScoredPart) -> Iterator[GroupTable]:
    assert files.evaluation is not None, "predictions are read for a part of the record"
    metric, settings = files.evaluation.headline, files.settings
    read = settings.get("max_seq_length") if settings.get("long_texts", "head") != "windows" else None
    lengths = group_by_length(part.predictions, metric, read_tokens=read)
    yield GroupTable("length of the text", _score(lengths), "" if lengths else "too few rows to be cut by length")
    for name, groups in group_by_columns(part.predictions, metric):
        yield GroupTable(hide(name), _score(groups), "" if groups else "it has one value, or nearly as many as rows")


def _score(groups: Sequence[Group]) -> list[Scored]:
    scores = [MetricRecord(group.value, group.low, group.high) for group in groups]
    places = zip(groups, scores, place_bars(scores), strict=True)
    return [Scored(hide(group.name), group.rows, score, bar) for group, score, bar in places]


def _find_sources(files: RunFiles) -> tuple[Sequence[str], Sequence[SourceScores]]:
    """Return names of metrics and the scores of each source of a mixture by them, on the judged part."""
    record, names = files.evaluation, list(files.run.get("mixture") or {})
    part = record.parts.get(record.judged_part) if record else None
    if record is None or part is None or not names:
        return (), ()
    wanted = ("loss", "perplexity", "bits_per_byte", record.headline, "accuracy", "f1_micro", "rmse")
    metrics = [name for name in dict.fromkeys(wanted) if f"{name}_{names[0]}" in part.metrics]
    unknown = MetricRecord(None)
    found = [SourceScores(name, [part.metrics.get(f"{each}_{name}", unknown) for each in metrics]) for name in names]
    return metrics, found


def _find_omitted(files: RunFiles) -> Iterator[str]:
    record = files.evaluation
    if not files.history:
        yield "Curves: the run logged nothing (history.jsonl)."
    if record is None:
        yield "Verdict, scores and ladder: the run has no evaluation.json."
    elif not record.baselines and not files.is_language_model:
        yield "Comparison with baselines: none was trained (baselines)."
    if files.is_language_model:
        if not files.samples and not files.run.get("samples"):
            yield "Continuations: no prompts were set (sample_prompts)."
        return
    if record is not None and files.judged is None:
        yield f"Charts by row, groups, errors: there are no predictions/{record.judged_part}.parquet."
    elif files.judged is not None and files.attributions is None:
        yield "Which words spoke for an answer: the run has no attributions.json."
    if files.attributions is not None and files.attributions.rows_left_out:
        count = files.attributions.rows_left_out
        yield f"Words that spoke for an answer are missing for {count:,} rows: they did not fit into the time allowed."
    if record is not None and record.problem_type == SINGLE_LABEL and record.calibration is None:
        yield "Calibration: no temperature was fitted (calibrate)."
    if files.findings is None:
        yield "Data findings: the run has no findings.json; hfpipe inspect looks for them."
