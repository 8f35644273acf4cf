"""Every row of a file with what a classifier says of it, in the file's order and in constant memory.

Refuses a file that already has the columns to be added. Rows without text are kept, their predictions empty: the
output has the rows of the input, one for one.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.data.findings import Findings
from hfpipe.data.progress import progress_options
from hfpipe.data.record_stream import format_suffix, place_of_header
from hfpipe.data.records import Record
from hfpipe.data.table import find_type_problem
from hfpipe.errors import DataError, Problem
from hfpipe.inference.decisions import find_label, find_labels
from hfpipe.inference.loading import LoadedClassifier
from hfpipe.inference.precision import FLOAT32, ScoringPrecision, check_precision
from hfpipe.inference.predict import score_texts
from hfpipe.inference.tables import InputTable, TextColumns, find_text_columns, write_table
from hfpipe.inference.texts import Text

LABEL_COLUMN = "predicted_label"
LABELS_COLUMN = "predicted_labels"
VALUE_COLUMN = "predicted_value"
DECIMALS = 6
UNTYPED_SUFFIXES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class ScoredFile:
    """What was scored: rows written, those of them without text, and the columns the texts came from."""

    rows: int
    empty: int
    columns: TextColumns


def predict_file(
    classifier: LoadedClassifier,
    table: InputTable,
    output: Path,
    *,
    columns: TextColumns | None = None,
    batch_size: int | None = None,
    precision: ScoringPrecision = FLOAT32,
) -> ScoredFile:
    """Write the rows of `table` to `output` with what the classifier says of each.

    The columns added are `predicted_label` and `probability_<label>`; `predicted_labels`, those of probability 0.5 and
    more, under several labels a row; `predicted_value` under regression. Probabilities are calibrated, and labels given
    by thresholds of their own, where the run has found such. Without `columns` the texts are in those of
    the training, or in the one found by name. `output` '-' writes CSV to standard output. `batch_size` and `precision`
    are those of `compute_logits`.

    Raises:
        ConfigError: If the hardware does not compute in that precision.
        DataError: If there is no such column, one holds other values than texts, or the file has one of those to be
            added.
    """
    check_precision(precision, classifier.model.device)
    chosen = find_text_columns(table, columns, classifier.settings)
    added = added_columns(classifier)
    _check_new(table, added)
    _check_texts(table, chosen)
    rows = empty = 0
    with write_table(output, (*table.header, *added)) as write_row:
        for record, scores in score_records(classifier, table, chosen, batch_size=batch_size, precision=precision):
            predicted = dict.fromkeys(added) if scores is None else predict_row(classifier, scores)
            write_row({**record.values, **predicted})
            rows += 1
            empty += scores is None
    return ScoredFile(rows, empty, chosen)


def score_records(
    classifier: LoadedClassifier,
    table: InputTable,
    columns: TextColumns,
    *,
    batch_size: int | None = None,
    precision: ScoringPrecision = FLOAT32,
) -> Iterator[tuple[Record, np.ndarray | None]]:
    """Yield each row with its scores (labels,), None where it has no text."""
    # rows read but not yielded yet: one portion of score_texts, and the rows without text among them
    waiting: deque[tuple[Record, Text | None]] = deque()

    def texts() -> Iterator[Text]:
        for record in tqdm(table.stream().records, "scoring", table.row_count, unit=" rows", **progress_options()):
            text = columns.text_of(record.values)
            waiting.append((record, text))
            if text is not None:
                yield text

    model, tokenizer, treatment = classifier.model, classifier.tokenizer, classifier.treatment
    scored = score_texts(model, tokenizer, texts(), treatment=treatment, batch_size=batch_size, precision=precision)
    for scores in scored:
        while waiting[0][1] is None:
            yield waiting.popleft()[0], None
        yield waiting.popleft()[0], scores
    for record, _ in waiting:
        yield record, None


def added_columns(classifier: LoadedClassifier) -> tuple[str, ...]:
    """Return the names of the columns a prediction has."""
    if classifier.problem_type == REGRESSION:
        return (VALUE_COLUMN,)
    first = LABELS_COLUMN if classifier.problem_type == MULTI_LABEL else LABEL_COLUMN
    return (first, *(f"probability_{name}" for name in classifier.label_names))


def predict_row(classifier: LoadedClassifier, scores: np.ndarray) -> Mapping[str, object]:
    """Return the values of the added columns for the `scores` of a row.

    Several labels are one text where the training's files had them so, delimited as there, and a list otherwise.
    """
    rounded = [round(float(score), DECIMALS) for score in scores]
    if classifier.problem_type == REGRESSION:
        return {VALUE_COLUMN: rounded[0]}
    names, thresholds = classifier.label_names, classifier.settings.thresholds
    probabilities = {f"probability_{name}": score for name, score in zip(names, rounded, strict=True)}
    if classifier.problem_type != MULTI_LABEL:
        return {LABEL_COLUMN: find_label(scores, names, thresholds), **probabilities}
    found = find_labels(scores, names, thresholds)
    delimiter = classifier.settings.label_delimiter
    return {LABELS_COLUMN: found if delimiter is None else delimiter.join(found), **probabilities}


def _check_texts(table: InputTable, columns: TextColumns) -> None:
    """Raise a DataError for values that are no texts: training refuses them, so their scores would mean nothing."""
    if format_suffix(table.path.name) in UNTYPED_SUFFIXES:
        return
    findings, wanted = Findings(), (*columns.texts, *([] if columns.pair is None else [columns.pair]))
    for record in table.stream().records:
        for column in wanted:
            problem = find_type_problem(record, column, str(table.path))
            if problem is not None:
                findings.add("texts of another type", str(table.path), problem)
    findings.raise_if_any()


def _check_new(table: InputTable, added: tuple[str, ...]) -> None:
    place, rule, remedy = place_of_header(str(table.path)), "the output would have it twice", "rename or remove it"
    problems = [Problem(place, f"column {name!r}", rule, remedy) for name in added if name in table.header]
    if problems:
        raise DataError(problems)
