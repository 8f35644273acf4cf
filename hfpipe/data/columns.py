"""Which columns are the text, the second text and the label: as set, or found by name and said.

A guess is made only where one column fits; several, or none, are refused with the columns there are.
The columns of a joined text, and that of a second text, are never guessed.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hfpipe.config.sections import DataSettings
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import place_of_header, shorten, shorten_list
from hfpipe.errors import DataError, Problem

_TEXT_NAMES = (
    *("text", "texts", "sentence", "review", "content", "document", "body", "comment", "message", "tweet", "post"),
    *("reviewtext", "fulltext", "sentencetext", "commenttext", "tweettext", "messagetext"),
)
_LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "topic", "intent", "classlabel")
ONLY_OTHER = "the only other column"
# beside white space: joiners, marks of direction and of byte order, as copied from web pages
_SEEN = re.compile(r"[^\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_KEYS = {
    "text": "text_column_names",
    "label": "label_column_name",
    "second text": "text_pair_column_name",
    "slice": "slice_column_names",
}


@dataclass(frozen=True)
class ColumnChoice:
    """The columns in use, how each was found ('as set', 'by its name', 'the only other column'), and those not read.

    The columns `texts`, joined in their order with `text_delimiter`, are the text; `text_pair` is a second one. What
    stands in `slices` is kept beside the rows, for the report.
    """

    texts: tuple[str, ...]
    label: str | None
    text_found: str
    label_found: str
    unread: tuple[str, ...] = ()
    text_delimiter: str = " "
    text_pair: str | None = None
    slices: tuple[str, ...] = ()

    @property
    def in_use(self) -> tuple[str, ...]:
        """The text columns and, where there are such, the columns of the second text, of the label and of slices."""
        others = (column for column in (self.text_pair, self.label) if column is not None)
        return (*self.texts, *others, *self.slices)

    def repeated(self) -> "ColumnRequest":
        """Return the request for the same columns in another file."""
        labelled = self.label is not None
        pair, slices = self.text_pair, self.slices
        return ColumnRequest(self.texts, self.label, labelled, True, self.text_delimiter, pair, slices)

    def to_json(self) -> dict[str, Any]:
        """Return the choice for a record."""
        return {
            "text": list(self.texts),
            "text_found": self.text_found,
            "text_delimiter": self.text_delimiter,
            "text_pair": self.text_pair,
            "label": self.label,
            "label_found": self.label_found,
            "slices": list(self.slices),
            "unread": list(self.unread),
        }

    def line(self) -> str:
        """Return the choice as one line for the log."""
        text = f"text {' + '.join(map(repr, self.texts))} ({self.text_found})"
        pair = "" if self.text_pair is None else f", second text {self.text_pair!r} (set by {_KEYS['second text']})"
        label = "" if self.label is None else f", label {self.label!r} ({self.label_found})"
        slices = f", slices {', '.join(map(repr, self.slices))} (set by {_KEYS['slice']})" if self.slices else ""
        unread = f"; not read: {shorten_list(self.unread)}" if self.unread else ""
        return f"columns: {text}{pair}{label}{slices}{unread}"


@dataclass(frozen=True)
class ColumnRequest:
    """The columns as set (None: find them), whether a label is needed, and whether another file named them first.

    `text_pair` None means that there is no second text. `slices` never decide which columns the others are.
    """

    texts: tuple[str, ...] | None
    label: str | None
    labelled: bool
    is_repeated: bool = False
    text_delimiter: str = " "
    text_pair: str | None = None
    slices: tuple[str, ...] = ()

    def given(self, role: str) -> tuple[str, ...] | None:
        """Return the columns wanted for 'text', 'second text', 'label' or 'slice'."""
        if role in ("text", "slice"):
            return self.texts if role == "text" else self.slices
        column = self.label if role == "label" else self.text_pair
        return None if column is None else (column,)


def request_columns(settings: DataSettings, *, labelled: bool) -> ColumnRequest:
    """Return the columns that the settings ask for in the first file of a run; slices are its reader's to add."""
    return ColumnRequest(
        settings.text_column_names,
        settings.label_column_name,
        labelled,
        text_delimiter=settings.text_column_delimiter,
        text_pair=settings.text_pair_column_name,
    )


def choose_columns(
    header: Sequence[str], request: ColumnRequest, *, findings: Findings, name: str
) -> ColumnChoice | None:
    """Return the columns of the file `name`, or None where `findings` say why there is no choice.

    Names are compared without case and signs; among several that fit, one called exactly 'text' or
    'label' is taken. In a file of two columns, a second text not counted, the one is found when the other is.
    """
    roles = ("text", "label") if request.labelled else ("text",)
    free = [column for column in header if column != request.text_pair]
    found = {role: _find(role, free, request.given(role)) for role in roles}
    if len(free) == 2 and request.labelled and not request.is_repeated:
        _complete_pair(free, found, request)
    problems = list(_twice_problems(request, found, name))
    if not problems:
        checked = ("text", *(("second text",) if request.text_pair is not None else ()), *roles[1:], "slice")
        problems = [problem for role in checked for problem in _problems(role, request, (name, header), found)]
    for problem in problems:
        findings.add("columns", name, problem)
    return None if problems else _choice(header, request, found)


def _choice(header: Sequence[str], request: ColumnRequest, found: dict[str, list[str]]) -> ColumnChoice:
    texts, label = tuple(found["text"]), found["label"][0] if request.labelled else None
    unread = tuple(column for column in header if column not in (*texts, request.text_pair, label, *request.slices))
    label_found = "" if label is None else _how("label", request.label, label)
    text_found = _how("text", request.texts, texts[0])
    return ColumnChoice(
        texts, label, text_found, label_found, unread, request.text_delimiter, request.text_pair, request.slices
    )


def is_empty(value: object) -> bool:
    """Return whether a cell holds no text: nothing, or nothing but white space and characters that are not seen."""
    return value is None or not _SEEN.search(str(value))


def join_texts(values: Iterable[object], delimiter: str) -> str:
    """Return the values of a row's text columns as one text, without those that are empty; '' where all are."""
    return delimiter.join(str(value) for value in values if not is_empty(value))


def find_text_columns(
    header: Sequence[str], *, wanted: Sequence[str] | None, name: str, apart: str | None = None
) -> tuple[str, ...]:
    """Return the text columns of the file `name`: those `wanted` if all are there, else the one found by rule.

    `apart` is the column of a second text, which is not looked at.

    Raises:
        DataError: If no column fits, or several do.
    """
    if wanted and all(column in header for column in wanted):
        return tuple(wanted)
    free = [column for column in header if column != apart]
    columns = free if len(free) == 1 else _find("text", free, None)
    if len(columns) != 1:
        raise DataError(_guess_problem("text", (name, header), columns))
    return tuple(columns)


def _find(role: str, header: Sequence[str], given: Sequence[str] | None) -> list[str]:
    if given is not None:
        return [name for name in given if name in header]
    names = _TEXT_NAMES if role == "text" else _LABEL_NAMES
    fitting = [name for name in header if re.sub(r"[\W_]", "", name).lower() in names]
    exact = [name for name in fitting if name.lower() == role]
    return exact if len(exact) == 1 else fitting


def _complete_pair(header: Sequence[str], found: dict[str, list[str]], request: ColumnRequest) -> None:
    for role, other in (("text", "label"), ("label", "text")):
        if request.given(role) is None and not found[role] and len(found[other]) == 1:
            found[role] = [name for name in header if name != found[other][0]]


def _how(role: str, given: object, column: str) -> str:
    if given is not None:
        return f"set by {_KEYS[role]}"
    return "found by its name" if _find(role, [column], None) else ONLY_OTHER


def _twice_problems(request: ColumnRequest, found: dict[str, list[str]], name: str) -> Iterator[Problem]:
    texts, place = request.texts or (), place_of_header(name)
    for column in dict.fromkeys(column for column in texts if texts.count(column) > 1):
        yield Problem(place, f"column {column!r}", f"named {texts.count(column)} times", _remedy("text"))
    label = request.given("label") or tuple(found.get("label", ()))
    for column in (request.text_pair,) if request.text_pair is not None else ():
        for role in (role for role, columns in (("text", texts), ("label", label)) if column in columns):
            yield Problem(place, f"column {column!r}", f"is {role} and second text at once", _remedy("second text"))
    if request.labelled and len(label) == 1 and label[0] in (texts or found["text"][:1]):
        yield Problem(place, f"column {label[0]!r}", "is text and label at once", _remedy("label"))
    # where several may be it, that is what is told
    chosen = {role: columns for role, columns in found.items() if len(columns) == 1 or request.given(role)}
    yield from _slice_problems(request, chosen, place)


def _slice_problems(request: ColumnRequest, chosen: dict[str, list[str]], place: str) -> Iterator[Problem]:
    """Yield slice columns that stand twice, or that make a slice of every text or what each class shows anyway."""
    others = {**chosen, "second text": [] if request.text_pair is None else [request.text_pair]}
    for column in dict.fromkeys(request.slices):
        if (times := request.slices.count(column)) > 1:
            yield Problem(place, f"column {column!r}", f"named {times} times", _remedy("slice"))
        for role in (role for role, columns in others.items() if column in columns):
            rule = f"is {role} and slice at once"
            yield Problem(place, f"column {column!r}", rule, f"leave it out of {_KEYS['slice']}")


def _problems(
    role: str, request: ColumnRequest, table: tuple[str, Sequence[str]], found: dict[str, list[str]]
) -> Iterator[Problem]:
    given = request.given(role)
    if given is None and len(found[role]) != 1:
        yield _guess_problem(role, table, found[role])
    for column in given or ():
        if column not in table[1]:
            yield _missing_problem(role, column, table, is_repeated=request.is_repeated)


def _missing_problem(role: str, column: str, table: tuple[str, Sequence[str]], *, is_repeated: bool) -> Problem:
    name, header = table
    value, there = f"no column {column!r}", f"the columns are {shorten_list(map(shorten, header))}"
    remedy = f"name the {role} column as in the first training file"
    if role == "slice":
        remedy = _nearest(role, column, header) or f"leave it out of {_KEYS['slice']}, or add the column"
    elif not is_repeated:
        remedy = _nearest(role, column, header) or _remedy(role)
    return Problem(place_of_header(name), value, there, remedy)


def _nearest(role: str, column: str, header: Sequence[str]) -> str:
    parts = [part.strip() for part in column.split(",")]
    if role == "text" and len(parts) > 1 and all(part in header for part in parts):
        return f"write {_KEYS[role]}: [{', '.join(parts)}]"
    near = difflib.get_close_matches(column.lower(), [other.lower() for other in header], n=1)
    meant = [other for other in header if near and other.lower() == near[0]]
    return f"did you mean {_KEYS[role]}: {meant[0]}?" if meant else ""


def _guess_problem(role: str, table: tuple[str, Sequence[str]], found: list[str]) -> Problem:
    place, header = place_of_header(table[0]), table[1]
    if found:
        return Problem(
            place, f"{len(found):,} columns may be the {role}", shorten_list(map(shorten, found)), _remedy(role)
        )
    there = f"the columns are {shorten_list(map(shorten, header))}"
    if _looks_like_data(header):
        there += "; the first line looks like a row, not like names of columns"
    return Problem(place, f"no column is known to be the {role}", there, _remedy(role))


def _remedy(role: str) -> str:
    return f"set {_KEYS[role]}"


def _looks_like_data(header: Sequence[str]) -> bool:
    return any(re.fullmatch(r"-?\d+([.,]\d+)?", name.strip()) or len(name.split()) > 4 for name in header)
