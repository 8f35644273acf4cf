"""JSON as strictly as its standard has it.

Refuses what Python's parser lets pass: a key that stands twice (the last would win in silence), NaN and Infinity, half
of a surrogate pair.
"""

import json


class RefusedValueError(ValueError):
    """Valid for Python's parser, refused here; its arguments are value, rule and remedy of a `Problem`."""


def check_surrogates(value: object, text: str) -> None:
    """Check that no string in the object `value`, which `text` holds, has half of a surrogate pair.

    Raises:
        RefusedValueError: If one has; only an escape can write it.
    """
    if isinstance(value, dict) and ("\\ud" in text or "\\uD" in text):
        for key, item in value.items():
            if _has_half(key) or _has_half(item):
                rule, remedy = "not a character", "write the text as UTF-8"
                raise RefusedValueError(f"{key!r} holds half of a surrogate pair", rule, remedy)


def _has_half(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_half(key) or _has_half(item) for key, item in value.items())
    if isinstance(value, list):
        return any(map(_has_half, value))
    return isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RefusedValueError(f"key {twice!r} stands {names.count(twice)} times", "keys are unique", "remove one")
    return values


def _refuse_constant(name: str) -> object:
    raise RefusedValueError(name, "JSON has no such number", "write null where there is no value")


# built once: json.loads would build a parser for every line
STRICT = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
LENIENT = json.JSONDecoder()
