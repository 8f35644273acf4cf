"""What is said of a study: the runs it would start, and in the end scores, their spread, and the run that is kept."""

from collections.abc import Iterator

from hfpipe.launch import find_opening
from hfpipe.studies.plan import Study
from hfpipe.studies.record import StudyRecord, read_study
from hfpipe.studies.repeat import BEST
from hfpipe.studies.spread import Spread

_STATES = {"new": "begins", "resume": "goes on", "done": "is done"}
_HEADS = ("mean", "sd", "min", "max")


def describe_plan(study: Study) -> Iterator[str]:
    """Yield a line a run, and what follows them."""
    for seed in study.seeds:
        kind = find_opening(study.config_of(seed)).kind
        yield f"seed {seed}: {study.directory_of(seed)} {_STATES[kind]}: {study.prepare(seed).shown}"
    record = study.begun
    yield f"then: the run with the {_better(record)} validation {record.metric} is kept: {study.directory / BEST}"
    if study.scores_test:
        yield "then: the test part, where there is one, is scored once, by that run"


def describe_study(study: Study) -> Iterator[str]:
    """Yield the table of a study whose runs are done.

    Raises:
        CheckpointError: If its record cannot be read.
    """
    record, directory = read_study(study.directory), study.directory
    assert record is not None and record.kept is not None, "its runs are done"
    kept, spreads = record.kept, record.validation or {}
    rows = f"the rows are the same (split_seed {record.split_seed})"
    yield f"{len(record.seeds):,} runs that differ in their seed alone; {rows}"
    tested = record.test.metrics if record.test is not None else {}
    columns = [*_HEADS, "95 % interval of the mean", *([f"test, seed {kept.seed}"] if tested else [])]
    widths = [max(10, len(column)) for column in columns]
    cells = "".join(f"  {column:>{width}}" for column, width in zip(columns, widths, strict=True))
    yield f"{'validation':<24}{cells}"
    for name, spread in spreads.items():
        shown = [*_cells(spread), *([_show(tested.get(name))] if tested else [])]
        cells = "".join(f"  {cell:>{width}}" for cell, width in zip(shown, widths, strict=True))
        yield f"  {name:<22}{cells}".rstrip()
    for run in record.runs:
        chosen = f"  kept: the {_better(record)}" if run.seed == kept.seed else ""
        yield f"seed {run.seed}: validation {record.metric} {_show(run.validation.get(record.metric))}{chosen}"
    if record.test is not None:
        yield f"test part: scored once, by seed {kept.seed}, {record.test.scored_at}"
    model = directory / (BEST if (directory / BEST).is_symlink() else kept.directory)
    yield f"model: {model} (from_pretrained and pipeline load it)"


def _cells(spread: Spread | None) -> list[str]:
    if spread is None:
        return ["" for _ in (*_HEADS, "interval")]
    of_mean = f"{_show(spread.low)} to {_show(spread.high)}"
    return [*map(_show, (spread.mean, spread.standard_deviation, spread.minimum, spread.maximum)), of_mean]


def _better(record: StudyRecord) -> str:
    return "highest" if record.greater_is_better else "lowest"


def _show(value: float | None) -> str:
    return "" if value is None else f"{value:,.4f}"
