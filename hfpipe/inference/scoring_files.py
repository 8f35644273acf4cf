"""Every row of a file with what a classifier says of its text, in the file's order and in constant memory.

Refuses a file that already has the columns to be added. Rows without text are kept, their predictions empty: the
output has the rows of the input, one for one.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from hfpipe.data.progress import progress_options
from hfpipe.data.records import Record
from hfpipe.errors import DataError, Problem
from hfpipe.inference.loading import LoadedClassifier
from hfpipe.inference.predict import score_texts
from hfpipe.inference.tables import InputTable, write_table

LABEL_COLUMN = "predicted_label"
DECIMALS = 6


@dataclass(frozen=True)
class ScoredFile:
    """What was scored: rows written, those of them without text, and the column the texts came from."""

    rows: int
    empty: int
    text_column: str


def predict_file(
    classifier: LoadedClassifier,
    table: InputTable,
    output: Path,
    *,
    text_column: str | None = None,
    batch_size: int = 32,
) -> ScoredFile:
    """Write the rows of `table` to `output` with the predicted label and the probability of each label.

    The columns added are `predicted_label` and `probability_<label>`. Without `text_column` the texts are in the
    column of the training, or in the one found by name. `output` '-' writes CSV to standard output.

    Raises:
        DataError: If there is no such column, or the file has one of those to be added.
    """
    column = table.find_text_column(text_column, classifier.columns.get("text"))
    added = (LABEL_COLUMN, *(f"probability_{name}" for name in classifier.label_names))
    _check_new(table, added)
    rows = empty = 0
    with write_table(output, (*table.header, *added)) as write_row:
        for record, scores in score_records(classifier, table, column, batch_size=batch_size):
            write_row({**record.values, **_predictions(classifier, added, scores)})
            rows += 1
            empty += scores is None
    return ScoredFile(rows, empty, column)


def score_records(
    classifier: LoadedClassifier, table: InputTable, text_column: str, *, batch_size: int
) -> Iterator[tuple[Record, np.ndarray | None]]:
    """Yield each row with its probabilities (labels,), None where it has no text."""
    # rows read but not yielded yet: one window of score_texts, and the rows without text among them
    waiting: deque[Record] = deque()

    def texts() -> Iterator[str]:
        for record in tqdm(table.stream().records, "scoring", table.row_count, unit=" rows", **progress_options()):
            waiting.append(record)
            if not _is_empty(record.values[text_column]):
                yield str(record.values[text_column])

    scored = score_texts(
        classifier.model, classifier.tokenizer, texts(), max_length=classifier.max_length, batch_size=batch_size
    )
    for scores in scored:
        while _is_empty(waiting[0].values[text_column]):
            yield waiting.popleft(), None
        yield waiting.popleft(), scores
    for record in waiting:
        yield record, None


def _is_empty(text: object) -> bool:
    return text is None or not str(text).strip()


def _predictions(
    classifier: LoadedClassifier, columns: tuple[str, ...], scores: np.ndarray | None
) -> Mapping[str, object]:
    if scores is None:
        return dict.fromkeys(columns)
    label = classifier.label_names[int(scores.argmax())]
    return dict(zip(columns, (label, *(round(float(score), DECIMALS) for score in scores)), strict=True))


def _check_new(table: InputTable, added: tuple[str, ...]) -> None:
    rule, remedy = "the output would have it twice", "rename or remove it"
    problems = [Problem(f"{table.path}:1", f"column {name!r}", rule, remedy) for name in added if name in table.header]
    if problems:
        raise DataError(problems)
