"""CSV and TSV files: what is read exactly, and what each kind of broken file is answered."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfpipe.data.records import check_records, stream_records
from hfpipe.errors import DataError

QUOTE_REMEDY = 'close the quote, and write a quote inside a quoted text twice: "she said ""no"""'
MORE_TEXT = f"a quoted field begins here: its closing quote on this line is followed by more text; {QUOTE_REMEDY}"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_of(content: bytes, name: str = "a.csv", delimiter: str | None = None) -> list[tuple[int, list[object]]]:
    Path(name).write_bytes(content)
    stream = stream_records(name, delimiter=delimiter)
    return [(record.line, [record.values[column] for column in stream.header]) for record in stream.records]


def problems_of(content: bytes, name: str = "a.csv", delimiter: str | None = None) -> list[str]:
    Path(name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        check_records(name, delimiter=delimiter)
    return [str(problem) for problem in caught.value.problems]


ACCEPTED = {
    "plain": (b"text,label\na,1\nb,2\n", [(2, ["a", "1"]), (3, ["b", "2"])]),
    "no end of line at the end": (b"text,label\na,1", [(2, ["a", "1"])]),
    "byte order mark": (b"\xef\xbb\xbftext,label\na,1\n", [(2, ["a", "1"])]),
    "windows line ends": (b"text,label\r\na,1\r\nb,2\r\n", [(2, ["a", "1"]), (3, ["b", "2"])]),
    "old mac line ends": (b"text,label\ra,1\rb,2\r", [(2, ["a", "1"]), (3, ["b", "2"])]),
    "blank lines": (b"\ntext,label\n\na,1\n  \n\nb,2\n\n", [(4, ["a", "1"]), (7, ["b", "2"])]),
    "quoted line break": (b'text,label\n"a\nb",1\nc,2\n', [(2, ["a\nb", "1"]), (4, ["c", "2"])]),
    "quoted windows line break": (b'text,label\r\n"a\r\nb",1\r\nc,2', [(2, ["a\r\nb", "1"]), (4, ["c", "2"])]),
    "quoted delimiter": (b'text,label\n"a, b",1\n', [(2, ["a, b", "1"])]),
    "doubled quote": (b'text,label\n"a ""b""",1\n', [(2, ['a "b"', "1"])]),
    "quote inside an unquoted field": (b'text,label\nsay "b",1\n', [(2, ['say "b"', "1"])]),
    "names of nothing are texts": (
        b"text,label\nNA,null\nNone,nan\nnull,01\n",
        [(2, ["NA", "null"]), (3, ["None", "nan"]), (4, ["null", "01"])],
    ),
    "spaces are kept": (b"text,label\n a , 1\n", [(2, [" a ", " 1"])]),
    "empty fields": (b'text,label\n,\n"",""\n', [(2, ["", ""]), (3, ["", ""])]),
    "unusual separators in a text": ("text,label\na\u2028b\x0bc\x85d,1\n".encode(), [(2, ["a\u2028b\x0bc\x85d", "1"])]),
    "one column": (b'text\na\n""\nb; c\n', [(2, ["a"]), (3, [""]), (4, ["b; c"])]),
    "emoji": ("text,label\n\U0001f600,1\n".encode(), [(2, ["\U0001f600", "1"])]),
}


@pytest.mark.parametrize("content, rows", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted_files_give_exactly_their_rows(content: bytes, rows: list[tuple[int, list[object]]]) -> None:
    assert rows_of(content) == rows


REFUSED: dict[str, tuple[bytes, list[str]]] = {
    "unquoted delimiter": (
        b"text,label\ngood, but slow,1\n",
        ["a.csv:2: 3 fields: the header has 2 (text, label); put a text that holds ',' in double quotes"],
    ),
    "line break outside quotes": (
        b"text,label\ngood\nbut slow,1\n",
        [
            "a.csv:2: 1 field: the header has 2 (text, label); "
            "a field is missing, or a text holds a line break outside double quotes"
        ],
    ),
    "delimiters at the end": (
        b"text,label\na,1,,\n",
        ["a.csv:2: 4 fields: the header has 2 (text, label); remove ',' at the end of the line"],
    ),
    "space before a quote": (
        b'text,label\n "a, b",1\n',
        ["a.csv:2: 3 fields: the header has 2 (text, label); remove the space before the opening quote"],
    ),
    "all ragged rows are listed": (
        b"text,label\na,1\nb\nc,2\nd,e,f\n",
        [
            "a.csv:3: 1 field: the header has 2 (text, label); "
            "a field is missing, or a text holds a line break outside double quotes",
            "a.csv:5: 3 fields: the header has 2 (text, label); put a text that holds ',' in double quotes",
        ],
    ),
    "quote never closed": (
        b'text,label\na,1\n"b,2\nc,3\n',
        ['a.csv:3: a quote (") opens here: it is never closed, and the rest of the file is one field; ' + QUOTE_REMEDY],
    ),
    "text after a closing quote": (
        b'text,label\n"a"b,1\nc,2\n',
        [f"a.csv:2: {MORE_TEXT}"],
    ),
    "backslash before a quote": (
        b'text,label\n"a \\"b\\" c",1\n',
        [f"a.csv:2: {MORE_TEXT}"],
    ),
    "quote that swallows a line": (
        b'text,label\n"a,1\nb "c" d,2\n',
        [f"a.csv:2: a quoted field begins here: its closing quote on line 3 is followed by more text; {QUOTE_REMEDY}"],
    ),
    "broken quote in the header": (
        b'"text"x,label\na,1\n',
        [f"a.csv:1: {MORE_TEXT}"],
    ),
    "nul byte": (
        b"text,label\na\0b,1\n",
        ["a.csv:2: NUL byte at character 2: text files hold none; the file is damaged or binary: export it again"],
    ),
    "latin-1": (
        b"text,label\na,1\ncaf\xe9,2\n",
        [
            "a.csv:3: byte 0xE9 at offset 18: not UTF-8 (1 such line); as latin-1 it reads 'café,2'; "
            "set encoding: latin-1, or save the file as UTF-8, for instance: iconv -f latin1 -t utf-8"
        ],
    ),
    "windows-1252": (
        b"text,label\nit\x92s,1\nthat\x92s,2\n",
        [
            "a.csv:2: byte 0x92 at offset 13: not UTF-8 (2 such lines); as cp1252 it reads 'it’s,1'; "  # noqa: RUF001
            "set encoding: cp1252, or save the file as UTF-8, for instance: iconv -f cp1252 -t utf-8"
        ],
    ),
    "utf-16": (
        "text,label\na,1\n".encode("utf-16"),
        [
            "a.csv: encoded as UTF-16: its first bytes say so; UTF-8 is read; "
            "set encoding: utf-16, or save the file as UTF-8, for instance: iconv -f utf-16 -t utf-8"
        ],
    ),
    "utf-16 without a mark": (
        "text,label\na,1\n".encode("utf-16-le"),
        [
            "a.csv: encoded as UTF-16: every other byte is NUL; UTF-8 is read; "
            "set encoding: utf-16-le, or save the file as UTF-8, for instance: iconv -f utf-16-le -t utf-8"
        ],
    ),
    "semicolons": (
        b"text;label\na;1\nb;2\n",
        [
            "a.csv:1: one column, 'text;label', where ',' delimits: the file is delimited by ';'; "
            "set field_delimiter: ';'"
        ],
    ),
    "semicolons over broken rows": (
        b'text;label\n"a;1\nb, c;2\n',
        [
            "a.csv:1: one column, 'text;label', where ',' delimits: the file is delimited by ';'; "
            "set field_delimiter: ';'"
        ],
    ),
    "tabs": (
        b"text\tlabel\na\t1\n",
        [
            r"a.csv:1: one column, 'text\tlabel', where ',' delimits: the file is delimited by a tab; "
            r'set field_delimiter: "\t"'
        ],
    ),
    "pipes": (
        b"text|label\na|1\n",
        [
            "a.csv:1: one column, 'text|label', where ',' delimits: the file is delimited by '|'; "
            "set field_delimiter: '|'"
        ],
    ),
    "line for Excel": (
        b"sep=;\ntext;label\na;1\n",
        ["a.csv:1: 'sep=;': a line for Excel, not a header; remove this line"],
    ),
    "column twice": (b"text,text\na,b\n", ["a.csv:1: column 'text' stands 2 times: names are unique; rename one"]),
    "index column of pandas": (
        b",text,label\n0,a,1\n",
        [
            "a.csv:1: no name for column 1 of 3: every column has a name; "
            "name every column (pandas writes such a column for the index: use to_csv(index=False))"
        ],
    ),
    "space around a column": (
        b"text, label\na, 1\n",
        ["a.csv:1: column ' label': white space around the name; remove it, here and in the rows"],
    ),
    "empty": (b"", ["a.csv: the file is empty; name a file that holds rows"]),
    "blank": (b"\n\n", ["a.csv: no header: the file is blank; name a file that holds rows"]),
    "workbook": (
        b"PK\x03\x04rest",
        ["a.csv: .csv by name: its content is a zip archive or an Excel workbook; export the sheet as CSV (UTF-8)"],
    ),
    "gzip": (b"\x1f\x8b\x08rest", ["a.csv: .csv by name: its content is compressed with gzip; name it a.csv.gz"]),
    "zstandard": (
        b"\x28\xb5\x2f\xfdrest",
        ["a.csv: .csv by name: its content is compressed with Zstandard; name it a.csv.zst"],
    ),
    "parquet by content": (b"PAR1rest", ["a.csv: .csv by name: its content is Parquet; name it .parquet"]),
}


@pytest.mark.parametrize("content, messages", REFUSED.values(), ids=REFUSED.keys())
def test_refused_files_are_answered_with_their_place_and_remedy(content: bytes, messages: list[str]) -> None:
    assert problems_of(content) == messages


def test_ten_problems_of_a_kind_are_shown_and_the_others_counted() -> None:
    messages = problems_of(b"text,label\n" + b"a,b,c\n" * 1244)
    assert len(messages) == 11
    assert messages[9].startswith("a.csv:11: 3 fields")
    assert messages[10] == "a.csv: and 1,234 more rows with another number of fields than the header"


def test_good_rows_are_delivered_before_the_file_is_refused() -> None:
    Path("a.csv").write_bytes(b"text,label\na,1\nb\nc,3\n")
    delivered = []
    with pytest.raises(DataError):
        for record in stream_records("a.csv").records:
            delivered.append(record.values["text"])
    assert delivered == ["a", "c"]


@pytest.mark.parametrize("delimiter", [None, "tab", "\\t", "\t"])
def test_tsv_is_delimited_by_tabs_however_the_tab_is_written(delimiter: str | None) -> None:
    assert rows_of(b"text\tlabel\na, b\t1\n", "a.tsv", delimiter) == [(2, ["a, b", "1"])]


def test_a_delimiter_as_set_is_used() -> None:
    assert rows_of(b"text;label\na, b;1\n", delimiter=";") == [(2, ["a, b", "1"])]


def test_a_delimiter_of_two_characters_is_refused() -> None:
    assert problems_of(b"text;;label\n", delimiter=";;") == [
        "field_delimiter: ';;': a delimiter is one character, and no quote, space or line end; "
        "set ',', ';', '|' or 'tab'"
    ]


def test_a_field_may_be_longer_than_the_limit_of_the_csv_module() -> None:
    book = "word " * 100_000
    assert rows_of(f"text,label\n{book},1\n".encode()) == [(2, [book, "1"])]


def test_a_missing_file_is_named() -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file"):
        stream_records("nowhere.csv")


TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8), st.sampled_from([",", ";", "\t", "|"]))
def test_what_the_csv_module_writes_is_read_back_unchanged(rows: list[tuple[str, str]], delimiter: str) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter).writerows([("text", "label"), *rows])
    read = rows_of(written.getvalue().encode(), delimiter=delimiter)
    assert [tuple(values) for _, values in read] == rows
