"""Several runs side by side: scores with intervals, curves in one chart, and the settings that differ.

Scores of different rows are not compared by a test: which run is better is told only where both scored the same texts
with the same labels, and a report says so where they did not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hfpipe.evaluation.intervals import Comparison, compare_paired
from hfpipe.evaluation.numbers import is_lower_better, say_metric
from hfpipe.evaluation.predictions import Predictions
from hfpipe.evaluation.record import TEST, VALIDATION, EvaluationRecord, MetricRecord
from hfpipe.records.places import scrub, shorten_names
from hfpipe.report.bars import Bar, place_bars
from hfpipe.report.charts import fit_metric_axis
from hfpipe.report.facts import show_setting
from hfpipe.report.files import RunFiles
from hfpipe.report.line_chart import Chart, Line, draw_chart, fit_axis, thin
from hfpipe.report.plots import SMOOTH_FROM_POINTS, find_series, running_mean

_PLACES = ("output_dir", "run_name", "fresh_start", "resume_from_checkpoint", "hub_model_id")


@dataclass(frozen=True)
class ComparedRun:
    """The score of a run in a table; `difference` is against the first run, on the same rows."""

    name: str
    rows: int
    score: MetricRecord
    bar: Bar | None
    is_best: bool
    difference: Comparison | None


@dataclass(frozen=True)
class ScoreTable:
    """The scores of all runs that have one by a metric on a part."""

    part: str
    metric: str
    rows: Sequence[ComparedRun]

    @property
    def is_paired(self) -> bool:
        """Whether a run was compared with the first."""
        return any(row.difference is not None for row in self.rows)


@dataclass(frozen=True)
class CostRow:
    """What a run took."""

    name: str
    model: str
    parameters: int | None
    steps: int | None
    train_seconds: float | None
    rows_per_second: float | None


@dataclass(frozen=True)
class CompareView:
    """Everything a comparison shows."""

    names: Sequence[str]
    notices: Sequence[str]
    tables: Sequence[ScoreTable]
    costs: Sequence[CostRow]
    charts: Sequence[Chart]
    settings: Sequence[tuple[str, Sequence[str]]]


def compare_runs(files: Sequence[RunFiles]) -> CompareView:
    """Return the comparison of several runs; the first one is what the others are compared with."""
    named = dict(zip(_name_runs([each.folder.resolve() for each in files]), files, strict=True))
    tables = list(_score_tables(named))
    return CompareView(
        list(named),
        list(_find_notices(named)),
        tables,
        [_cost(name, each) for name, each in named.items()],
        list(_draw_curves(named)),
        list(_find_differences(files)),
    )


def _name_runs(folders: Sequence[Path]) -> list[str]:
    """Return names as short as tell the runs apart; one that is given twice is numbered."""
    distinct = list(dict.fromkeys(map(str, folders)))
    short = dict(zip(distinct, shorten_names(distinct), strict=True))
    names = [short[str(folder)] for folder in folders]
    return [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, start=1)]


def _score_tables(named: Mapping[str, RunFiles]) -> Iterator[ScoreTable]:
    records = {name: each.evaluation for name, each in named.items() if each.evaluation is not None}
    for part in (TEST, VALIDATION):
        for metric in dict.fromkeys(record.headline for record in records.values()):
            scored = {name: record for name, record in records.items() if _has(record, part, metric)}
            if scored:
                yield ScoreTable(part, metric, _compare(named, scored, part, metric))


def _has(record: EvaluationRecord, part: str, metric: str) -> bool:
    return part in record.parts and metric in record.parts[part].metrics


def _compare(
    named: Mapping[str, RunFiles], scored: Mapping[str, EvaluationRecord], part: str, metric: str
) -> list[ComparedRun]:
    scores = [record.parts[part].metrics[metric] for record in scored.values()]
    values = [score.value for score in scores if score.value is not None]
    best = (min if is_lower_better(metric) else max)(values, default=None)
    first = named[next(iter(named))].predictions.get(part)
    owns = [named[name].predictions.get(part) for name in scored]
    known = [own for own in owns if own is not None]
    # the best of scores on other rows is none
    is_fair = len(scores) > 1 and all(_are_same_rows(own, known[0]) for own in known[1:])
    found = []
    for place, (name, record) in enumerate(scored.items()):
        own = owns[place]
        difference = (
            _difference(own, first, metric) if own is not None and first is not None and own is not first else None
        )
        is_best = is_fair and values.count(best or 0.0) == 1 and scores[place].value == best
        bar = place_bars(scores)[place]
        found.append(ComparedRun(name, record.parts[part].rows, scores[place], bar, is_best, difference))
    return found


def _difference(own: Predictions, first: Predictions, metric: str) -> Comparison | None:
    """Return by how much a run is better than the first, where they scored the same rows."""
    if not _are_same_rows(own, first):
        return None
    return compare_paired(own.problem_type, own.logits, first.logits, own.targets, metric=metric, seed=0)


def _are_same_rows(one: Predictions, other: Predictions) -> bool:
    return (
        one.label_names == other.label_names
        and one.problem_type == other.problem_type
        and np.array_equal(one.targets, other.targets)
        and list(one.texts) == list(other.texts)
        and list(one.text_pairs or ()) == list(other.text_pairs or ())
    )


def _find_notices(named: Mapping[str, RunFiles]) -> Iterator[str]:
    missing = [name for name, each in named.items() if each.evaluation is None]
    if missing:
        yield f"Without scores, since there is no evaluation.json: {', '.join(missing)}."
    names = list(named)
    first = named[names[0]]
    for part in (TEST, VALIDATION):
        base = first.predictions.get(part)
        others = [name for name in names[1:] if part in named[name].predictions]
        different = [name for name in others if base is None or not _are_same_rows(base, named[name].predictions[part])]
        if different:
            listed = ", ".join(different)
            yield f"The {part} rows are others than those of {names[0]} in {listed}: their scores do not compare."


def _cost(name: str, files: RunFiles) -> CostRow:
    model = files.evaluation.model if files.evaluation else None
    return CostRow(
        name,
        model.title if model else str(files.run.get("parameters", {}).get("class", "–")),
        files.run.get("parameters", {}).get("count"),
        files.run.get("steps"),
        model.train_seconds if model else None,
        model.rows_per_second if model else None,
    )


def _draw_curves(named: Mapping[str, RunFiles]) -> Iterator[Chart]:
    headlines = [each.evaluation.headline for each in named.values() if each.evaluation is not None]
    wanted = {"loss": "training loss", "eval_loss": "validation loss"}
    wanted |= {f"eval_{metric}": f"validation {say_metric(metric)}" for metric in headlines}
    for key, caption in wanted.items():
        lines = [line for line in _lines(named, key) if len(line.x)]
        if lines:
            x = fit_axis("step", lines, of_x=True)
            alt = f"{caption} over steps of {', '.join(line.name for line in lines)}."
            yield draw_chart(lines, x, fit_metric_axis(key.removeprefix("eval_"), lines), alt=alt, caption=caption)


def _lines(named: Mapping[str, RunFiles], key: str) -> Iterator[Line]:
    for place, (name, files) in enumerate(named.items()):
        steps, values = find_series(files.history, key)
        if len(steps) >= SMOOTH_FROM_POINTS:
            values = running_mean(values, len(steps) // SMOOTH_FROM_POINTS)
        yield Line(name, *thin(steps, values), place=place, has_dots=len(steps) < SMOOTH_FROM_POINTS)


def _find_differences(files: Sequence[RunFiles]) -> Iterator[tuple[str, Sequence[str]]]:
    settings = [scrub(each.settings) for each in files]
    for key in dict.fromkeys(key for each in settings for key in each):
        values = [each.get(key) for each in settings]
        if key not in _PLACES and any(value != values[0] for value in values):
            yield key, [show_setting(value) for value in values]
