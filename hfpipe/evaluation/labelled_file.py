"""A classifier judged on a labelled file, by the metrics of its training.

Refuses labels the model does not know: a score over the other rows would look better than the model is. Rows are
scored as they are; those without text or label cannot be, and are counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.data.columns import ONLY_OTHER, ColumnChoice, ColumnRequest
from hfpipe.data.findings import Findings
from hfpipe.data.label_column import LabelShape
from hfpipe.data.labels import Labels, check_known, rename_labels
from hfpipe.data.progress import progress_options
from hfpipe.data.record_stream import SourceFile, place_of_header
from hfpipe.data.records import Reading, stream_records
from hfpipe.data.sources import PartSource
from hfpipe.data.table import Table, TableRequest, read_table
from hfpipe.data.targets import encode_table
from hfpipe.errors import DataError, Problem
from hfpipe.evaluation.classifier_scores import LogitReading, compute_scores
from hfpipe.evaluation.metrics import ClassScore, per_class_table
from hfpipe.inference.loading import LoadedClassifier
from hfpipe.inference.precision import FLOAT32, ScoringPrecision, check_precision
from hfpipe.inference.predict import compute_logits
from hfpipe.inference.texts import Text

PART = "evaluated"


@dataclass(frozen=True)
class LabelledFile:
    """A file to be scored.

    Columns and delimiters None: those of the training, else found by name and suffix; encoding None is UTF-8.
    """

    path: Path
    text_columns: tuple[str, ...] = ()
    text_pair_column: str | None = None
    label_column: str | None = None
    label_delimiter: str | None = None
    delimiter: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class FileScores:
    """`metrics` by name, `per_class` in the order of the labels, and `lines` on what was read: columns, every row."""

    metrics: Mapping[str, float]
    per_class: tuple[ClassScore, ...]
    lines: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the metrics under Hugging Face's prefix, and the scores of each class, where there are classes."""
        flat = {f"eval_{name}": value for name, value in self.metrics.items()}
        return {**flat, "per_class": {row.label: {**vars(row)} for row in self.per_class}}


def evaluate_file(
    classifier: LoadedClassifier,
    file: LabelledFile,
    *,
    batch_size: int | None = None,
    precision: ScoringPrecision = FLOAT32,
) -> FileScores:
    """Return the scores of `classifier` on the rows of `file` that have a text and a label, as its run has them.

    Probabilities are calibrated where the run has done that; scores of labels by thresholds have names of their own.
    The scores by label are those of the labels that `predict` gives.

    Raises:
        ConfigError: If the hardware does not compute in that precision.
        DataError: With all problems of the file, labels the model does not know among them.
    """
    check_precision(precision, classifier.model.device)
    table, lines = _read(classifier, file)
    problem_type, names = classifier.problem_type, classifier.label_names
    targets = encode_table(table, problem_type=problem_type, label_names=names)
    logits = _run(classifier, table, batch_size=batch_size, precision=precision)
    reading = LogitReading(problem_type, names, classifier.settings.temperature, classifier.settings.thresholds)
    metrics = {"loss": _loss(logits, targets, problem_type), **compute_scores(reading, logits, targets)}
    per_class: tuple[ClassScore, ...] = ()
    if problem_type != REGRESSION:
        per_class = per_class_table(problem_type, reading.decide(logits), targets, label_names=names)
    return FileScores(metrics, per_class, (*lines, _tell_precision(classifier, precision)))


def _read(classifier: LoadedClassifier, file: LabelledFile) -> tuple[Table, tuple[str, ...]]:
    """Return the rows that can be scored, and the lines on what was read."""
    findings = Findings()
    source = PartSource(PART, (SourceFile(file.path, str(file.path)),))
    reading = Reading(file.delimiter, encoding=file.encoding)
    shape = LabelShape(classifier.problem_type, _label_delimiter(classifier, file))
    request = TableRequest(_columns(classifier, file), reading, shape, classifier.settings.cleaning_steps)
    table = read_table(source, request, findings)
    _check_label_column(classifier, table, file)
    findings.raise_if_any()
    renamed = rename_labels(table, classifier.settings.label_names)
    if classifier.problem_type != REGRESSION:
        check_known(PART, renamed, Labels(classifier.label_names, classifier.label_names), findings)
    findings.raise_if_any()
    if not renamed.texts:
        rule = "none has both a text and a label"
        raise DataError(Problem(str(file.path), f"{table.account.read:,} rows", rule, "name a labelled file"))
    assert table.columns is not None, "a file with rows has columns"
    return renamed, (_describe(table.columns), *table.account.lines(PART), *findings.notes)


def _check_label_column(classifier: LoadedClassifier, table: Table, file: LabelledFile) -> None:
    """Refuse to take any other column for the labels where that of the training is not there."""
    trained, columns = classifier.settings.label_column_name, table.columns
    if trained is not None and columns is not None and columns.label_found == ONLY_OTHER:
        place, rule = place_of_header(str(file.path)), f"nothing says that {columns.label!r} holds the labels"
        raise DataError(Problem(place, f"no column {trained!r}", rule, "set label_column_name"))


def _describe(columns: ColumnChoice) -> str:
    """Return the columns that are scored: a label taken from the wrong one would be a score of nothing."""
    pair = "" if columns.text_pair is None else f" and {columns.text_pair!r}"
    return f"texts from column {' + '.join(map(repr, columns.texts))}{pair}, labels from {columns.label!r}"


def _label_delimiter(classifier: LoadedClassifier, file: LabelledFile) -> str | None:
    if file.label_delimiter is None:
        return classifier.settings.label_delimiter
    if classifier.problem_type != MULTI_LABEL:
        rule = "without effect: a text of this model has one label, or a number"
        raise DataError(Problem("label_delimiter", repr(file.label_delimiter), rule, "leave it out"))
    return file.label_delimiter


def _columns(classifier: LoadedClassifier, file: LabelledFile) -> ColumnRequest:
    """Return the columns as given, else as in training where the file has them.

    Of texts that the training joined, and of a second text, none may be missing: the rest would be another text.
    """
    trained = classifier.settings
    header = stream_records(file.path, delimiter=file.delimiter, encoding=file.encoding).header
    known = trained.text_column_names
    texts = known if len(known) > 1 or all(name in header for name in known) else ()
    label = trained.label_column_name if trained.label_column_name in header else None
    return ColumnRequest(
        file.text_columns or texts or None,
        file.label_column or label,
        labelled=True,
        text_delimiter=trained.text_column_delimiter,
        text_pair=file.text_pair_column or trained.text_pair_column_name,
    )


def _tell_precision(classifier: LoadedClassifier, precision: ScoringPrecision) -> str:
    """Return what the scores were computed in, and the run's own where that is something else."""
    own = classifier.trained_in
    differs = own is not None and own != precision
    return f"scored in {precision}" + (f"; the run computed its own scores in {own}" if differs else "")


def _run(
    classifier: LoadedClassifier, table: Table, *, batch_size: int | None, precision: ScoringPrecision
) -> np.ndarray:
    """Return the logits of all rows, (rows, labels)."""
    pairs = table.text_pairs
    texts: list[Text] = list(table.texts) if pairs is None else list(zip(table.texts, pairs, strict=True))
    bar = tqdm(texts, "scoring", unit=" rows", **progress_options())
    found = compute_logits(
        classifier.model,
        classifier.tokenizer,
        bar,
        treatment=classifier.treatment,
        batch_size=batch_size,
        precision=precision,
    )
    return np.stack(list(found))


def _loss(logits: np.ndarray, targets: np.ndarray, problem_type: str) -> float:
    """Return the mean loss of a row as training evaluates it: nats, or under regression the squared error."""
    values = logits.astype(np.float64)
    if problem_type == REGRESSION:
        return float(((values[:, 0] - targets) ** 2).mean())
    if problem_type == MULTI_LABEL:
        return float((np.logaddexp(0, values) - values * targets).mean())
    assert problem_type == SINGLE_LABEL, "there are three problems"
    chosen = values[np.arange(len(targets)), targets]
    return float((np.logaddexp.reduce(values, axis=1) - chosen).mean())
