"""JSON-lines files: one object a line, values with their JSON types.

Refuses lines that are no object, and values that JSON has not (`json_values`). Objects may have different keys: the
columns are all keys of the file, a key that is missing reads as null, and how many lines differ is said.
"""

import json
from collections.abc import Iterator
from itertools import islice

from hfpipe.data.encoding import UnreadableTextError, is_readable_text, read_lines
from hfpipe.data.findings import Findings
from hfpipe.data.json_values import STRICT, RefusedValueError, check_surrogates
from hfpipe.data.record_stream import Record, RecordStream, SourceFile, shorten
from hfpipe.errors import Problem

_ONE_OBJECT_A_LINE = "every line is one JSON object"
_WRITE_OBJECT = 'write each row as {"text": ..., "label": ...}'
_REMEDIES = {
    "Unterminated string starting at": "the line is cut short, or a text holds a line break: write that as \\n",
    "Invalid control character at": "write tabs and line breaks in a text as \\t and \\n",
    "Expecting property name enclosed in double quotes": (
        'write keys and texts in double quotes ("), and no comma behind the last value'
    ),
    "Expecting value": "write texts in double quotes, and true, false and null in small letters",
}
_NAME_IT = "name the file .json if the array is all it holds, or "


def read_jsonl(file: SourceFile, findings: Findings, *, surveyed_lines: int | None = None) -> RecordStream | None:
    """Return the stream of a file, or None where it holds no object at all.

    Lines that cannot be used go to `findings` and are left out of the stream. Blank lines are no rows. The columns
    are the keys of all lines, or of the first `surveyed_lines` where the file is not to be read twice.
    """
    if not is_readable_text(file, findings):
        return None
    header, differing, first = _keys_of(file, surveyed_lines)
    if not header:
        _report_no_object(file, findings)
        return None
    if differing:
        noun = "line has" if differing == 1 else "lines have"
        findings.note(f"{file.name}: {differing:,} {noun} other keys than the first, {file.name}:{first} to begin with")
    return RecordStream(file, header, _records(file, findings, header))


def _report_no_object(file: SourceFile, findings: Findings) -> None:
    try:
        numbered = enumerate(read_lines(file, Findings()), start=1)
        number, first = next(((number, line) for number, line in numbered if line.strip()), (0, ""))
    except UnreadableTextError:
        number, first = 0, ""
    if first.strip() == "{":
        remedy = "write an object a line, for instance: jq -c ."
        problem = Problem(f"{file.name}:{number}", "an object over several lines", _ONE_OBJECT_A_LINE, remedy)
        findings.add("files of another format", file.name, problem)
        return
    for _ in _records(file, findings, ()):
        pass
    if not findings.has_problems_of(file.name):
        problem = Problem(file.name, "no objects", _ONE_OBJECT_A_LINE, "name a file that holds rows")
        findings.add("files without rows", file.name, problem)


def _keys_of(file: SourceFile, limit: int | None) -> tuple[tuple[str, ...], int, int]:
    """Return all keys in order of appearance, the number of lines whose keys differ, and the first such line."""
    keys: dict[str, None] = {}
    reference: set[str] | None = None
    differing = first = 0
    try:
        for number, line in enumerate(islice(read_lines(file, Findings()), limit), start=1):
            found = _keys_of_line(line)
            if found is None:
                continue
            keys.update(dict.fromkeys(found))
            if reference is None:
                reference = set(found)
            elif reference != set(found):
                differing += 1
                first = first or number
    except UnreadableTextError:
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
            if number == 1 and line.lstrip().startswith("["):
                findings.add("files of another format", file.name, _array_problem(f"{file.name}:1", _NAME_IT))
                return
            parsed = _parsed(f"{file.name}:{number}", line)
            if isinstance(parsed, Problem):
                findings.add("lines that cannot be used", file.name, parsed)
            else:
                yield Record(number, {**missing, **parsed})
    except UnreadableTextError:
        return


def _parsed(place: str, line: str) -> dict[str, object] | Problem:
    try:
        value = STRICT.decode(line)
        check_surrogates(value, line)
    except RefusedValueError as error:
        return Problem(place, str(error.args[0]), *error.args[1:])
    except json.JSONDecodeError as error:
        if line.lstrip().startswith("["):
            return _array_problem(place)
        # where the line ends too early, the parser points behind its end
        character = min(error.pos, len(line.rstrip())) + 1
        rule = f"not JSON at character {character:,} ({error.msg})"
        return Problem(place, shorten(line.strip()), rule, _remedy_of(error, line.strip()))
    except (ValueError, RecursionError):
        rule, remedy = "a number or a nesting beyond what can be read", "write it as a text, or remove it"
        return Problem(place, shorten(line.strip()), rule, remedy)
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return _array_problem(place)
    return Problem(place, shorten(line.strip()), _ONE_OBJECT_A_LINE, _WRITE_OBJECT)


def _remedy_of(error: json.JSONDecodeError, line: str) -> str:
    if line.startswith("\ufeff"):
        return "remove the byte order mark: the file was put together from several"
    if error.msg == "Extra data":
        return "remove the comma behind the object" if line[error.pos :].strip() == "," else "write one object a line"
    if error.pos == 0:
        return "remove the line, or name the file by its format"
    return _REMEDIES.get(error.msg, "mend the line, or write the file again")


def _array_problem(place: str, remedy: str = "") -> Problem:
    return Problem(place, "a JSON array", _ONE_OBJECT_A_LINE, f"{remedy}convert it, for instance: jq -c '.[]'")
