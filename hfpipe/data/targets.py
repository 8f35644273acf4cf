"""What a model learns to say, in its three shapes: one label of several, any number of them, or a number.

Each shape knows how its column becomes an array, what of the training part it refuses, by which
classes rows are split and sampled, and what is said of the targets of a part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, DataSettings
from hfpipe.data.accounting import Statistics
from hfpipe.data.findings import Findings
from hfpipe.data.label_sets import check_delimiter, check_label_sets, classify_rows, cover_labels, describe_label_sets
from hfpipe.data.labels import Labels, check_class_sizes, check_known, find_labels
from hfpipe.data.numbers import bin_edges, bin_numbers, check_numbers, describe_numbers
from hfpipe.data.splits import Strata
from hfpipe.data.table import Table
from hfpipe.errors import Problem


class Targets(Protocol):
    """The targets of a run in one of the three shapes."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the model's outputs, in their order."""
        ...

    @property
    def renamed(self) -> dict[str, str]:
        """The labels of the files that go by another name, and that name."""
        ...

    def encode(self, table: Table) -> np.ndarray:
        """Return the targets of a table, whose labels must all be known."""
        ...

    def check_train(self, train: Table, findings: Findings, *, is_split: bool) -> None:
        """Record what speaks against the rows left for training."""
        ...

    def strata(self, tables: Mapping[str, Table], *, seed: int) -> dict[str, Strata]:
        """Return the classes by which the rows of each table are split and sampled."""
        ...

    def rows_needed(self, strata: Strata) -> int:
        """Return how many rows a sample of the training part must have."""
        ...

    def count(self, targets: np.ndarray) -> np.ndarray:
        """Return the rows of each label (labels,) in encoded targets; nothing (0,) of numbers."""
        ...

    def describe(self, targets: np.ndarray) -> Statistics | None:
        """Return what is said of encoded targets beside the counts of labels."""
        ...


@dataclass(frozen=True)
class ClassTargets:
    """One label a row: ids, int64 (rows,)."""

    labels: Labels

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the labels."""
        return self.labels.names

    @property
    def renamed(self) -> dict[str, str]:
        """The labels of the files that go by another name, and that name."""
        return self.labels.renamed

    def encode(self, table: Table) -> np.ndarray:
        """Return the label ids."""
        return self.labels.encode(table.labels)

    def check_train(self, train: Table, findings: Findings, *, is_split: bool) -> None:
        """Record classes that are too few or too small."""
        check_class_sizes(train, self.labels, findings=findings, is_split=is_split)

    def strata(self, tables: Mapping[str, Table], *, seed: int) -> dict[str, Strata]:
        """Return the label ids as classes."""
        return {name: Strata(self.encode(table)) for name, table in tables.items()}

    def rows_needed(self, strata: Strata) -> int:
        """Return the number of labels: each needs a row."""
        return len(self.names)

    def count(self, targets: np.ndarray) -> np.ndarray:
        """Return the rows of each label."""
        return np.bincount(targets, minlength=len(self.names))

    def describe(self, targets: np.ndarray) -> Statistics | None:
        """Counts of labels say all."""
        return None


@dataclass(frozen=True)
class LabelSetTargets:
    """Any number of labels a row: float32 (rows, labels), 1.0 where a row has a label."""

    labels: Labels

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the labels."""
        return self.labels.names

    @property
    def renamed(self) -> dict[str, str]:
        """The labels of the files that go by another name, and that name."""
        return self.labels.renamed

    def encode(self, table: Table) -> np.ndarray:
        """Return 1.0 where a row has a label."""
        return self.labels.encode_sets(table.label_sets)

    def check_train(self, train: Table, findings: Findings, *, is_split: bool) -> None:
        """Record labels without a row."""
        check_label_sets(train, self.labels, findings)

    def strata(self, tables: Mapping[str, Table], *, seed: int) -> dict[str, Strata]:
        """Return rarest labels as classes, and the training rows that stay for the sake of their labels."""
        encoded = {name: self.encode(table) for name, table in tables.items()}
        counts = encoded["train"].sum(axis=0, dtype=np.int64)
        found = {name: Strata(classify_rows(targets, counts)) for name, targets in encoded.items()}
        return {**found, "train": Strata(found["train"].classes, cover_labels(encoded["train"], seed=seed))}

    def rows_needed(self, strata: Strata) -> int:
        """Return the number of rows that stay in training."""
        return 0 if strata.kept is None else int(strata.kept.sum())

    def count(self, targets: np.ndarray) -> np.ndarray:
        """Return the rows that have each label."""
        return targets.sum(axis=0, dtype=np.int64)

    def describe(self, targets: np.ndarray) -> Statistics | None:
        """Return how many labels rows have."""
        return describe_label_sets(targets)


@dataclass(frozen=True)
class NumberTargets:
    """A number a row: float32 (rows,)."""

    column: str

    @property
    def names(self) -> tuple[str, ...]:
        """The label column's name, the only one."""
        return (self.column,)

    @property
    def renamed(self) -> dict[str, str]:
        """None: numbers have no names."""
        return {}

    def encode(self, table: Table) -> np.ndarray:
        """Return the numbers."""
        return np.array(table.numbers, dtype=np.float32)

    def check_train(self, train: Table, findings: Findings, *, is_split: bool) -> None:
        """Record numbers that are all the same."""
        check_numbers(train, findings)

    def strata(self, tables: Mapping[str, Table], *, seed: int) -> dict[str, Strata]:
        """Return bins of the training part's numbers as classes."""
        edges = bin_edges(tables["train"].numbers)
        return {name: Strata(bin_numbers(table.numbers, edges)) for name, table in tables.items()}

    def rows_needed(self, strata: Strata) -> int:
        """Return 1: no number needs a row of its own."""
        return 1

    def count(self, targets: np.ndarray) -> np.ndarray:
        """Return nothing: numbers are no labels."""
        return np.empty(0, dtype=np.int64)

    def describe(self, targets: np.ndarray) -> Statistics | None:
        """Return the range, mean and spread."""
        return describe_numbers(self.column, targets)


def find_targets(
    tables: Mapping[str, Table], settings: DataSettings, *, brought: Mapping[str, str], findings: Findings
) -> Targets:
    """Return the targets as the training part has them; what speaks against them goes to `findings`.

    `brought` are the names of labels that a data set brings along; the user's take precedence.
    """
    train = tables["train"]
    if settings.problem_type == REGRESSION:
        column = None if train.columns is None else train.columns.label
        return NumberTargets(column or "label")
    # labels of rows that could not be read are not unknown
    is_whole = not any(map(findings.has_problems_of, {train.account.source, *train.places.files}))
    labels = find_labels(train, findings, named=settings.label_names, brought=brought)
    for name, table in tables.items():
        if name != "train" and train.answers and is_whole:
            check_known(name, table, labels, findings)
    if settings.problem_type != MULTI_LABEL:
        return ClassTargets(labels)
    check_delimiter(train, settings.label_delimiter, findings)
    return LabelSetTargets(labels)


def check_sample_size(limit: int | None, strata: Strata, targets: Targets, findings: Findings) -> None:
    """Record a sample of the training part that cannot hold a row of each label."""
    needed, labels = targets.rows_needed(strata), len(targets.names)
    if limit is not None and limit < needed:
        rule = f"there are {labels:,} labels, and each needs a row"
        rule = rule if strata.kept is None else f"{needed:,} rows are needed for {labels:,} labels to have one each"
        findings.add("settings", "", Problem(f"max_train_samples: {limit}", "", rule, "raise it"))


def check_room(train: Table, strata: Strata, findings: Findings) -> None:
    """Record a training part none of whose rows can be held out for validation."""
    if not strata.room().sum():
        value, rule = f"{len(train.texts):,} usable rows", "none can be spared for validation: its labels would be lost"
        problem = Problem(train.account.source, value, rule, "add rows, or set validation_file")
        findings.add("labels with too few rows", train.account.source, problem)


def encode_table(table: Table, *, problem_type: str, label_names: Sequence[str]) -> np.ndarray:
    """Return the targets of a table whose labels go by the names of a finished model, and are all known."""
    labels = Labels(tuple(label_names), tuple(label_names))
    if problem_type == REGRESSION:
        return NumberTargets(label_names[0]).encode(table)
    return LabelSetTargets(labels).encode(table) if problem_type == MULTI_LABEL else ClassTargets(labels).encode(table)
