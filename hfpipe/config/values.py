"""Turns what a user wrote into a value of the declared type.

YAML and the command line both arrive as text, so `1e-4` is a number and `no` is a label wherever the declared
type says so; YAML's own guesses (dates, octals, `no` as false) never happen. Refuses what does not fit the type,
what is not finite and what is out of bounds.
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from hfpipe.secrecy import HIDDEN, is_secret_name

# Longer ones are no setting, and Python refuses to read thousands of digits.
_INTEGER = re.compile(r"[+-]?[0-9][0-9_]{0,30}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_SHOWN_CHARACTERS = 80
# Above 2**53 a float no longer holds every whole number.
_EXACT_FLOAT = 2**53

TRUE_OR_FALSE = (*_TRUE, *_FALSE)


@dataclass(frozen=True)
class Scalar:
    """A word or number as written; `quoted` where quotation marks say that it is text."""

    text: str
    quoted: bool = False


Raw: TypeAlias = "Scalar | list[Raw] | dict[str, Raw] | None"
JSON: TypeAlias = "str | int | float | bool | list[JSON] | dict[str, JSON] | None"


@dataclass(frozen=True)
class ValueType:
    """The forms a setting may take.

    `scalars` are tried in the order bool, int, float, str. `entries` are the scalars a mapping may hold, with 'any'
    for whatever YAML can say; `item_entries` is the same for a list of mappings. `comma_list` splits one text at
    commas: for names, never for files.
    """

    scalars: tuple[str, ...] = ()
    items: bool = False
    entries: tuple[str, ...] = ()
    optional: bool = False
    comma_list: bool = False
    item_entries: tuple[str, ...] = ()

    def __str__(self) -> str:
        names = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}
        forms = [names[scalar] for scalar in self.scalars]
        forms += [("a list of mappings" if self.item_entries else "a list")] if self.items else []
        forms += ["a mapping"] if self.entries else []
        return " or ".join(forms)


@dataclass(frozen=True)
class Bounds:
    """The numbers and words a setting may be; `minimum` and `maximum` are inside, `above` and `below` are not.

    `whole_above_one` is for counts of steps that may also be a share of all steps.
    """

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    whole_above_one: bool = False
    also: float | None = None
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        limits = (("at least", self.minimum), ("above", self.above), ("at most", self.maximum), ("below", self.below))
        stated = " and ".join(f"{word} {limit:,}" for word, limit in limits if limit is not None)
        stated += f", or {self.also:,}" if self.also is not None else ""
        return f"must be {stated}" if stated else ""


class Unfit(Exception):
    """A value that its setting cannot take: the rule it breaks and what to write instead."""

    def __init__(self, rule: str, remedy: str = "") -> None:
        self.rule = rule
        self.remedy = remedy
        super().__init__(f"{rule}; {remedy}" if remedy else rule)


def join_surrogates(text: str) -> str | None:
    """Return `text` with each surrogate pair as the one character it stands for, None where half a pair is left.

    JSON writes a smiley as a pair of escapes, and a command line that is not UTF-8 arrives as halves; neither can be
    written to a file.
    """
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return None


def show(raw: Raw) -> str:
    """Return a value as its user would recognise it, cut to 80 characters."""
    shown = _show(raw)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[: _SHOWN_CHARACTERS - 3]}..."


def _show(raw: Raw) -> str:
    if raw is None:
        return "null"
    if isinstance(raw, Scalar):
        return raw.text or "''"
    if isinstance(raw, list):
        return f"[{', '.join(map(_show, raw))}]"
    return f"{{{', '.join(f'{key}: {HIDDEN if is_secret_name(key) else _show(value)}' for key, value in raw.items())}}}"


def parse_value(raw: Raw, value_type: ValueType, bounds: Bounds) -> object:
    """Return `raw` as a value of `value_type` inside `bounds`; tuples for lists.

    Raises:
        Unfit: If it has another form, is not finite, or is out of bounds.
    """
    if isinstance(raw, Scalar):
        return _parse_single(raw, value_type, bounds)
    if isinstance(raw, list) and value_type.item_entries:
        return tuple(_parse_mapping(item, value_type) for item in raw)
    if isinstance(raw, list) and value_type.items:
        return tuple(check_bounds(_item_text(item), bounds) for item in raw)
    if isinstance(raw, dict) and value_type.entries:
        return {key: _parse_entry(key, item, value_type.entries) for key, item in raw.items()}
    raise Unfit(f"must be {value_type}")


def _parse_single(raw: Scalar, value_type: ValueType, bounds: Bounds) -> object:
    if value_type.comma_list:
        return tuple(check_bounds(part.strip(), bounds) for part in raw.text.split(","))
    if value_type.entries and ("=" in raw.text or not value_type.scalars):
        return _parse_assignments(raw, value_type.entries)
    if value_type.item_entries:
        raise Unfit(f"must be {value_type}", "write '[{dataset_name: a, weight: 1}, ...]'")
    if value_type.items and not value_type.scalars:
        return (check_bounds(raw.text, bounds),)
    return check_bounds(parse_scalar(raw, value_type.scalars), bounds)


def _parse_mapping(raw: Raw, value_type: ValueType) -> Mapping[str, object]:
    if not isinstance(raw, dict):
        raise Unfit(f"must be {value_type}", "write '- key: value' for each item")
    return {key: _parse_entry(key, item, value_type.item_entries) for key, item in raw.items()}


def _item_text(raw: Raw) -> str:
    if isinstance(raw, Scalar):
        return raw.text
    raise Unfit("must be a list of texts", "write its items without nesting, each once")


def _parse_assignments(raw: Scalar, entries: tuple[str, ...]) -> Mapping[str, object]:
    values: dict[str, object] = {}
    for part in raw.text.split(","):
        key, equals, text = (word.strip() for word in part.partition("="))
        if not key or not equals:
            raise Unfit("must be a mapping", "write it as 'a=1,b=2' or as a YAML mapping")
        if key in values:
            raise Unfit(f"names '{key}' twice", "keep one of them")
        values[key] = _parse_entry(key, Scalar(text), entries)
    return values


def _parse_entry(key: str, raw: Raw, entries: tuple[str, ...]) -> object:
    try:
        if entries == ("any",):
            return guess(raw)
        if isinstance(raw, Scalar):
            return parse_scalar(raw, entries)
    except Unfit as unfit:
        raise Unfit(f"'{key}' {unfit.rule}", unfit.remedy) from unfit
    raise Unfit(f"'{key}' must be {ValueType(entries)}")


def guess(raw: Raw) -> object:
    """Return `raw` by its looks alone, for mappings whose receiver declares no types."""
    if isinstance(raw, Scalar):
        return parse_scalar(raw, ("bool", "int", "float", "str"))
    if isinstance(raw, list):
        return [guess(item) for item in raw]
    return None if raw is None else {key: guess(item) for key, item in raw.items()}


def parse_scalar(raw: Scalar, scalars: tuple[str, ...]) -> bool | int | float | str:
    """Return the first of bool, int, float, str that `scalars` allow and `raw` can be.

    Where text is allowed too, only `true` and `false` count as bool, and quotation marks make anything text.

    Raises:
        Unfit: If none fits.
    """
    text, has_text = raw.text.strip(), "str" in scalars
    if has_text and (raw.quoted or scalars == ("str",)):
        return raw.text
    words = ("true", "false") if has_text else TRUE_OR_FALSE
    if "bool" in scalars and text.lower() in words:
        return text.lower() in _TRUE
    number = _parse_number(text, scalars)
    if number is not None:
        return number
    if has_text:
        return raw.text
    raise Unfit(f"must be {ValueType(scalars)}")


def _parse_number(text: str, scalars: tuple[str, ...]) -> int | float | None:
    if "int" in scalars and _INTEGER.fullmatch(text) and "__" not in text and not text.endswith("_"):
        return int(text)
    if not {"int", "float"} & set(scalars):
        return None
    if text.lower().lstrip("+-").removeprefix(".") in ("nan", "inf", "infinity"):
        _refuse_infinite(scalars)
        return None
    if not _NUMBER.fullmatch(text) or "__" in text or text.endswith("_"):
        return None
    number = float(text.replace("_", ""))
    if math.isinf(number):
        _refuse_infinite(scalars)
        return None
    if "float" in scalars:
        return number
    return int(number) if number.is_integer() and abs(number) < _EXACT_FLOAT else None


def _refuse_infinite(scalars: tuple[str, ...]) -> None:
    if "str" not in scalars:
        raise Unfit("must be a finite number")


def check_bounds(value: object, bounds: Bounds) -> object:
    """Return `value`; counts of steps become `int` where they are whole.

    Raises:
        Unfit: If it is out of `bounds`.
    """
    if value == "":
        raise Unfit("must not be empty", "remove it, or write null")
    if bounds.choices and isinstance(value, str) and value not in bounds.choices:
        near = difflib.get_close_matches(value.lower(), bounds.choices, n=1)
        hint = f"did you mean '{near[0]}'?" if near else ""
        raise Unfit(f"must be one of {', '.join(bounds.choices)}", hint)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not _is_inside(value, bounds):
        raise Unfit(str(bounds))
    if bounds.whole_above_one and value > 1 and value != int(value):
        raise Unfit("must be a whole number of steps, or a share of all steps below 1")
    return int(value) if bounds.whole_above_one and value == int(value) else value


def _is_inside(value: float, bounds: Bounds) -> bool:
    if bounds.also is not None and value == bounds.also:
        return True
    return (
        (bounds.minimum is None or value >= bounds.minimum)
        and (bounds.maximum is None or value <= bounds.maximum)
        and (bounds.above is None or value > bounds.above)
        and (bounds.below is None or value < bounds.below)
    )
