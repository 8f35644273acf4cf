"""`evaluation.json`: what a finished run is worth, in the form that the report, the card and comparisons read.

Scores with their 95 % intervals, tables of the classes, calibration, thresholds and baselines; the rows behind them lie
in `predictions/`. Refuses a file of another format, and keys or values that no version of this one has. Numbers are
null where nothing is known or a number is not finite. Only `train_seconds` and `rows_per_second` depend on the clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.run_directory import read_json, write_json
from hfpipe.records.typed_json import from_plain, to_plain

EVALUATION_FILE = "evaluation.json"
EVALUATION_FORMAT = "hfpipe evaluation 1"
CAUSAL_LM = "causal_lm"
"""The `problem_type` of language models; the others are those of classifiers."""
VALIDATION, TEST = "validation", "test"
PREFIXES: Mapping[str, str] = {VALIDATION: "eval", TEST: "test"}
"""Hugging Face's prefix of the scores of a part."""

_REMEDY = "use the version that wrote it, or give the command of the run again with fresh_start: true"


@dataclass(frozen=True)
class MetricRecord:
    """A score and its 95 % interval; `low` and `high` are None where none is computed."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ClassRecord:
    """The scores of one label; `support` is its rows."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class PartRecord:
    """The scores of a part; `rows` are its texts, of a language model its blocks.

    `metrics` are those of metrics.json without its prefixes, in their order. `confusion` is there for one label a row:
    true labels down, predicted ones across. Like `per_class` it goes by the labels that `predict` gives: by thresholds
    where there are, which `metrics` do only where their name says so.
    """

    rows: int
    metrics: Mapping[str, MetricRecord]
    per_class: tuple[ClassRecord, ...] = ()
    confusion: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True)
class CalibrationRecord:
    """The temperature that logits are divided by, and what it does on the validation part it was fitted on."""

    temperature: float
    rows: int
    log_loss_before: float | None
    log_loss_after: float | None
    ece_before: float | None
    ece_after: float | None


@dataclass(frozen=True)
class ThresholdsRecord:
    """From which probability on a label is given, as chosen on the validation part.

    `reached` are the numbers the aim is about, on that part, by name; a label's own are named `<number>_<label>`.
    """

    aim: str
    values: Mapping[str, float]
    reached: Mapping[str, float | None]


@dataclass(frozen=True)
class ComparisonRecord:
    """The model's score minus that of a baseline on the same rows, with the name of the paired `test`."""

    part: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    test: str


@dataclass(frozen=True)
class BaselinePart:
    """The scores of a baseline on a part."""

    metrics: Mapping[str, MetricRecord]


@dataclass(frozen=True)
class BaselineRecord:
    """Another model for the same task, trained on the same rows; `parameters` and times are None where unknown."""

    name: str
    title: str
    parameters: int | None
    train_seconds: float | None
    rows_per_second: float | None
    parts: Mapping[str, BaselinePart]
    comparison: ComparisonRecord | None = None


@dataclass(frozen=True)
class ModelRecord:
    """The model of the run; `rows_per_second` are those scored, times are None where no session measured them."""

    title: str
    parameters: int
    train_seconds: float | None = None
    rows_per_second: float | None = None


@dataclass(frozen=True)
class EvaluationRecord:
    """What a run is worth. `headline` names the metric that comparisons are made by; `parts` are by name."""

    problem_type: str
    label_names: tuple[str, ...]
    headline: str
    parts: Mapping[str, PartRecord]
    calibration: CalibrationRecord | None
    thresholds: ThresholdsRecord | None
    baselines: tuple[BaselineRecord, ...]
    model: ModelRecord

    @property
    def judged_part(self) -> str:
        """The part that the model is judged by: test where there is one, else validation."""
        return TEST if TEST in self.parts else VALIDATION

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        return {"format": EVALUATION_FORMAT, **to_plain(self)}

    @classmethod
    def from_json(cls, content: object, *, place: str = EVALUATION_FILE) -> "EvaluationRecord":
        """Return the record that `content` is of; `place` names the file, for messages.

        Raises:
            CheckpointError: With everything that no version of this format has.
        """
        if not isinstance(content, Mapping) or content.get("format") != EVALUATION_FORMAT:
            raise CheckpointError(Problem(place, rule=f"is not in the format '{EVALUATION_FORMAT}'", remedy=_REMEDY))
        fields = {key: value for key, value in content.items() if key != "format"}
        return from_plain(cls, fields, place=place, remedy=_REMEDY)


def write_evaluation(folder: Path, record: EvaluationRecord) -> None:
    """Write the record into `folder`, whole.

    Raises:
        CheckpointError: If it cannot be written, as on a full disk.
    """
    write_json(folder / EVALUATION_FILE, record.to_json())


def read_evaluation(folder: Path) -> EvaluationRecord:
    """Return the record in `folder`.

    Raises:
        CheckpointError: If there is none, or it is not in this format.
    """
    path = folder / EVALUATION_FILE
    return EvaluationRecord.from_json(read_json(path), place=str(path))


def flatten_metrics(record: EvaluationRecord) -> dict[str, float | None]:
    """Return the scores as metrics.json has them.

    `<prefix>_<metric>` with `_low` and `_high` where it has an interval, and `<prefix>_<baseline>_<metric>` of the
    metric that the baselines are compared by; the prefix is 'eval' for the validation part.
    """
    found: dict[str, float | None] = {}
    for part, scored in record.parts.items():
        prefix = PREFIXES[part]
        for name, metric in scored.metrics.items():
            found[f"{prefix}_{name}"] = metric.value
            if metric.low is not None:
                found |= {f"{prefix}_{name}_low": metric.low, f"{prefix}_{name}_high": metric.high}
        for baseline in record.baselines:
            reached = baseline.parts[part].metrics.get(record.headline) if part in baseline.parts else None
            if reached is not None:
                found[f"{prefix}_{baseline.name}_{record.headline}"] = reached.value
    return found
