"""Parquet and Arrow files with what other tools put into them, damaged ones, and files that are none."""

import datetime
import decimal
import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bad_files import FILLERS, Case, bad, check_labelled, csv_text, good

TEXTS = [text for text, _ in FILLERS]
LABELS = [label for _, label in FILLERS]


def table(texts: list[object], labels: list[object], types: tuple[object, object] = (None, None)) -> pa.Table:
    return pa.table({"text": pa.array(texts, types[0]), "label": pa.array(labels, types[1])})


def with_fillers(*rows: tuple[object, object], types: tuple[object, object] = (None, None)) -> pa.Table:
    texts, labels = [row[0] for row in rows], [row[1] for row in rows]
    return table([*texts, *TEXTS], [*labels, *LABELS], types)


def parquet(content: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(content, sink, **options)
    return sink.getvalue()


def arrow(content: pa.Table, new: Callable[..., pa.ipc.RecordBatchStreamWriter] = pa.ipc.new_file) -> bytes:
    sink = io.BytesIO()
    with new(sink, content.schema) as writer:
        writer.write_table(content)
    return sink.getvalue()


def flipped(content: bytes, mark: bytes) -> bytes:
    at = content.index(mark)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def renamed(content: pa.Table, *names: str) -> pa.Table:
    return content.rename_columns(list(names))


SOUND = with_fillers(("x", "pos"))
DAY = datetime.datetime(2024, 1, 1)
NUMBERS = (("warm", 0), ("cold", 1))

BOTH: dict[str, tuple[pa.Table, Case]] = {
    "plain": (SOUND, good(b"", (1, "x", "pos"))),
    "nulls": (with_fillers((None, "pos"), ("x", None)), good(b"", left_out={"empty": 1, "unlabelled": 1})),
    "words for nothing": (with_fillers(("NA", "null")), good(b"", (1, "NA", "null"))),
    "codes of a dictionary": (
        with_fillers(("x", "pos"), types=(pa.dictionary(pa.int8(), pa.string()),) * 2),
        good(b"", (1, "x", "pos")),
    ),
    "large strings": (
        with_fillers(("x", "pos"), types=(pa.large_string(), pa.large_string())),
        good(b"", (1, "x", "pos")),
    ),
    "whole numbers and nulls": (
        table(["x", "y", "z"], [0, 1, None]),
        Case(b"", ((1, "x", "0"), (2, "y", "1")), left_out={"unlabelled": 1}, beside=NUMBERS),
    ),
    "truth values": (
        table(["x", "y"], [True, False]),
        Case(b"", ((1, "x", "true"), (2, "y", "false")), beside=(("warm", True), ("cold", False))),
    ),
    "line breaks": (with_fillers(("a\r\nb\0", "pos")), good(b"", (1, "a\r\nb\0", "pos"))),
    "an index of pandas": (SOUND.append_column("__index_level_0__", pa.array([0, 1, 2])), good(b"", (1, "x", "pos"))),
    "a column of times beside": (SOUND.append_column("day", pa.array([DAY] * 3)), good(b"", (1, "x", "pos"))),
    "a name with a full stop": (
        renamed(SOUND, "text", "meta.label"),
        good(b"", (1, "x", "pos"), columns=("text", "meta.label"), label_column_name="meta.label"),
    ),
    "whole numbers as decimals": (
        table(["x", "y"], [0.0, 1.0]),
        bad(b"", ("row 1", "with decimals"), ("row 2", "with decimals")),
    ),
    "missing whole numbers of pandas": (
        table(["x", "y"], [1.0, float("nan")]),
        bad(b"", ("row 1", "pandas turns 1 into 1.0"), ("row 2", "'nan'")),
    ),
    "exact decimals": (
        table(["x", "y"], [decimal.Decimal("1.50"), None]),
        bad(b"", ("row 1", "a text or a whole number")),
    ),
    "texts as bytes": (with_fillers(types=(pa.binary(), None)), bad(b"", ("row 1", "holds bytes"), ("row 2", "bytes"))),
    "times as texts": (
        table([DAY, DAY], LABELS),
        bad(b"", ("row 1", "column 'text' holds a value of type"), ("row 2", "a text is")),
    ),
    "lists as texts": (table([["a"], ["b"]], LABELS), bad(b"", ("row 1", "holds a list"), ("row 2", "holds a list"))),
    "a nested column": (
        table([{"body": "x"}, {"body": "y"}], LABELS),
        bad(b"", ("row 1", "holds an object"), ("row 2", "an object")),
    ),
    "a list of labels": (table(TEXTS, [["pos"], ["neg"]]), bad(b"", ("row 1", "a list"), ("row 2", "a list"))),
    "nothing but nulls": (table([None, None], LABELS), bad(b"", ("", "no row can be used: 2 rows were read: 2 empty"))),
    "no rows": (SOUND.slice(0, 0), bad(b"", ("", "no row can be used: 0 rows were read"))),
    "no columns": (pa.table({}), bad(b"", ("", "to be the text"), ("", "to be the label"))),
    "a name twice": (renamed(SOUND, "text", "text"), bad(b"", ("", "column 'text' stands 2 times"))),
}

PAGE = b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 12345\n"
LONG = with_fillers(*[(f"text {row} " + "word " * 20, "pos") for row in range(200)])
BAD_TEXT = pa.StringArray.from_buffers(
    3, pa.array([b"ok", b"\xff", b"z"]).buffers()[1], pa.array([b"ok", b"\xff", b"z"]).buffers()[2]
)

DAMAGED: dict[str, Case] = {
    "cut in the middle": bad(parquet(LONG)[:900], ("a.parquet", "cannot be read as Parquet")),
    "cut at its end": bad(parquet(LONG)[:-1], ("a.parquet", "cannot be read as Parquet")),
    "without its beginning": bad(parquet(LONG)[100:], ("a.parquet:row 1", "cannot be read from here on")),
    "encrypted": bad(parquet(SOUND)[:-4] + b"PARE", ("a.parquet", "write it without encryption")),
    "a flipped bit under a checksum": bad(
        flipped(parquet(SOUND, compression="none", use_dictionary=False, write_page_checksum=True), b"a fine film"),
        ("a.parquet:row 1", "cannot be read from here on"),
    ),
    "empty": bad(b"", ("a.parquet", "size is 0 bytes")),
    "CSV by another name": bad(csv_text("x,pos\n"), ("a.parquet", "cannot be read as Parquet")),
    "a web page": bad(PAGE, ("a.parquet", "its content is a web page")),
    "a pointer of Git LFS": bad(POINTER, ("a.parquet", "git lfs pull")),
    "Arrow by another name": bad(arrow(SOUND), ("a.parquet", "name it .arrow")),
    "bytes that are no text": bad(
        parquet(pa.table([BAD_TEXT, pa.array(["pos", "neg", "pos"])], names=["text", "label"])),
        ("a.parquet:row 2", "cannot be read from here on"),
    ),
}

DAMAGED_ARROW: dict[str, Case] = {
    "cut in the middle": bad(arrow(LONG)[:900], ("a.arrow", "cannot be read as Arrow")),
    "cut at its end": bad(arrow(LONG)[:-1], ("a.arrow", "cannot be read as Arrow")),
    "a stream without its end": bad(arrow(LONG, pa.ipc.new_stream)[:-8], ("a.arrow", "cut short")),
    "a stream cut in a batch": bad(arrow(LONG, pa.ipc.new_stream)[:-800], ("a.arrow", "cannot be read as Arrow")),
    "empty": bad(b"", ("a.arrow", "cannot be read as Arrow")),
    "CSV by another name": bad(csv_text("x,pos\n"), ("a.arrow", "cannot be read as Arrow")),
    "Parquet by another name": bad(parquet(SOUND), ("a.arrow", "name it .parquet")),
    "a pointer of Git LFS": bad(POINTER, ("a.arrow", "git lfs pull")),
    "bytes that are no text": bad(
        arrow(pa.table([BAD_TEXT, pa.array(["pos", "neg", "pos"])], names=["text", "label"])),
        ("a.arrow:row 2", "cannot be read from here on"),
    ),
}


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("name", BOTH)
def test_columns_of_any_type_give_exactly_their_rows_or_are_refused(
    name: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, case = BOTH[name]
    check_labelled(case.within(f"a{suffix}", parquet(content) if suffix == ".parquet" else arrow(content)))


@pytest.mark.parametrize("case", DAMAGED.values(), ids=DAMAGED)
def test_damaged_parquet_is_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_labelled(case.named("a.parquet"))


@pytest.mark.parametrize("case", DAMAGED_ARROW.values(), ids=DAMAGED_ARROW)
def test_damaged_arrow_is_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_labelled(case.named("a.arrow"))
