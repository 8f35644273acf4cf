"""JSON-lines files: one object a line, values with their JSON types.

Refuses what Python's parser lets pass: a key that stands twice (the last would win in silence),
NaN and Infinity, half of a surrogate pair. Objects may have different keys: the columns are all
keys of the file, a key that is missing reads as null, and how many lines differ is said.
"""

import json
from collections.abc import Iterator

from hfpipe.data.encoding import is_readable_text, read_lines, report_encoding
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import Record, RecordStream, SourceFile, shorten
from hfpipe.errors import Problem

_ONE_OBJECT_A_LINE = "every line is one JSON object"


class _RefusedValue(ValueError):
    """Valid for Python's parser, refused here."""


def read_jsonl(file: SourceFile, findings: Findings) -> RecordStream | None:
    """Return the stream of a file, or None where it holds no object at all.

    Lines that cannot be used go to `findings` and are left out of the stream. Blank lines are no rows.
    """
    if not is_readable_text(file, findings):
        return None
    header, differing, first = _keys_of(file)
    if not header:
        for _ in _records(file, findings, ()):
            pass
        if not findings:
            findings.add("files without rows", file.name, Problem(file.name, "no objects", _ONE_OBJECT_A_LINE))
        return None
    if differing:
        noun = "line has" if differing == 1 else "lines have"
        findings.note(f"{file.name}: {differing:,} {noun} other keys than the first, {file.name}:{first} to begin with")
    return RecordStream(file, header, _records(file, findings, header))


def _keys_of(file: SourceFile) -> tuple[tuple[str, ...], int, int]:
    """Return all keys in order of appearance, the number of lines whose keys differ, and the first such line."""
    keys: dict[str, None] = {}
    reference: set[str] | None = None
    differing = first = 0
    try:
        for number, line in enumerate(read_lines(file, Findings()), start=1):
            found = _keys_of_line(line)
            if found is None:
                continue
            keys.update(dict.fromkeys(found))
            if reference is None:
                reference = set(found)
            elif reference != set(found):
                differing += 1
                first = first or number
    except UnicodeDecodeError:
        return tuple(keys), 0, 0
    return tuple(keys), differing, first


def _keys_of_line(line: str) -> list[str] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return list(value) if isinstance(value, dict) else None


def _records(file: SourceFile, findings: Findings, header: tuple[str, ...]) -> Iterator[Record]:
    missing = dict.fromkeys(header)
    try:
        for number, line in enumerate(read_lines(file, findings), start=1):
            if not line.strip():
                continue
            parsed = _parsed(f"{file.name}:{number}", line)
            if isinstance(parsed, Problem):
                findings.add("lines that cannot be used", file.name, parsed)
                if line.lstrip().startswith("[") and number == 1:
                    return
            else:
                yield Record(number, {**missing, **parsed})
    except UnicodeDecodeError:
        report_encoding(file, findings)


def _parsed(place: str, line: str) -> dict[str, object] | Problem:
    try:
        value = json.loads(line, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
        if isinstance(value, dict) and "\\ud" in line.lower():
            _refuse_half_surrogates(value)
    except _RefusedValue as error:
        return Problem(place, str(error.args[0]), *error.args[1:])
    except json.JSONDecodeError as error:
        if line.lstrip().startswith("["):
            return Problem(place, "a JSON array", _ONE_OBJECT_A_LINE, "convert it, for instance: jq -c '.[]'")
        return Problem(place, shorten(line.strip()), f"not JSON at character {error.colno:,} ({error.msg})")
    except (ValueError, RecursionError):
        return Problem(place, shorten(line.strip()), "a number or a nesting beyond what can be read")
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return Problem(place, "a JSON array", _ONE_OBJECT_A_LINE, "convert it, for instance: jq -c '.[]'")
    return Problem(place, shorten(line.strip()), _ONE_OBJECT_A_LINE)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedValue(f"key {twice!r} stands {names.count(twice)} times", "keys are unique", "remove one")
    return values


def _refuse_constant(name: str) -> object:
    raise _RefusedValue(name, "JSON has no such number", "write null where there is no value")


def _refuse_half_surrogates(values: dict[str, object]) -> None:
    for key, value in values.items():
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise _RefusedValue(f"{key!r} holds half of a surrogate pair", "not a character", "write the text as UTF-8")
