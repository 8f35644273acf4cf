"""CSV and TSV files, read strictly as RFC 4180 has them.

Refuses what other readers repair in silence: rows with more or fewer fields than the header, quotes
that do not match, a delimiter that is not the file's, column names that are empty or stand twice.
Fields stay the texts they are: 'NA', 'null' and '01' are not interpreted. A double quote inside an
unquoted field is kept as a character, for it cannot be misread.
"""

import csv
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from hfpipe.data.encoding import UnreadableTextError, is_readable_text, read_lines
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import Record, RecordStream, SourceFile, shorten, shorten_list
from hfpipe.errors import Problem

_DELIMITERS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}
_SAMPLED_LINES = 40
_FILL = "name a file that holds rows"


def read_delimited(file: SourceFile, findings: Findings, *, delimiter: str | None = None) -> RecordStream | None:
    """Return the stream of a file, or None where its header already shows that rows cannot be read.

    `delimiter` None means a tab for .tsv and ',' otherwise; 'tab' is a tab too. Ragged and wrongly
    quoted rows go to `findings` with their line and are left out of the stream. Blank lines are no rows.
    """
    if not is_readable_text(file, findings):
        return None
    chosen = _delimiter_of(file, delimiter)
    if len(chosen) != 1 or chosen in '"\r\n ':
        place, rule = f"field_delimiter: {delimiter!r}", "a delimiter is one character, and no quote, space or line end"
        if not findings.has_problems_of(place):
            findings.add("settings", place, Problem(place, "", rule, "set ',', ';', '|' or 'tab'"))
        return None
    rows = _parsed_rows(file, findings, chosen)
    line, header = next(rows, (0, None))
    if findings.has_problems_of(file.name):
        return None
    if header is None:
        findings.add("files without a header", file.name, Problem(file.name, "no header", "the file is blank", _FILL))
        return None
    if not _is_header_sound(f"{file.name}:{line}", (file, findings), header, chosen):
        return None
    return RecordStream(file, tuple(header), _records(file, findings, (tuple(header), chosen), rows))


def _delimiter_of(file: SourceFile, delimiter: str | None) -> str:
    if delimiter is None:
        return "\t" if file.suffix == ".tsv" else ","
    # A shell hands over a backslash and a 't' where a YAML file has the tab itself.
    return "\t" if delimiter in ("\\t", "tab") else delimiter


def _parsed_rows(file: SourceFile, findings: Findings, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # The limit of the csv module (131,072 characters a field) is the process's; books exceed it.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader(read_lines(file, findings), delimiter=delimiter, strict=True)
    spanning, longest = 0, (1, 0)
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            _note_spans(file, findings, spanning, longest)
            return
        except UnreadableTextError:
            return
        except csv.Error as error:
            findings.add("rows with unmatched quotes", file.name, _quote_problem(file, start, reader.line_num, error))
            continue
        if reader.line_num > start:
            spanning += 1
            longest = max(longest, (reader.line_num - start + 1, start))
        if row:
            yield start, row


def _note_spans(file: SourceFile, findings: Findings, spanning: int, longest: tuple[int, int]) -> None:
    # Two stray quotes can enclose other rows and still be valid: the one trace they leave is a long row.
    if spanning:
        lines, start = longest
        noun = "row spans" if spanning == 1 else "rows span"
        findings.note(f"{file.name}: {spanning:,} {noun} several lines, the longest {lines:,} from {file.name}:{start}")


def _records(
    file: SourceFile, findings: Findings, shape: tuple[tuple[str, ...], str], rows: Iterator[tuple[int, list[str]]]
) -> Iterator[Record]:
    header, delimiter = shape
    width = len(header)
    for line, row in rows:
        if len(row) == width and not _is_header_again(row, header):
            yield Record(line, dict(zip(header, row, strict=True)))
        elif len(row) == width:
            rule, remedy = "the header again, as where files were put together", "remove this line"
            problem = Problem(f"{file.name}:{line}", shorten(delimiter.join(row)), rule, remedy)
            findings.add("rows that repeat the header", file.name, problem)
        elif len(row) > 1 or row[0].strip():
            problem = _width_problem(f"{file.name}:{line}", row, header, delimiter)
            findings.add("rows with another number of fields than the header", file.name, problem)


def _is_header_again(row: list[str], header: tuple[str, ...]) -> bool:
    # a byte order mark in the middle of a file shields the quote behind it
    return len(row) > 1 and row[1:] == list(header[1:]) and row[0].lstrip("\ufeff").strip('"') == header[0]


def _quote_problem(file: SourceFile, start: int, end: int, error: csv.Error) -> Problem:
    place = f"{file.name}:{start}"
    remedy = 'close the quote, and write a quote inside a quoted text twice: "she said ""no"""'
    if "unexpected end of data" in str(error):
        return Problem(
            place, 'a quote (") opens here', "it is never closed, and the rest of the file is one field", remedy
        )
    reach = "on this line" if end == start else f"on line {end}"
    return Problem(place, "a quoted field begins here", f"its closing quote {reach} is followed by more text", remedy)


def _width_problem(place: str, row: list[str], header: tuple[str, ...], delimiter: str) -> Problem:
    noun = "field" if len(row) == 1 else "fields"
    rule = f"the header has {len(header):,} ({_listed(header)})"
    sign = _DELIMITERS.get(delimiter, repr(delimiter))
    if len(row) < len(header):
        remedy = "a field is missing, or a text holds a line break outside double quotes"
    elif any(field.startswith(" ") and field.lstrip().startswith('"') for field in row):
        remedy = "remove the space before the opening quote"
    elif not any(row[len(header) :]):
        remedy = f"remove {sign} at the end of the line"
    else:
        remedy = f"put a text that holds {sign} in double quotes"
    return Problem(place, f"{len(row):,} {noun}", rule, remedy)


def _is_header_sound(place: str, target: tuple[SourceFile, Findings], header: list[str], delimiter: str) -> bool:
    file, findings = target
    if header[0].lower().startswith("sep="):
        problem = Problem(place, shorten(delimiter.join(header)), "a line for Excel, not a header", "remove this line")
        findings.add("files without a header", file.name, problem)
        return False
    other = _better_delimiter(file, delimiter) if len(header) == 1 else None
    if other is not None:
        value = f"one column, {shorten(header[0])}, where {_DELIMITERS.get(delimiter, repr(delimiter))} delimits"
        rule = f"the file is delimited by {_DELIMITERS[other]}"
        findings.add("files with another delimiter", file.name, Problem(place, value, rule, _set_delimiter(other)))
        return False
    problems = list(_name_problems(place, header, _DELIMITERS.get(delimiter, repr(delimiter))))
    for problem in problems:
        findings.add("column names", file.name, problem)
    return not problems


def _name_problems(place: str, header: list[str], sign: str) -> Iterator[Problem]:
    counts = Counter(header)
    empty = [index for index, name in enumerate(header, start=1) if not name.strip()]
    if empty:
        columns = f"{'column' if len(empty) == 1 else 'columns'} {shorten_list(map(str, empty))} of {len(header):,}"
        yield Problem(place, f"no name for {columns}", "every column has a name", _remedy_of_names(header, empty, sign))
    for name in (name for name, count in counts.items() if name.strip() and count > 1):
        value = f"column {shorten(name)} stands {counts[name]:,} times"
        yield Problem(place, value, "names are unique", "rename one")
    for name in header:
        if name.strip() and name != name.strip():
            rule, remedy = "white space around the name", "remove it, here and in the rows"
            yield Problem(place, f"column {shorten(name)}", rule, remedy)


def _remedy_of_names(header: list[str], empty: list[int], sign: str) -> str:
    if empty == list(range(empty[0], len(header) + 1)) and empty[0] > 1:
        return f"name every column, or remove {sign} at the end of every line"
    return "name every column (pandas writes such a column for the index: use to_csv(index=False))"


def _better_delimiter(file: SourceFile, delimiter: str) -> str | None:
    """Return the other delimiter that splits the header into plain names, or the first rows into equally many fields.

    The header alone is enough: rows below it may be broken, and that is told once the delimiter is right.
    """
    unheard = Findings()
    try:
        lines = list(islice(read_lines(file, unheard), _SAMPLED_LINES))
    except UnreadableTextError:
        return None
    for candidate in (sign for sign in _DELIMITERS if sign != delimiter):
        names = next(csv.reader(lines[:1], delimiter=candidate), [])
        if len(names) > 1 and all(name.strip().isidentifier() for name in names):
            return candidate
        widths = [len(row) for row in csv.reader(lines, delimiter=candidate) if row]
        if len(lines) == _SAMPLED_LINES:
            widths.pop()  # the last row may go on beyond the sample
        if widths and widths[0] > 1 and widths.count(widths[0]) * 5 >= len(widths) * 4:
            return candidate
    return None


def _set_delimiter(delimiter: str) -> str:
    written = '"\\t"' if delimiter == "\t" else f"'{delimiter}'"
    return f"set field_delimiter: {written}"


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(_plain, names[:8]))
    return shown if len(names) <= 8 else f"{shown}, ..."


def _plain(name: str) -> str:
    return shorten(name)[1:-1]
