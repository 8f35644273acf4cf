"""A classifier judged on a labelled file, by the metrics of its training.

Refuses labels the model does not know: a score over the other rows would look better than the model is. Rows are
scored as they are; those without text or label cannot be, and are counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hfpipe.data.columns import ColumnRequest
from hfpipe.data.findings import Findings
from hfpipe.data.labels import Labels, check_known
from hfpipe.data.progress import progress_options
from hfpipe.data.record_stream import SourceFile
from hfpipe.data.records import Reading, stream_records
from hfpipe.data.sources import PartSource
from hfpipe.data.table import Table, TableRequest, read_table
from hfpipe.errors import DataError, Problem
from hfpipe.evaluation.metrics import ClassScore, classification_metrics, per_class_table
from hfpipe.inference.loading import LoadedClassifier
from hfpipe.inference.predict import score_texts
from hfpipe.records.run_directory import RUN_FILE, read_json
from hfpipe.records.sessions import saved_settings

PART = "evaluated"


@dataclass(frozen=True)
class LabelledFile:
    """A file to be scored.

    Columns and delimiter None: those of the training, where the file has them, else found by name and suffix.
    `label_names` gives the file's labels the names the model knows them by; others stand for themselves.
    """

    path: Path
    text_column: str | None = None
    label_column: str | None = None
    delimiter: str | None = None
    label_names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileScores:
    """`metrics` by name, `per_class` in the order of the labels, and `lines` that account for every row."""

    metrics: Mapping[str, float]
    per_class: tuple[ClassScore, ...]
    lines: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the metrics under Hugging Face's prefix, and the scores of each class."""
        flat = {f"eval_{name}": value for name, value in self.metrics.items()}
        return {**flat, "per_class": {row.label: {**vars(row)} for row in self.per_class}}


def read_label_names(run_dir: Path) -> Mapping[str, str]:
    """Return the names the run in `run_dir` gave the labels of its files; none where it gave none.

    Raises:
        CheckpointError: If its record cannot be read.
    """
    path = run_dir / RUN_FILE
    names = saved_settings(read_json(path)).get("label_names") if path.is_file() else None
    return names if isinstance(names, dict) else {}


def evaluate_file(classifier: LoadedClassifier, file: LabelledFile, *, batch_size: int = 32) -> FileScores:
    """Return the scores of `classifier` on the rows of `file` that have a text and a label.

    Raises:
        DataError: With all problems of the file, labels the model does not know among them.
    """
    table = _read(classifier, file)
    label_ids = Labels(classifier.label_names, classifier.label_names).encode(table.labels)
    scores = _score(classifier, table.texts, batch_size)
    metrics = {"loss": _loss(scores, label_ids), **classification_metrics(scores, label_ids)}
    per_class = per_class_table(scores, label_ids, label_names=classifier.label_names)
    return FileScores(metrics, per_class, tuple(table.account.lines(PART)))


def _read(classifier: LoadedClassifier, file: LabelledFile) -> Table:
    findings = Findings()
    source = PartSource(PART, (SourceFile(file.path, str(file.path)),))
    request = TableRequest(_columns(classifier, file), Reading(file.delimiter))
    table = read_table(source, request, findings)
    findings.raise_if_any()
    renamed = replace(table, labels=[file.label_names.get(label, label) for label in table.labels])
    check_known(PART, renamed, Labels(classifier.label_names, classifier.label_names), findings)
    findings.raise_if_any()
    if not renamed.texts:
        rule = "none has both a text and a label"
        raise DataError(Problem(str(file.path), f"{table.account.read:,} rows", rule, "name a labelled file"))
    return renamed


def _columns(classifier: LoadedClassifier, file: LabelledFile) -> ColumnRequest:
    header = stream_records(file.path, delimiter=file.delimiter).header
    trained = [classifier.columns.get(role) for role in ("text", "label")]
    text, label = (column if column in header else None for column in trained)
    return ColumnRequest(file.text_column or text, file.label_column or label, labelled=True)


def _score(classifier: LoadedClassifier, texts: list[str], batch_size: int) -> np.ndarray:
    bar = tqdm(texts, "scoring", unit=" rows", **progress_options())
    length = classifier.max_length
    scored = score_texts(classifier.model, classifier.tokenizer, bar, max_length=length, batch_size=batch_size)
    return np.stack(list(scored))


def _loss(probabilities: np.ndarray, label_ids: np.ndarray) -> float:
    """Return the mean negative log-likelihood in nats a row."""
    likelihoods = probabilities[np.arange(len(label_ids)), label_ids].astype(np.float64)
    # below it a float32 probability is 0, and one row would make the loss infinite
    return float(-np.log(np.maximum(likelihoods, np.finfo(np.float32).smallest_normal)).mean())
