"""Several labels a row: what is refused, which rows must stay in training, and the classes rows are split by.

The class of a row is its rarest label in the training part; rows without labels are a class of their
own. Before anything is held out, rows are set aside for training until each label has one there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hfpipe.data.findings import Findings
from hfpipe.data.label_column import find_label_delimiter
from hfpipe.data.labels import Labels, rows_by_label
from hfpipe.data.record_stream import shorten
from hfpipe.data.splits import Stage, seeded_order
from hfpipe.data.table import Table
from hfpipe.errors import Problem


@dataclass(frozen=True)
class LabelSetStatistics:
    """How many labels the rows of a part have: the mean, the most, and the number of rows without any."""

    mean: float
    maximum: int
    without: int

    def to_json(self) -> dict[str, Any]:
        """Return the statistics for a record."""
        return {"mean_labels": self.mean, "maximum_labels": self.maximum, "rows_without_labels": self.without}

    def line(self) -> str:
        """Return the statistics as words for the log."""
        noun = "row has" if self.without == 1 else "rows have"
        return f"{self.mean:.4g} labels a row on average, {self.maximum:,} at most; {self.without:,} {noun} none"


def describe_label_sets(targets: np.ndarray) -> LabelSetStatistics:
    """Return the statistics of `targets` (rows, labels)."""
    counts = targets.sum(axis=1, dtype=np.float64)
    return LabelSetStatistics(float(counts.mean()), int(counts.max()), int((counts == 0).sum()))


def check_delimiter(train: Table, delimiter: str | None, findings: Findings) -> None:
    """Record a delimiter that divides nothing where another one would; note one where rows have one label at most."""
    if delimiter is None or any(len(labels) > 1 for labels in train.label_sets):
        return
    name, value = train.account.source, f"label_delimiter {delimiter!r} divides no label"
    divisible = [row for row, labels in enumerate(train.label_sets) if labels and find_label_delimiter(labels[0])]
    if divisible:
        label = train.label_sets[divisible[0]][0]
        sign = find_label_delimiter(label)
        rule = f"{sign!r} stands in {len(divisible):,} of them, as in {shorten(label)}"
        findings.add("labels", name, Problem(name, value, rule, f"set label_delimiter: {sign!r}"))
    elif train.label_sets:
        findings.note(f"{name}: {value}: every row has one at most")


def check_label_sets(train: Table, labels: Labels, findings: Findings) -> None:
    """Record labels that no row left for training has, and too few labels; note those that every row has."""
    name, found = train.account.source, rows_by_label(train)
    if len(labels.values) == 1:
        value, rule = f"the only label is {labels.values[0]!r}", "several labels are two at least"
        remedy = "write two labels, one for the rows without it, and remove problem_type and label_delimiter"
        findings.add("labels", name, Problem(name, value, rule, remedy))
    if not labels.values:
        findings.add("labels", name, Problem(name, "no row has a label", "there is nothing to learn"))
    for label in labels.values:
        rows = len(found.get(label, []))
        if rows == 0:
            value, rule = f"label {label!r} has 0 usable rows", "one is needed for training"
            findings.add("labels with too few rows", name, Problem(name, value, rule, "add rows, or remove the label"))
        elif rows == len(train.texts):
            findings.note(f"every row of {name} has the label {label!r}: there is nothing to learn about it")


def classify_rows(targets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return for each row of `targets` (rows, labels) its rarest label by `counts`, ties to the first.

    Rows without labels are of class `len(counts)`.
    """
    if not len(counts):
        return np.zeros(len(targets), dtype=np.int64)
    rarest_first = np.argsort(counts, kind="stable")
    has = targets[:, rarest_first] > 0
    return np.where(has.any(axis=1), rarest_first[has.argmax(axis=1)], len(counts)).astype(np.int64)


def cover_labels(targets: np.ndarray, *, seed: int) -> np.ndarray:
    """Return which rows (rows,) stay in training, so that each label has one there.

    Label by label, the rarest first: a label that no chosen row has gets the first of its rows in the seeded order.
    """
    chosen = np.zeros(len(targets), dtype=bool)
    covered = np.zeros(targets.shape[1], dtype=bool)
    ranks = np.argsort(seeded_order(len(targets), seed=seed, stage=Stage.LABEL_COVER))
    for label in np.argsort(targets.sum(axis=0, dtype=np.int64), kind="stable"):
        having = np.flatnonzero(targets[:, label]) if not covered[label] else ()
        if len(having):
            row = having[ranks[having].argmin()]
            chosen[row] = True
            covered |= targets[row] > 0
    return chosen
