"""The elements of one JSON array, parsed one by one.

Refuses text that is no JSON at the place where it stops being it, for nobody can tell where the next element begins.
Values that are refused (`json_values`) are delivered as errors, and parsing goes on behind them.
"""

import json
import re
from collections.abc import Iterator

from hfpipe.data.json_values import LENIENT, STRICT, RefusedValueError, check_surrogates
from hfpipe.data.record_stream import shorten

_SPACE = re.compile(r"[ \t\n]*")
_FETCH = "the file is cut short: export or fetch it again"


class BrokenArrayError(Exception):
    """The text goes on as no JSON; `told` are the value, rule and remedy of a `Problem`."""

    def __init__(self, position: int, *told: str) -> None:
        super().__init__(position, *told)
        self.position = position
        self.told = told


def parse_elements(text: str) -> Iterator[object]:
    r"""Yield the value of each element of the array `text`, or the `RefusedValueError` it is refused by.

    Lines of `text` end in '\n'.

    Raises:
        BrokenArrayError: Where the text is no JSON; what follows is not looked at.
    """
    position = _after_space(text, text.index("[") + 1)
    is_closed = text.startswith("]", position)
    while not is_closed:
        value, end = _value_at(text, position)
        yield value
        position = _after_space(text, end)
        is_closed = text.startswith("]", position)
        if not is_closed:
            position = _after_comma(text, position)
    rest = _after_space(text, position + 1)
    if rest < len(text):
        remedy = "a .json file is a single array: put all objects into it"
        raise BrokenArrayError(rest, _beginning(text, rest), "stands after the end of the array", remedy)


def _value_at(text: str, position: int) -> tuple[object, int]:
    if position >= len(text):
        raise BrokenArrayError(len(text.rstrip()), "the file ends here", "its array is not closed by ']'", _FETCH)
    try:
        try:
            value, end = STRICT.raw_decode(text, position)
            check_surrogates(value, text[position:end])
        except RefusedValueError as refused:
            return refused, LENIENT.raw_decode(text, position)[1]
    except json.JSONDecodeError as error:
        raise _broken_element(text, position, error) from error
    except (ValueError, RecursionError) as error:
        rule = "a number or a nesting beyond what can be read"
        remedy = "write it as a text, or remove it"
        raise BrokenArrayError(position, _beginning(text, position), rule, remedy) from error
    return value, end


def _broken_element(text: str, position: int, error: json.JSONDecodeError) -> BrokenArrayError:
    if not text[error.pos :].strip() or error.msg.startswith("Unterminated string"):
        return BrokenArrayError(position, "an object begins here", "the file ends inside it", _FETCH)
    rule = f"not JSON at line {error.lineno:,}, character {error.colno:,} ({error.msg})"
    return BrokenArrayError(position, _beginning(text, position), rule, "mend it; what follows it is not read")


def _after_comma(text: str, position: int) -> int:
    if position >= len(text):
        return position
    following = _after_space(text, position + 1)
    if not text.startswith(",", position):
        rule, remedy = "stands after an object without a comma", "write ',' between objects, and ']' after the last"
        raise BrokenArrayError(position, _beginning(text, position), rule, remedy)
    if text.startswith("]", following):
        raise BrokenArrayError(position, "a comma before ']'", "no object follows it", "remove the comma")
    return following


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    assert found is not None, "no space at all matches too"
    return found.end()


def _beginning(text: str, position: int) -> str:
    return shorten(text[position : position + 60].split("\n")[0])
