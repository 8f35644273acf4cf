"""Labels: their order, their names, and the mistakes that make two labels of one.

Names and order come from the training part only. Whole numbers are ordered as numbers (2 before
10), everything else as text. Nothing is merged or corrected: 'Pos' beside 'pos' is refused.
"""

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from hfpipe.config.sections import REGRESSION
from hfpipe.data.accounting import EXAMPLES
from hfpipe.data.findings import Findings
from hfpipe.data.label_column import LABEL_DELIMITERS
from hfpipe.data.label_names import list_labels, name_brought, name_labels
from hfpipe.data.record_stream import shorten
from hfpipe.data.table import Table
from hfpipe.errors import Problem

MAX_LABELS = 1000
_MANY_LABELS = 20
_PLAIN_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)
_WHOLE_NUMBER = re.compile(r"0|-?[1-9]\d*", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Labels:
    """The labels of the files in the order of their ids, and the name each goes by."""

    values: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def renamed(self) -> dict[str, str]:
        """The labels of the files that go by another name, and that name."""
        return {value: name for value, name in zip(self.values, self.names, strict=True) if value != name}

    def encode(self, labels: Sequence[str]) -> np.ndarray:
        """Return the ids of `labels`, which must all be known."""
        ids = {label: index for index, label in enumerate(self.values)}
        return np.fromiter((ids[label] for label in labels), np.int64, len(labels))

    def encode_sets(self, label_sets: Sequence[Sequence[str]]) -> np.ndarray:
        """Return float32 (rows, labels): 1.0 where a row has a label; all must be known."""
        ids = {label: index for index, label in enumerate(self.values)}
        encoded = np.zeros((len(label_sets), len(self.values)), dtype=np.float32)
        rows = np.repeat(np.arange(len(label_sets)), [len(labels) for labels in label_sets])
        encoded[rows, [ids[label] for labels in label_sets for label in labels]] = 1.0
        return encoded


def order_labels(labels: set[str]) -> tuple[str, ...]:
    """Return labels by number where all are whole numbers as Python writes them, else by text."""
    if all(_WHOLE_NUMBER.fullmatch(label) for label in labels):
        return tuple(sorted(labels, key=int))
    return tuple(sorted(labels))


def find_labels(
    train: Table, findings: Findings, *, named: Mapping[str, str] | None, brought: Mapping[str, str] | None = None
) -> Labels:
    """Return the labels of the training part; what speaks against them goes to `findings`.

    `named` are the user's names, which must be those of all labels; `brought` are names that a data set has, of
    labels that may or may not occur.
    """
    values = order_labels(set(rows_by_label(train)))
    if _are_classes(train, values, findings):
        _check_look_alikes(train, values, findings)
        _note_mixture(values, findings)
        _note_joined(train, values, findings)
    if named is not None:
        return Labels(values, name_labels(values, named, findings))
    return Labels(values, name_brought(values, brought or {}, findings))


def rename_labels(table: Table, names: Mapping[str, str]) -> Table:
    """Return the table with its labels under the names they have in `names`; others stand for themselves."""
    labels = [names.get(label, label) for label in table.labels]
    sets = [tuple(sorted(names.get(label, label) for label in row)) for row in table.label_sets]
    return replace(table, labels=labels, label_sets=sets)


def check_known(part: str, table: Table, labels: Labels, findings: Findings) -> None:
    """Record labels of a validation or test part that the training part does not have."""
    rows = rows_by_label(table)
    unknown = sorted(rows.keys() - set(labels.values))
    for label in unknown[:EXAMPLES]:
        value = f"label {shorten(label)} in {_where(table, rows[label])}"
        near = [known for known in labels.values if _folded(known) == _folded(label)]
        near = near or difflib.get_close_matches(label, labels.values, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"the labels are {list_labels(labels.values)}"
        problem = Problem(table.account.source, value, "no row of the training part has it", remedy)
        findings.add("unknown labels", part, problem)
    if len(unknown) > EXAMPLES:
        problem = Problem(table.account.source, f"and {len(unknown) - EXAMPLES:,} more labels that training lacks")
        findings.add("unknown labels", part, problem)


def check_class_sizes(train: Table, labels: Labels, *, findings: Findings, is_split: bool) -> None:
    """Record that classes are too few or too small, in the rows that are left for training."""
    found = rows_by_label(train)
    name = train.account.source
    if len(labels.values) == 1:
        problem = Problem(name, f"every row has the label {labels.values[0]!r}", "a classifier needs two labels")
        findings.add("labels", name, problem)
        return
    needed = 2 if is_split else 1
    rule = "one for training and one for validation are needed" if is_split else "one is needed for training"
    remedy = "add rows, or remove the label" + (", or set validation_file" if is_split else "")
    for label in labels.values:
        rows = found.get(label, [])
        if (count := len(rows)) < needed:
            where = f" ({_where(train, rows)})" if rows else ""
            value = f"label {label!r} has {count} usable {'row' if count == 1 else 'rows'}{where}"
            findings.add("labels with too few rows", name, Problem(name, value, rule, remedy))


def _are_classes(train: Table, values: tuple[str, ...], findings: Findings) -> bool:
    name, rows = train.account.source, len(train.answers)
    regression = f"set problem_type: {REGRESSION} to predict numbers" if train.labels else ""
    with_decimals = [value for value in values if _NUMBER.fullmatch(value) and any(sign in value for sign in ".,eE")]
    if with_decimals and all(_NUMBER.fullmatch(value) for value in values):
        remedy = "write whole numbers or names (pandas turns 1 into 1.0 where a label is missing)"
        remedy = f"{remedy}, or {regression}" if regression else remedy
        if regression and any("," in value for value in with_decimals):
            remedy = f"{remedy}, with decimal points; or, where a row has several labels, set label_delimiter: ','"
        value = f"labels such as {list_labels(with_decimals)}"
        findings.add("labels", name, Problem(name, value, "numbers with decimals are no labels", remedy))
        return False
    too_many = len(values) > MAX_LABELS
    nearly_rows = len(values) > _MANY_LABELS and len(values) * 2 > rows
    if too_many or nearly_rows:
        value = f"{len(values):,} different labels in {rows:,} rows, as {list_labels(values[:3])}"
        rule = f"more than {MAX_LABELS:,}" if too_many else "more than half as many as rows"
        remedy = "check label_column_name"
        if regression and all(_WHOLE_NUMBER.fullmatch(label) for label in values):
            remedy = f"{remedy}, or {regression}"
        problem = Problem(name, value, f"{rule}: a number to predict, an id or a text, not a label", remedy)
        findings.add("labels", name, problem)
        return False
    return True


def _check_look_alikes(train: Table, values: tuple[str, ...], findings: Findings) -> None:
    name, rows = train.account.source, rows_by_label(train)
    for group in _groups(values, _folded):
        described = ", ".join(f"{value!r} ({_where(train, rows[value])})" for value in group)
        rule = "differ only in case, white space or invisible characters"
        findings.add("labels", name, Problem(name, f"labels {described}", rule, "write one of them everywhere"))
    for group in _groups([value for value in values if _PLAIN_NUMBER.fullmatch(value)], _as_number):
        described = ", ".join(f"{value!r} ({_where(train, rows[value])})" for value in group)
        has_zeros = all(value.lstrip("-").isdigit() for value in group)
        rule = "differ only in leading zeros" if has_zeros else "are one number"
        findings.add("labels", name, Problem(name, f"labels {described}", rule, "write one of them everywhere"))
    alone = {_folded(value) for group in _groups(values, _folded) for value in group}
    for value in values:
        if value != value.strip() and _folded(value) not in alone:
            described = f"label {value!r} ({_where(train, rows[value])})"
            findings.add("labels", name, Problem(name, described, "white space around it", "remove it"))


def _note_mixture(values: tuple[str, ...], findings: Findings) -> None:
    numbers = [value for value in values if _WHOLE_NUMBER.fullmatch(value)]
    names = [value for value in values if not _WHOLE_NUMBER.fullmatch(value)]
    if numbers and names:
        findings.note(
            f"labels are numbers ({list_labels(numbers)}) and names ({list_labels(names)}): check that both are meant"
        )


def _note_joined(train: Table, values: tuple[str, ...], findings: Findings) -> None:
    """Note classes that are made of others: each combination of several labels would be a class of its own."""
    for sign in LABEL_DELIMITERS if train.labels else ():
        parts = {value: {part.strip() for part in value.split(sign)} for value in values}
        made = [value for value in values if len(parts[value]) > 1 and parts[value] <= _parts_of_others(value, parts)]
        if made:
            told = f"labels such as {list_labels(made)} are made of others"
            findings.note(f"{told}: if a row may have several, set label_delimiter: {sign!r}")
            return


def _parts_of_others(value: str, parts: Mapping[str, set[str]]) -> set[str]:
    return {part for other, found in parts.items() if other != value for part in found}


def _groups(values: Sequence[str], key: Callable[[str], str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for value in values:
        groups.setdefault(key(value), []).append(value)
    return [group for group in groups.values() if len(group) > 1]


def _folded(label: str) -> str:
    seen = "".join(character for character in label if unicodedata.category(character) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", seen).split()).casefold()


def _as_number(label: str) -> str:
    return str(Decimal(label).normalize())


def rows_by_label(table: Table) -> dict[str, list[int]]:
    """Return the rows that have each label, whether rows have one or several."""
    rows: dict[str, list[int]] = {}
    sets: Iterable[Sequence[str]] = table.label_sets or ((label,) for label in table.labels)
    for row, labels in enumerate(sets):
        for label in labels:
            rows.setdefault(label, []).append(row)
    return rows


def _where(table: Table, rows: Sequence[int]) -> str:
    places = ", ".join(table.places.place(row) for row in rows[:EXAMPLES])
    more = ", ..." if len(rows) > EXAMPLES else ""
    return f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}: {places}{more}"
