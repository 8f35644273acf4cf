"""The label of a row as its file has it: a class, a set of labels, or a number.

A list is never one label, a text never several without a delimiter, and a number with decimals no
class: each is refused with its place and with the setting that would make sense of it.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.data.accounting import Rows
from hfpipe.data.columns import is_empty
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import SourceFile, place_of, shorten
from hfpipe.errors import Problem

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WITH_COMMA = re.compile(r"[+-]?[\d.]*,[\d.,]*", re.ASCII)
LABEL_DELIMITERS = (";", "|", ",")
_NO_NUMBERS = ("nan", "inf", "infinity")
_LARGEST = 3.4028234663852886e38  # of a float32
_TYPE_NAMES = {
    "int": "a number",
    "float": "a number with decimals",
    "bool": "a truth value",
    "list": "a list",
    "dict": "an object",
    "bytes": "bytes",
}


@dataclass(frozen=True)
class LabelShape:
    """What a label is (`problem_type`), and what stands between several of a text (None: they are lists)."""

    problem_type: str = SINGLE_LABEL
    delimiter: str | None = None


ONE_LABEL = LabelShape()


@dataclass
class LabelColumn:
    """The labels of a part as they come in: one of the three lists is filled, by the shape."""

    shape: LabelShape = ONE_LABEL
    labels: list[str] = field(default_factory=list)
    label_sets: list[tuple[str, ...]] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)
    unlabelled: Rows = field(default_factory=lambda: Rows(0))
    types: dict[str, Rows] = field(default_factory=dict)
    _known_sets: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def take(self, value: object, origin: tuple[SourceFile, int, str], findings: Findings) -> bool:
        """Take the label of a row (its file, line and column); return whether the row has one that can be used."""
        file, line, column = origin
        place = place_of(file.name, line)
        if self._is_missing(value):
            self.unlabelled = self.unlabelled.also(place)
            return False
        try:
            self._take_value(value, place, is_typed=file.suffix not in (".csv", ".tsv"))
        except _Unusable as error:
            value_shown = error.value or f"column {column!r} holds {describe_value(value)}"
            problem = Problem(place, value_shown, error.rule, error.remedy)
            findings.add("labels that cannot be used", file.name, problem)
            return False
        return True

    def _is_missing(self, value: object) -> bool:
        """An empty cell that a delimiter would divide holds no labels, for CSV cannot tell it from a missing one."""
        is_blank = isinstance(value, str) and is_empty(value)
        return value is None or (is_blank and self.shape.delimiter is None)

    def _take_value(self, value: object, place: str, *, is_typed: bool) -> None:
        if self.shape.problem_type == REGRESSION:
            self.numbers.append(_parse_number(value))
        elif self.shape.problem_type == MULTI_LABEL:
            self._take_set(value, place, is_typed=is_typed)
        else:
            self.labels.append(self._label(value, place) if is_typed else str(value))

    def _take_set(self, value: object, place: str, *, is_typed: bool) -> None:
        found = _parts(value, self.shape.delimiter)
        labels = [self._label(item, place) if is_typed else str(item) for item in found]
        twice = [label for label in dict.fromkeys(labels) if labels.count(label) > 1]
        if twice:
            raise _repeated(twice[0], labels)
        ordered = tuple(sorted(labels))
        self.label_sets.append(self._known_sets.setdefault(ordered, ordered))

    def _label(self, value: object, place: str) -> str:
        """Return a label of a typed format as text; its type is noted, for a part is of one type."""
        if isinstance(value, list):
            raise _Unusable("a row has one label", f"set problem_type: {MULTI_LABEL} for lists of them")
        if isinstance(value, float | Decimal):
            rule = "a label is a text or a whole number"
            remedy = f"set problem_type: {REGRESSION} to predict numbers"
            raise _Unusable(rule, f"{remedy}, or write whole ones (pandas turns 1 into 1.0 where a label is missing)")
        if not isinstance(value, str | int):
            raise _Unusable("a label is a text or a whole number", "name another column by label_column_name")
        kind = "truth values" if isinstance(value, bool) else "numbers" if isinstance(value, int) else "texts"
        self.types[kind] = self.types.get(kind, Rows(0)).also(place)
        return str(value).lower() if isinstance(value, bool) else str(value)


class _Unusable(Exception):
    """A label that cannot be used: the rule it breaks, the remedy, and the value where it is not the whole cell."""

    def __init__(self, rule: str, remedy: str = "", value: str = "") -> None:
        super().__init__(rule)
        self.rule, self.remedy, self.value = rule, remedy, value


def _repeated(label: str, labels: Sequence[str]) -> _Unusable:
    remedy = "remove the others"
    if set(labels) <= {"0", "1"}:
        remedy = "a list names the labels a row has, as in [3, 7], and holds no zeros for the others"
    return _Unusable("a row has a label once", remedy, f"label {shorten(label)} stands {labels.count(label)} times")


def describe_value(value: object) -> str:
    """Return the kind of a value and the value, for a message: "a number, '5'"."""
    kind = _TYPE_NAMES.get(type(value).__name__, f"a value of type {type(value).__name__}")
    return f"{'a text' if isinstance(value, str) else kind}, {shorten(str(value))}"


def find_label_delimiter(value: str) -> str | None:
    """Return the sign that seems to stand between the labels of a text, None where none does."""
    return next((sign for sign in LABEL_DELIMITERS if sign in value), None)


def _parse_number(value: object) -> float:
    """Return the number that a label is.

    Raises:
        _Unusable: If it is none, not finite, or beyond what a float32 holds.
    """
    if isinstance(value, str):
        return _parse_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _Unusable("a number is expected")
    number = float(value) if isinstance(value, Decimal) else value
    if isinstance(number, float) and not math.isfinite(number):
        raise _Unusable("a number to predict is finite", "write null where there is no value")
    return _bounded(number)


def _parse_text(text: str) -> float:
    if text.lower().lstrip("+-") in _NO_NUMBERS:
        raise _Unusable("a number to predict is finite", "leave the cell empty where there is no value")
    if _WITH_COMMA.fullmatch(text):
        raise _Unusable("a comma in a number", "write a decimal point, as in 3.5, and no thousands separators")
    if not _NUMBER.fullmatch(text):
        raise _Unusable("a number is expected", f"write one, or remove problem_type: {REGRESSION} for classes")
    return _bounded(float(text))


def _bounded(number: float) -> float:
    if abs(number) > _LARGEST:
        raise _Unusable("beyond what a 32-bit number holds", "give it in a larger unit")
    return float(number)


def _parts(value: object, delimiter: str | None) -> Sequence[object]:
    if isinstance(value, list):
        _check_items(value)
        return value
    if delimiter is None:
        remedy = f"set label_delimiter: {find_label_delimiter(str(value)) or ';'!r}, or write lists"
        raise _Unusable("the labels of a row are a list, or a text with a delimiter", remedy)
    if not isinstance(value, str):
        raise _Unusable("the labels of a row are a list, or a text with a delimiter")
    if not value.strip():
        return []
    parts = [part.strip() for part in value.split(delimiter)]
    if not all(parts):
        raise _Unusable("an empty label between delimiters", f"remove the {delimiter!r} that divides nothing")
    return parts


def _check_items(values: Sequence[object]) -> None:
    for item in values:
        if item is None or (isinstance(item, str) and not item.strip()):
            raise _Unusable("a label in it is empty", "remove it: an empty list is a row without labels")
        if not isinstance(item, str | int):
            raise _Unusable("the labels in a list are texts or whole numbers")
