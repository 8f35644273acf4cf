"""Frozen dataclasses as JSON and back, checked field by field against their annotations.

Fields may be texts, numbers, truth values, other dataclasses, tuples `tuple[X, ...]`, mappings from texts, and any of
these or None. Refused when read: keys that are missing or unknown, and values of another type, all problems at once.
Numbers that are not finite become null, for JSON has none; a field that can be so is annotated `float | None`.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from hfpipe.errors import CheckpointError, Problem

T = TypeVar("T")

_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_ACCEPTED: Mapping[Any, type | tuple[type, ...]] = {str: str, int: int, float: (int, float), bool: bool}


def to_plain(value: object) -> Any:
    """Return dataclasses as mappings and tuples as lists, all the way down; what is not finite is None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_plain(vars(value))
    if isinstance(value, Mapping):
        return {str(key): to_plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_plain(kind: type[T], value: object, *, place: str, remedy: str = "") -> T:
    """Return the `kind` that `to_plain` made `value` of; `place` names what was read, for messages.

    Raises:
        CheckpointError: With every key that is missing or unknown and every value of another type.
    """
    problems: list[Problem] = []
    found = _read(kind, value, place, problems)
    if problems:
        raise CheckpointError([dataclasses.replace(problem, remedy=remedy) for problem in problems])
    return typing.cast("T", found)


def _read(kind: Any, value: object, place: str, problems: list[Problem]) -> Any:
    """Return `value` as `kind`; what it cannot be is added to `problems`, and the result means nothing."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_optional(kind, value, place, problems)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, place, problems)
    if origin is tuple:
        return _read_items(typing.get_args(kind)[0], value, place, problems)
    if origin is not None and issubclass(origin, Mapping):
        return _read_mapping(typing.get_args(kind)[1], value, place, problems)
    if not isinstance(value, _ACCEPTED[kind]) or (isinstance(value, bool) and kind is not bool):
        problems.append(Problem(place, repr(value), f"must be {_WORDS[kind]}"))
        return None
    return kind(value)


def _read_optional(kind: Any, value: object, place: str, problems: list[Problem]) -> Any:
    (wanted,) = (each for each in typing.get_args(kind) if each is not type(None))
    return None if value is None else _read(wanted, value, place, problems)


def _read_dataclass(kind: Any, value: object, place: str, problems: list[Problem]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(Problem(place, repr(value), "must be a mapping"))
        return None
    hints = typing.get_type_hints(kind)
    problems += [Problem(f"{place}: {key}", rule="no such key") for key in value if key not in hints]
    problems += [Problem(f"{place}: {key}", rule="is missing") for key in hints if key not in value]
    known = [key for key in hints if key in value]
    found = {key: _read(hints[key], value[key], f"{place}: {key}", problems) for key in known}
    # with a problem noted nothing is returned, and a part of the fields would make no object
    return kind(**found) if found.keys() == hints.keys() else None


def _read_items(kind: Any, value: object, place: str, problems: list[Problem]) -> Any:
    if not isinstance(value, Sequence) or isinstance(value, str):
        problems.append(Problem(place, repr(value), "must be a list"))
        return None
    return tuple(_read(kind, each, f"{place}[{index}]", problems) for index, each in enumerate(value))


def _read_mapping(kind: Any, value: object, place: str, problems: list[Problem]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(Problem(place, repr(value), "must be a mapping"))
        return None
    return {key: _read(kind, each, f"{place}: {key}", problems) for key, each in value.items()}
