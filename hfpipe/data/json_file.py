"""Files named .json: one array of objects, however it is laid out, or really JSON lines. The first sign decides.

Refuses a file that is one object (its rows may be anywhere in it), elements that are no objects, and what the standard
refuses (`json_values`). An object's place is its number in the array, which often stands on a single line. An array
has to be read as a whole, so its file is held in memory; JSON lines are not. Parsing goes on after an object whose
values are refused, and ends where the text is no JSON, for nobody can tell where the next object begins.
"""

import json
from collections.abc import Iterator
from itertools import islice

from hfpipe.data.encoding import UnreadableTextError, is_readable_text, read_lines
from hfpipe.data.findings import Findings
from hfpipe.data.json_array import BrokenArrayError, parse_elements
from hfpipe.data.json_values import LENIENT, RefusedValueError
from hfpipe.data.jsonl import read_jsonl
from hfpipe.data.record_stream import Record, RecordStream, SourceFile, place_of, shorten
from hfpipe.errors import Problem

_ARRAY_OF_OBJECTS = "a .json file is an array of objects, or an object a line"


def read_json(file: SourceFile, findings: Findings) -> RecordStream | None:
    """Return the stream of a file, or None where it holds no object at all.

    Elements that cannot be used go to `findings` and are left out of the stream.
    """
    if not is_readable_text(file, findings):
        return None
    first = _first_filled_lines(file)
    if first and first[0].startswith("["):
        return _read_array(file, findings)
    problem = _problem_of_object(file, first)
    if problem is None:
        return read_jsonl(file, findings)
    findings.add("files of another format", file.name, problem)
    return None


def _first_filled_lines(file: SourceFile) -> list[str]:
    found: list[str] = []
    try:
        stripped = (line.strip() for line in read_lines(file, Findings()))
        found.extend(islice((line for line in stripped if line), 2))
    except UnreadableTextError:
        pass  # told by who reads on
    return found


def _read_array(file: SourceFile, findings: Findings) -> RecordStream | None:
    try:
        text = _text(file, findings)
    except UnreadableTextError:
        return None
    return _stream(file, findings, list(_objects(file, findings, text)))


def _text(file: SourceFile, findings: Findings) -> str:
    # line ends cannot stand inside JSON's strings, so they may be told alike
    return "".join(read_lines(file, findings)).replace("\r\n", "\n").replace("\r", "\n")


def _objects(file: SourceFile, findings: Findings, text: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the objects of the array `text` and the number of each, from 1; elements that are refused count too."""
    try:
        for number, value in enumerate(parse_elements(text), start=1):
            problem = _problem_of_element(place_of(file.name, number), value)
            if problem is not None:
                findings.add("elements that cannot be used", file.name, problem)
            elif isinstance(value, dict):
                yield number, value
    except BrokenArrayError as error:
        line = text.count("\n", 0, error.position) + 1
        findings.add("broken files", file.name, Problem(f"{file.name}:{line}", *error.told))


def _problem_of_element(place: str, value: object) -> Problem | None:
    if isinstance(value, RefusedValueError):
        return Problem(place, str(value.args[0]), *value.args[1:])
    if isinstance(value, dict):
        return None
    return Problem(
        place,
        shorten(json.dumps(value, ensure_ascii=False)),
        "every element of the array is one JSON object",
        'write each row as {"text": ..., "label": ...}',
    )


def _stream(file: SourceFile, findings: Findings, found: list[tuple[int, dict[str, object]]]) -> RecordStream | None:
    header = tuple(dict.fromkeys(key for _, values in found for key in values))
    if not header:
        if not findings.has_problems_of(file.name):
            problem = Problem(file.name, "no objects", _ARRAY_OF_OBJECTS, "name a file that holds rows")
            findings.add("files without rows", file.name, problem)
        return None
    others = [number for number, values in found if values.keys() != found[0][1].keys()]
    if others:
        noun = "object has" if len(others) == 1 else "objects have"
        place = place_of(file.name, others[0])
        findings.note(f"{file.name}: {len(others):,} {noun} other keys than the first, {place} to begin with")
    missing = dict.fromkeys(header)
    return RecordStream(file, header, (Record(number, {**missing, **values}) for number, values in found))


def _problem_of_object(file: SourceFile, first: list[str]) -> Problem | None:
    """Return what is wrong with a file that is one object, or whose objects span lines; None for an object a line."""
    if not first or not first[0].startswith("{"):
        return None
    value = _decoded(first[0])
    if isinstance(value, dict) and (len(first) > 1 or not _holds_rows(value)):
        return None
    try:
        text = _text(file, Findings()).strip()
        value, end = LENIENT.raw_decode(text)
    except (ValueError, RecursionError, UnreadableTextError):
        return None  # told by the reader of lines
    if end < len(text):
        remedy = "write one array, or an object a line, for instance: jq -c ."
        return Problem(f"{file.name}:1", "an object over several lines", _ARRAY_OF_OBJECTS, remedy)
    return Problem(f"{file.name}:1", "the file is one JSON object", _ARRAY_OF_OBJECTS, _remedy_of_object(value))


def _decoded(line: str) -> object:
    try:
        return LENIENT.decode(line)
    except (ValueError, RecursionError):
        return None


def _holds_rows(value: dict[str, object]) -> bool:
    """Tell whether an object looks like a whole table: a list of rows under a key, or columns."""
    return _key_of_rows(value) is not None or all(isinstance(item, dict | list) for item in value.values())


def _key_of_rows(value: dict[str, object]) -> str | None:
    lists = (key for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict))
    return next(lists, None)


def _remedy_of_object(value: dict[str, object]) -> str:
    key = _key_of_rows(value)
    if key is not None:
        path = f".{key}" if key.isidentifier() else f".[{json.dumps(key)}]"
        return f"give the array itself, for instance: jq '{path}'"
    if _holds_rows(value):
        return "write its rows as objects, with pandas: to_json(orient='records')"
    return "put it in an array, or on one line, for instance: jq -c ."
