"""Labels: their order, their names, and the mistakes that make two labels of one.

Names and order come from the training part only. Whole numbers are ordered as numbers (2 before
10), everything else as text. Nothing is merged or corrected: 'Pos' beside 'pos' is refused.
"""

import difflib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hfpipe.data.accounting import EXAMPLES
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import shorten
from hfpipe.data.table import Table
from hfpipe.errors import Problem

MAX_LABELS = 1000
_MANY_LABELS = 20
_WHOLE_NUMBER = re.compile(r"0|-?[1-9]\d*", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Labels:
    """The labels of the files in the order of their ids, and the name each goes by."""

    values: tuple[str, ...]
    names: tuple[str, ...]

    def encode(self, labels: Sequence[str]) -> np.ndarray:
        """Return the ids of `labels`, which must all be known."""
        ids = {label: index for index, label in enumerate(self.values)}
        return np.fromiter((ids[label] for label in labels), np.int64, len(labels))


def order_labels(labels: set[str]) -> tuple[str, ...]:
    """Return labels by number where all are whole numbers as Python writes them, else by text."""
    if all(_WHOLE_NUMBER.fullmatch(label) for label in labels):
        return tuple(sorted(labels, key=int))
    return tuple(sorted(labels))


def find_labels(train: Table, findings: Findings, *, named: Mapping[str, str] | None) -> Labels:
    """Return the labels of the training part; what speaks against them goes to `findings`."""
    values = order_labels(set(train.labels))
    if _are_classes(train, values, findings):
        _check_look_alikes(train, values, findings)
        _note_mixture(values, findings)
    names = values if named is None else _named(values, named, findings)
    return Labels(values, names)


def check_known(part: str, table: Table, labels: Labels, findings: Findings) -> None:
    """Record labels of a validation or test part that the training part does not have."""
    rows = _rows_by_label(table)
    unknown = sorted(rows.keys() - set(labels.values))
    for label in unknown[:EXAMPLES]:
        value = f"label {shorten(label)} in {_where(table, rows[label])}"
        near = [known for known in labels.values if _folded(known) == _folded(label)]
        near = near or difflib.get_close_matches(label, labels.values, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"the labels are {_listed(labels.values)}"
        problem = Problem(table.account.source, value, "no row of the training part has it", remedy)
        findings.add("unknown labels", part, problem)
    if len(unknown) > EXAMPLES:
        problem = Problem(table.account.source, f"and {len(unknown) - EXAMPLES:,} more labels that training lacks")
        findings.add("unknown labels", part, problem)


def check_class_sizes(train: Table, labels: Labels, *, findings: Findings, is_split: bool) -> None:
    """Record that classes are too few or too small, in the rows that are left for training."""
    found = _rows_by_label(train)
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
    name, rows = train.account.source, len(train.labels)
    remedy = "check label_column_name"
    with_decimals = [value for value in values if _NUMBER.fullmatch(value) and any(sign in value for sign in ".eE")]
    if with_decimals and all(_NUMBER.fullmatch(value) for value in values):
        remedy = "write whole numbers or names (pandas turns 1 into 1.0 where a label is missing)"
        value = f"labels such as {_listed(with_decimals)}"
        findings.add("labels", name, Problem(name, value, "numbers with decimals are no labels", remedy))
        return False
    too_many = len(values) > MAX_LABELS
    nearly_rows = len(values) > _MANY_LABELS and len(values) * 2 > rows
    if too_many or nearly_rows:
        value = f"{len(values):,} different labels in {rows:,} rows, as {_listed(values[:3])}"
        rule = f"more than {MAX_LABELS:,}" if too_many else "more than half as many as rows"
        problem = Problem(name, value, f"{rule}: a number to predict, an id or a text, not a label", remedy)
        findings.add("labels", name, problem)
        return False
    return True


def _check_look_alikes(train: Table, values: tuple[str, ...], findings: Findings) -> None:
    name, rows = train.account.source, _rows_by_label(train)
    for group in _groups(values, _folded):
        described = ", ".join(f"{value!r} ({_where(train, rows[value])})" for value in group)
        rule = "differ only in case, white space or invisible characters"
        findings.add("labels", name, Problem(name, f"labels {described}", rule, "write one of them everywhere"))
    for group in _groups([value for value in values if re.fullmatch(r"-?\d+", value, re.ASCII)], _without_zeros):
        described = ", ".join(f"{value!r} ({_where(train, rows[value])})" for value in group)
        rule = "differ only in leading zeros"
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
            f"labels are numbers ({_listed(numbers)}) and names ({_listed(names)}): check that both are meant"
        )


def _groups(values: Sequence[str], key: Callable[[str], str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for value in values:
        groups.setdefault(key(value), []).append(value)
    return [group for group in groups.values() if len(group) > 1]


def _folded(label: str) -> str:
    seen = "".join(character for character in label if unicodedata.category(character) != "Cf")
    return unicodedata.normalize("NFC", seen).strip().casefold()


def _without_zeros(label: str) -> str:
    return str(int(label))


def _rows_by_label(table: Table) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(table.labels):
        rows.setdefault(label, []).append(row)
    return rows


def _where(table: Table, rows: Sequence[int]) -> str:
    places = ", ".join(table.places.place(row) for row in rows[:EXAMPLES])
    more = ", ..." if len(rows) > EXAMPLES else ""
    return f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}: {places}{more}"


def _named(values: tuple[str, ...], named: Mapping[str, str], findings: Findings) -> tuple[str, ...]:
    for value in values:
        if value not in named:
            remedy = f"add {value}=<name>; named are {_listed(list(named))}"
            findings.add(
                "settings", "", Problem("label_names", f"no name for label {value!r}", "all are named", remedy)
            )
    for value in named:
        if value not in values:
            rule = f"the labels of the training part are {_listed(values)}"
            findings.add("settings", "", Problem(f"label_names: {value}", "no such label", rule))
    names = tuple(named.get(value, value) for value in values)
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        problem = Problem("label_names", f"{name!r} names {names.count(name)} labels", "names are unique")
        findings.add("settings", "", problem)
    return names


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(map(shorten, values[:8]))
    return shown if len(values) <= 8 else f"{shown}, ... ({len(values):,} in all)"
