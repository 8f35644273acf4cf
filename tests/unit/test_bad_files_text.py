"""Encodings, compressed files, plain text, and paths that are no files: the exact text, or why there is none."""

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow
import pytest
from bad_files import Case, bad, check_documents, check_labelled, csv_text, good

from hfpipe.data.columns import ColumnRequest
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import Record, SourceFile
from hfpipe.data.records import Reading
from hfpipe.data.sources import PartSource
from hfpipe.data.table import TableRequest, read_table
from hfpipe.data.text_store import TextWriter

NOBODY = 65_534
ACCENTS = "café, naïve"
ROW = f'"{ACCENTS}",pos\n'
PLAIN = csv_text(ROW)
UMLAUTS = PLAIN.decode()
PAGE = b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 12345\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0"
CHINESE = csv_text("好电影,pos\n").decode()


def zst(content: bytes) -> bytes:
    packed: pyarrow.Buffer = pyarrow.compress(content, codec="zstd")
    return packed.to_pybytes()


def zipped(content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("xl/sheet1.xml", content)
    return sink.getvalue()


def tarred(content: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        member = tarfile.TarInfo("a.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return sink.getvalue()


ENCODED: dict[str, Case] = {
    "UTF-8": good(PLAIN, (2, ACCENTS, "pos")),
    "cp1252 that is set": good(UMLAUTS.encode("cp1252"), (2, ACCENTS, "pos"), encoding="cp1252"),
    "latin-1 that is set": good(UMLAUTS.encode("latin-1"), (2, ACCENTS, "pos"), encoding="latin-1"),
    "UTF-16 with its mark": good(UMLAUTS.encode("utf-16"), (2, ACCENTS, "pos"), encoding="utf-16"),
    "UTF-16 without a mark": good(UMLAUTS.encode("utf-16-le"), (2, ACCENTS, "pos"), encoding="utf-16-le"),
    "gb18030 that is set": good(CHINESE.encode("gb18030"), (2, "好电影", "pos"), encoding="gb18030"),
    "cp1252": bad(UMLAUTS.encode("cp1252"), ("a.csv:2", "set encoding: latin-1")),
    "curly quotes of cp1252": bad(
        csv_text("it\u2019s,pos\n").decode().encode("cp1252"), ("a.csv:2", "set encoding: cp1252")
    ),
    "UTF-16": bad(UMLAUTS.encode("utf-16"), ("a.csv", "set encoding: utf-16")),
    "UTF-16 without a mark, not set": bad(UMLAUTS.encode("utf-16-be"), ("a.csv", "set encoding: utf-16-be")),
    "UTF-32": bad(UMLAUTS.encode("utf-32"), ("a.csv", "set encoding: utf-32")),
    "one line in another encoding": bad(
        csv_text(ROW) + "Müll,neg\n".encode("latin-1"),
        ("a.csv:5", "not UTF-8 (1 such line), while 1 line is; write the file anew in one encoding"),
    ),
    "UTF-8 where latin-1 is set": bad(PLAIN, ("a.csv:2", "remove encoding: the file is UTF-8"), encoding="latin-1"),
    "UTF-8 where cp1252 is set": bad(PLAIN, ("a.csv:2", "remove encoding: the file is UTF-8"), encoding="cp1252"),
    "UTF-8 where utf-16 is set": bad(PLAIN, ("a.csv", "encoding: utf-16"), encoding="utf-16"),
    "no such encoding": bad(PLAIN, ("encoding: utf9", "did you mean utf-8?"), encoding="utf9"),
    "a codec that is no encoding": bad(PLAIN, ("encoding: base64", "no such encoding"), encoding="base64"),
    "half a character at the end": bad(PLAIN + b"x\xc3", ("a.csv:5", "not UTF-8")),
    "surrogates in bytes": bad(csv_text("") + b"\xed\xa0\x80,pos\n", ("a.csv:4", "not UTF-8")),
    "bytes at random": bad(bytes(range(128, 256)) * 40, ("a.csv:1", "not UTF-8")),
    "bytes at random with NUL": bad(bytes(range(256)) * 40, ("a.csv:2", "a binary file; name a file of texts")),
}

PACKED: dict[str, Case] = {
    "gzip": good(gzip.compress(PLAIN), (2, ACCENTS, "pos"), name="a.csv.gz"),
    "Zstandard": good(zst(PLAIN), (2, ACCENTS, "pos"), name="a.csv.zst"),
    "two members": good(gzip.compress(PLAIN[:20]) + gzip.compress(PLAIN[20:]), (2, ACCENTS, "pos"), name="a.csv.gz"),
    "gzip by content": bad(gzip.compress(PLAIN), ("a.csv", "name it a.csv.gz")),
    "gzip by name": bad(PLAIN, ("a.csv.gz", "not compressed with gzip; name it a.csv"), name="a.csv.gz"),
    "Zstandard by name": bad(gzip.compress(PLAIN), ("a.csv.zst", "name it a.csv.gz"), name="a.csv.zst"),
    "cut short": bad(gzip.compress(PLAIN)[:-9], ("a.csv.gz", "ends too early"), name="a.csv.gz"),
    "cut short, Zstandard": bad(zst(PLAIN)[:-9], ("a.csv.zst", "cannot be unpacked"), name="a.csv.zst"),
    "bytes behind it": bad(gzip.compress(PLAIN) + b"rest", ("a.csv.gz", "other bytes follow"), name="a.csv.gz"),
    "gzip twice": bad(gzip.compress(gzip.compress(PLAIN)), ("a.csv.gz", "unpack it once"), name="a.csv.gz"),
    "nothing in it": bad(gzip.compress(b""), ("a.csv.gz", "the file is empty"), name="a.csv.gz"),
    "no bytes at all": bad(b"", ("a.csv.gz", "the file is empty"), name="a.csv.gz"),
    "a tar archive": bad(gzip.compress(tarred(PLAIN)), ("a.csv.gz", "a tar archive; unpack it"), name="a.csv.gz"),
    "a zip archive": bad(zipped(PLAIN), ("a.csv", "a zip archive or an Excel workbook; export the sheet")),
    "an old workbook": bad(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), ("a.csv", "an old Excel workbook")),
    "a workbook by its name": bad(zipped(PLAIN), ("a.xlsx", "export the sheet as CSV"), name="a.xlsx"),
    "an unknown suffix": bad(PLAIN, ("a.dat", "formats are told apart by suffix"), name="a.dat"),
    "no suffix": bad(PLAIN, ("data", "no suffix"), name="data"),
    "a web page": bad(PAGE, ("a.csv", "its content is a web page")),
    "a web page as JSON lines": bad(PAGE, ("a.jsonl", "its content is a web page"), name="a.jsonl"),
    "a pointer of Git LFS": bad(POINTER, ("a.csv", "fetch it: git lfs pull")),
    "a database": bad(b"SQLite format 3\0" + bytes(84), ("a.csv", "a SQLite database")),
    "plain text has no labels": bad(b"x\n", ("a.txt", "it has no labels"), name="a.txt"),
}

BOOK = b"One\nline\n\n\x0cTwo\r\nlines\r\n \nThree"
DOCUMENTS: dict[str, Case] = {
    "lines": good(BOOK, (1, "One"), (2, "line"), (4, "\x0cTwo"), (5, "lines"), (7, "Three"), document_per="line"),
    "paragraphs": good(BOOK, (1, "One\nline"), (4, "\x0cTwo\nlines"), (7, "Three"), document_per="paragraph"),
    "a file": good(BOOK, (1, "One\nline\n\n\x0cTwo\nlines\n \nThree"), document_per="file"),
    "old mac line ends": good(b"One\rTwo\r", (1, "One"), (2, "Two"), document_per="line"),
    "separators that end no line": good(
        "a\u2028b\x85c\nd".encode(), (1, "a\u2028b\x85c"), (2, "d"), document_per="line"
    ),
    "a line of a million characters": good(b"a" * 1_000_000, (1, "a" * 1_000_000), document_per="line"),
    "a web page is a text": good(PAGE[:16], (1, "<!DOCTYPE html>"), document_per="line"),
    "lines of invisible characters": good(
        "\u200b\nx\n\ufeff\n".encode(), (2, "x"), document_per="line", left_out={"empty": 2}
    ),
    "nothing but white space": bad(b" \n\t\n\x0c\n", ("a.txt", "no row can be used"), document_per="line"),
    "nothing but a byte order mark": bad(b"\xef\xbb\xbf", ("a.txt", "no row can be used"), document_per="file"),
    "an empty file": bad(b"", ("a.txt", "the file is empty")),
    "NUL bytes": bad(b"x\ny\0z\n", ("a.txt:2", "NUL byte at character 2")),
    "an image": bad(PNG, ("a.txt", "its content is an image")),
    "a pointer of Git LFS": bad(POINTER, ("a.txt", "git lfs pull")),
    "a document of a word processor": bad(b"{\\rtf1\\ansi x}", ("a.txt", "save it as plain text")),
    "PDF": bad(b"%PDF-1.7\n", ("a.txt", "extract its text")),
    "another encoding": bad("One\nDeux café\n".encode("latin-1"), ("a.txt:2", "set encoding: latin-1")),
}


def _make_folder() -> None:
    Path("a.csv").mkdir()


def _make_folder_with_link() -> None:
    Path("a.csv").mkdir()
    Path("a.csv/1.csv").write_bytes(csv_text("x,pos\n"))
    Path("a.csv/2.csv").symlink_to("../moved.csv")


PATHS: dict[str, Case] = {
    "an empty folder": bad(_make_folder, ("train_file: a.csv", "no file of this folder can be read")),
    "a link to nothing": bad(
        lambda: Path("a.csv").symlink_to("moved.csv"), ("train_file: a.csv", "a link to moved.csv")
    ),
    "a link to itself": bad(lambda: Path("a.csv").symlink_to("a.csv"), ("train_file: a.csv", "a link to a.csv")),
    "a link to nothing in a folder": bad(_make_folder_with_link, ("train_file: a.csv/2.csv", "which is not there")),
    "a pipe": bad(lambda: os.mkfifo("a.csv"), ("train_file: a.csv", "no regular file")),
    "a missing file": bad(lambda: None, ("train_file: a.csv", "no such file")),
    "a folder that is missing": bad(
        lambda: None, ("train_file: data/a.csv", "there is no folder data"), name="data/a.csv"
    ),
    "a glob without a file": bad(lambda: None, ("train_file: b*.csv", "no file of it can be read"), name="b*.csv"),
}


@pytest.fixture
def leave_root() -> Iterator[Callable[[], None]]:
    """What makes this process act as a user who owns nothing, where the tests run as root, who may read everything."""
    is_root = os.geteuid() == 0
    yield lambda: os.seteuid(NOBODY) if is_root else None
    if is_root:
        os.seteuid(0)


@pytest.mark.parametrize(
    "case", [*ENCODED.values(), *PACKED.values(), *PATHS.values()], ids=[*ENCODED, *PACKED, *PATHS]
)
def test_files_give_their_text_or_are_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_labelled(case)


@pytest.mark.parametrize("case", DOCUMENTS.values(), ids=DOCUMENTS)
def test_plain_text_gives_its_documents_or_is_refused(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_documents(case.named("a.txt"))


@pytest.mark.parametrize("named", ["locked.csv", "folder"])
def test_a_file_without_permission_is_refused(
    named: str, leave_root: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("folder/a.csv" if named == "folder" else named)

    def lock() -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(csv_text("x,pos\n"))
        path.chmod(0)
        tmp_path.chmod(0o755)
        leave_root()

    check_labelled(bad(lock, (f"train_file: {path}", "permission is denied; change its permissions"), name=named))


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, findings = Path("a.csv"), Findings()
    path.write_bytes(csv_text("x,pos\n"))

    def append(record: Record) -> bool:
        if record.line == 2:
            with path.open("a", encoding="utf-8") as file:
                file.write("y,neg\n")
        return record.line == 2

    source = PartSource("train_file", (SourceFile(path, "a.csv"),), append)
    request = TableRequest(ColumnRequest(None, None, labelled=True), Reading())
    assert read_table(source, request, findings).texts == ["x"]
    assert [str(problem) for problem in findings.problems()] == [
        "a.csv: changed while it was read: rows may be missing or cut; begin again when the file is complete"
    ]


def test_a_text_that_grows_while_it_is_read_in_parts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, findings = Path("a.txt"), Findings()
    path.write_text("one line\n" * 5_000)
    take = TextWriter.extend

    def take_and_append(writer: TextWriter, parts: Iterable[str]) -> None:
        take(writer, parts)
        with path.open("a", encoding="utf-8") as file:
            file.write("one more\n")

    monkeypatch.setattr(TextWriter, "extend", take_and_append)
    source = PartSource("train_file", (SourceFile(path, "a.txt"),))
    request = TableRequest(ColumnRequest(None, None, labelled=False), Reading(document_per="file"), spools=tmp_path)
    assert len(read_table(source, request, findings).texts) == 1
    assert [str(problem) for problem in findings.problems()] == [
        "a.txt: changed while it was read: rows may be missing or cut; begin again when the file is complete"
    ]
