"""Encodings: read strictly as set, and files in another one answered with the place and the name that fits."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfpipe.config.sections import DataSettings
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import SourceFile
from hfpipe.data.records import Reading, check_records, open_records, stream_records
from hfpipe.data.sources import find_sources
from hfpipe.errors import DataError

TO_UTF8 = "or save the file as UTF-8"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_of(content: bytes, encoding: str | None, name: str = "a.csv") -> list[tuple[int, list[object]]]:
    Path(name).write_bytes(content)
    stream = stream_records(name, encoding=encoding)
    return [(record.line, [record.values[column] for column in stream.header]) for record in stream.records]


def problems_of(content: bytes, encoding: str | None, name: str = "a.csv", delimiter: str | None = None) -> list[str]:
    Path(name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        check_records(name, delimiter=delimiter, encoding=encoding)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "UTF8", "cp1252", "latin-1", "utf-16", "utf-16-le", "UTF-16BE", "utf-32", "gb18030", "cp1250"]
)
def test_a_file_is_read_in_the_encoding_that_is_set(encoding: str) -> None:
    # a line separator of Unicode ends no line
    sign = "\u2028" if encoding.lower().startswith("utf") else ";"
    table = f'text,label\r\n"über\r\n den",1\r\n\r\nw{sign}eg,2\r\n'
    assert rows_of(table.encode(encoding), encoding) == [(2, ["über\r\n den", "1"]), (5, [f"w{sign}eg", "2"])]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "gb18030"])
def test_a_byte_order_mark_is_no_character(encoding: str) -> None:
    assert rows_of("\ufefftext,label\nä,1\n".encode(encoding), encoding) == [(2, ["ä", "1"])]
    assert stream_records("a.csv", encoding=encoding).header == ("text", "label")


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.tsv", "text\nä\n"),
        ("a.jsonl", '{"text": "ä"}\n'),
        ("a.ndjson", '\n{"text": "ä"}\n'),
        ("a.json", '[{"text": "ä"}]'),
        ("a.txt", "ä\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_every_text_format_is_read_in_an_encoding(name: str, content: str, encoding: str) -> None:
    assert [values for _, values in rows_of(content.encode(encoding), encoding, name)] == [["ä"]]


ANY_TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\n\ufeff"), min_size=1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(ANY_TEXT.filter(str.strip), min_size=1, max_size=5), st.sampled_from(["utf-16", "utf-32-be", "gb18030"])
)
def test_what_an_encoding_writes_is_read_back_unchanged(texts: list[str], encoding: str) -> None:
    read = rows_of("\r\n".join(texts).encode(encoding), encoding, "a.txt")
    assert [values for _, values in read] == [[text] for text in texts]


LONG = "text,label\n" + "wörter und mehr,1\n" * 9_000


@pytest.mark.parametrize(
    "content, encoding, message",
    [
        (b"text,label\na,1\n\x81b,2\n", "cp1252", "a.csv:3: byte 0x81 at offset 15: not cp1252"),
        (b"text,label\r\na,1\r\n\x81b,2\r\n", "cp1252", "a.csv:3: byte 0x81 at offset 17: not cp1252"),
        (b"text,label\ra,1\r\x81b,2\r", "cp1252", "a.csv:3: byte 0x81 at offset 15: not cp1252"),
        (LONG.encode("cp1252") + b"\x81", "cp1252", f"a.csv:9002: byte 0x81 at offset {len(LONG):,}: not cp1252"),
        (
            LONG.encode("utf-16-le") + b"\x00\xd8a\0",
            "utf-16-le",
            f"a.csv:9002: byte 0x00 at offset {2 * len(LONG):,}: not utf-16-le",
        ),
        (
            "text,label\nab".encode("utf-16") + b"\x61",
            "utf-16",
            "a.csv:2: byte 0x61 at offset 28: not utf-16",
        ),
        (b"text,label\n\xb0\xa1,1\n\x81\x20,2\n", "gb18030", "a.csv:3: byte 0x81 at offset 16: not gb18030"),
        (b'text,label\n\x1b$B$"\xff', "iso2022_jp", "a.csv:2: byte 0xFF at offset 16: not iso2022_jp"),
        (b"text,label\n\xff,1\n", "ascii", "a.csv:2: byte 0xFF at offset 11: not ascii"),
    ],
    ids=range(9),
)
def test_a_byte_that_the_encoding_lacks_has_its_line_and_offset(content: bytes, encoding: str, message: str) -> None:
    remedy = "set encoding to that of the file, or save the file as UTF-8"
    assert problems_of(content, encoding) == [f"{message}, the encoding that is set; {remedy}"]


@pytest.mark.parametrize("shift", range(4))
def test_a_character_cut_by_the_end_of_a_chunk_does_not_move_the_place(shift: int) -> None:
    good = "text\n" + "a" * (65_536 - 5 - shift) + "中b\n"
    content = good.encode("gb18030") + b"\xff"
    (message,) = problems_of(content, "gb18030", "a.txt")
    assert message.startswith(f"a.txt:3: byte 0xFF at offset {len(content) - 1:,}: not gb18030")


def test_a_utf8_file_that_the_encoding_lacks_is_known_as_such() -> None:
    assert problems_of("text,label\nÁ,1\n".encode(), "cp1252") == [
        "a.csv:2: encoding: cp1252: bytes beyond ASCII are characters of UTF-8; remove encoding: the file is UTF-8"
    ]


@pytest.mark.parametrize(
    "content, encoding, message",
    [
        (
            "text\n".encode("utf-16-be"),
            None,
            "encoded as UTF-16: every other byte is NUL; UTF-8 is read; "
            f"set encoding: utf-16-be, {TO_UTF8}, for instance: iconv -f utf-16-be -t utf-8",
        ),
        (
            "text\n".encode("utf-32-le"),
            "cp1252",
            "encoded as UTF-32: three bytes of four are NUL; encoding is cp1252; "
            f"set encoding: utf-32-le, {TO_UTF8}, for instance: iconv -f utf-32-le -t utf-8",
        ),
        (
            "text\n".encode("utf-16"),
            "utf-16-be",
            "encoded as UTF-16: its first bytes say so; encoding is utf-16-be; "
            f"set encoding: utf-16, {TO_UTF8}, for instance: iconv -f utf-16 -t utf-8",
        ),
        (
            "text\n".encode("utf-8-sig"),
            "latin-1",
            "encoded as UTF-8: its first bytes say so; encoding is latin-1; remove encoding",
        ),
        (
            "text\n".encode("utf-16-be"),
            "utf-16",
            "encoding: utf-16: its first bytes do not say which byte comes first; set encoding: utf-16-be",
        ),
        (
            "text\n".encode("utf-16-le"),
            "UTF16",
            "encoding: UTF16: its first bytes do not say which byte comes first; set encoding: utf-16-le",
        ),
    ],
    ids=range(6),
)
def test_first_bytes_that_contradict_the_encoding_are_refused(
    content: bytes, encoding: str | None, message: str
) -> None:
    assert problems_of(content, encoding) == [f"a.csv: {message}"]


@pytest.mark.parametrize(
    "encoding, remedy",
    [
        ("cp1225", "did you mean cp1252?"),
        ("latin-11", "did you mean latin-1?"),
        ("Windows 125", "did you mean windows-1258?"),
        ("ansi", "set one that Python knows, as cp1252, latin-1, utf-16 or gb18030"),
        ("base64", "set one that Python knows, as cp1252, latin-1, utf-16 or gb18030"),
        ("rot13", "set one that Python knows, as cp1252, latin-1, utf-16 or gb18030"),
        ("undefined", "set one that Python knows, as cp1252, latin-1, utf-16 or gb18030"),
        ("unicode_escape", "set one that Python knows, as cp1252, latin-1, utf-16 or gb18030"),
        ("", "set one that Python knows, as cp1252, latin-1, utf-16 or gb18030"),
        ("a\0b", "set one that Python knows, as cp1252, latin-1, utf-16 or gb18030"),
    ],
)
def test_an_unknown_encoding_is_answered_with_those_that_are_near(encoding: str, remedy: str) -> None:
    assert problems_of(b"text\na\n", encoding) == [f"encoding: {encoding}: no such encoding of text files; {remedy}"]


def test_an_unknown_encoding_is_told_once_for_all_files() -> None:
    findings = Findings()
    for name in ("a.csv", "b.txt"):
        open_records(SourceFile(Path(name), name), findings, reading=Reading(encoding="cp125"))
    assert len(findings.problems()) == 1


def test_an_encoding_without_effect_is_refused() -> None:
    def problems(*names: str) -> list[str]:
        for name in names:
            Path(name).write_bytes(b"x")
        findings = Findings()
        find_sources(DataSettings(train_file=names, encoding="cp1252"), findings)
        return [str(problem) for problem in findings.problems()]

    assert problems("a.parquet.gz", "a.arrow") == [
        "encoding: 'cp1252': without effect on .arrow .parquet files; remove it"
    ]
    assert problems("a.parquet", "a.csv") == []


def test_settings_without_effect_on_a_single_file_are_refused() -> None:
    Path("a.parquet").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        stream_records("a.parquet", delimiter=";", encoding="cp1252")
    assert [str(problem) for problem in caught.value.problems][:2] == [
        "field_delimiter: ';': without effect on .parquet files; remove it",
        "encoding: 'cp1252': without effect on .parquet files; remove it",
    ]
    assert problems_of(b'{"a": 1}\n', None, "a.jsonl", ";") == [
        "field_delimiter: ';': without effect on .jsonl files; remove it"
    ]
