"""Which column is the text and which the label: as set, or found by name and said.

A guess is made only where one column fits; several, or none, are refused with the columns there are.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hfpipe.data.findings import Findings
from hfpipe.errors import DataError, Problem

_TEXT_NAMES = (
    *("text", "texts", "sentence", "review", "content", "document", "body", "comment", "message", "tweet", "post"),
    *("reviewtext", "fulltext", "sentencetext", "commenttext", "tweettext", "messagetext"),
)
_LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "topic", "intent", "classlabel")
_KEYS = {"text": "text_column_names", "label": "label_column_name"}


@dataclass(frozen=True)
class ColumnChoice:
    """The columns in use, how each was found ('as set', 'by its name', 'the only other column'), and those not read."""

    text: str
    label: str | None
    text_found: str
    label_found: str
    unread: tuple[str, ...] = ()

    @property
    def in_use(self) -> tuple[str, ...]:
        """The text column and, where there is one, the label column."""
        return (self.text,) if self.label is None else (self.text, self.label)

    def repeated(self) -> "ColumnRequest":
        """Return the request for the same columns in another file."""
        return ColumnRequest(self.text, self.label, self.label is not None, is_repeated=True)

    def line(self) -> str:
        """Return the choice as one line for the log."""
        label = "" if self.label is None else f", label {self.label!r} ({self.label_found})"
        unread = f"; not read: {', '.join(self.unread)}" if self.unread else ""
        return f"columns: text {self.text!r} ({self.text_found}){label}{unread}"


@dataclass(frozen=True)
class ColumnRequest:
    """The columns as set (None: find them), whether a label is needed, and whether another file named them first."""

    text: str | None
    label: str | None
    labelled: bool
    is_repeated: bool = False

    def given(self, role: str) -> str | None:
        """Return the column wanted for 'text' or 'label'."""
        return self.text if role == "text" else self.label


def choose_columns(
    header: Sequence[str], request: ColumnRequest, *, findings: Findings, name: str
) -> ColumnChoice | None:
    """Return the columns of the file `name`, or None where `findings` say why there is no choice.

    Names are compared without case and signs; among several that fit, one called exactly 'text' or
    'label' is taken. In a file of two columns the one is found when the other is.
    """
    roles = ("text", "label") if request.labelled else ("text",)
    found = {role: _find(role, header, request.given(role)) for role in roles}
    if len(header) == 2 and request.labelled and not request.is_repeated:
        _complete_pair(header, found, request)
    problems = [_column_problem(role, request, (name, header), found[role]) for role in roles if len(found[role]) != 1]
    if not problems and request.labelled and found["text"] == found["label"]:
        value = f"column {found['text'][0]!r}"
        problems.append(Problem(_place(name), value, "is text and label at once", _remedy("label")))
    for problem in problems:
        findings.add("columns", name, problem)
    return None if problems else _choice(header, request, found)


def _choice(header: Sequence[str], request: ColumnRequest, found: dict[str, list[str]]) -> ColumnChoice:
    text, label = found["text"][0], found["label"][0] if request.labelled else None
    unread = tuple(column for column in header if column not in (text, label))
    label_found = "" if label is None else _how("label", request.label, label)
    return ColumnChoice(text, label, _how("text", request.text, text), label_found, unread)


def find_text_column(header: Sequence[str], *, wanted: str | None, name: str) -> str:
    """Return the text column of the file `name`: `wanted` if it is there, else found by rule.

    Raises:
        DataError: If no column fits, or several do.
    """
    if wanted in header:
        assert wanted is not None
        return wanted
    columns = list(header) if len(header) == 1 else _find("text", header, None)
    if len(columns) != 1:
        raise DataError(_column_problem("text", ColumnRequest(None, None, False), (name, header), columns))
    return columns[0]


def _find(role: str, header: Sequence[str], given: str | None) -> list[str]:
    if given is not None:
        return [name for name in header if name == given]
    names = _TEXT_NAMES if role == "text" else _LABEL_NAMES
    fitting = [name for name in header if re.sub(r"[\W_]", "", name).lower() in names]
    exact = [name for name in fitting if name.lower() == role]
    return exact if len(exact) == 1 else fitting


def _complete_pair(header: Sequence[str], found: dict[str, list[str]], request: ColumnRequest) -> None:
    for role, other in (("text", "label"), ("label", "text")):
        if request.given(role) is None and not found[role] and len(found[other]) == 1:
            found[role] = [name for name in header if name != found[other][0]]


def _how(role: str, given: str | None, column: str) -> str:
    if given is not None:
        return f"set by {_KEYS[role]}"
    return "found by its name" if _find(role, [column], None) else "the only other column"


def _column_problem(role: str, request: ColumnRequest, table: tuple[str, Sequence[str]], found: list[str]) -> Problem:
    name, header = table
    place, there = _place(name), f"the columns are {', '.join(map(repr, header))}"
    given = request.given(role)
    if request.is_repeated:
        return Problem(place, f"no column {given!r}", there, f"name the {role} column as in the first training file")
    if given is not None:
        near = difflib.get_close_matches(given.lower(), [column.lower() for column in header], n=1)
        meant = [column for column in header if near and column.lower() == near[0]]
        remedy = f"did you mean {_KEYS[role]}: {meant[0]}?" if meant else _remedy(role)
        return Problem(place, f"no column {given!r}", there, remedy)
    if found:
        return Problem(place, f"{len(found)} columns may be the {role}", ", ".join(map(repr, found)), _remedy(role))
    if _looks_like_data(header):
        there += "; the first line looks like a row, not like names of columns"
    return Problem(place, f"no column is known to be the {role}", there, _remedy(role))


def _place(name: str) -> str:
    return f"{name}:1" if name.lower().endswith((".csv", ".tsv")) else name


def _remedy(role: str) -> str:
    return f"set {_KEYS[role]}"


def _looks_like_data(header: Sequence[str]) -> bool:
    return any(re.fullmatch(r"-?\d+([.,]\d+)?", name.strip()) or len(name.split()) > 4 for name in header)
