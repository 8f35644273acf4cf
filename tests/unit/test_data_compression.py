"""Compressed files: every format is read alike, and none is half read."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import SourceFile
from hfpipe.data.records import SUFFIXES, Reading, check_records, open_records, stream_records
from hfpipe.data.sources import find_files
from hfpipe.errors import DataError

ROWS = [{"text": f"sentence number {row}, \u00fc", "label": str(row % 2)} for row in range(40)]
TEXT = "text,label\n" + "".join(f"{row % 97} wörds and more {row * row},{row % 2}\n" for row in range(40_000))


def zstd(content: bytes) -> bytes:
    # without a checksum: only its end tells that it is whole
    return pyarrow.compress(content, codec="zstd", asbytes=True)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd}
BOTH = pytest.mark.parametrize("compression", COMPRESS)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_table(name: str) -> bytes:
    path, suffix = Path(name), Path(name).suffix
    table = pyarrow.Table.from_pylist(ROWS)
    if suffix == ".parquet":
        pyarrow.parquet.write_table(table, name)
    elif suffix == ".arrow":
        with pyarrow.OSFile(name, "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=16)
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS, indent=1), encoding="utf-8")
    elif suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    elif suffix == ".txt":
        path.write_text("".join(f"{row['text']}\n" for row in ROWS), encoding="utf-8")
    else:
        sign = "\t" if suffix == ".tsv" else ";"
        lines = [sign.join(row.values()) for row in ({"text": "text", "label": "label"}, *ROWS)]
        path.write_text("\n".join(lines), encoding="utf-8")
    return path.read_bytes()


def records_of(name: str) -> list[tuple[int, dict[str, object]]]:
    records = stream_records(name, delimiter=";" if ".csv" in name else None).records
    return [(record.line, dict(record.values)) for record in records]


def problems_of(name: str, content: bytes) -> list[str]:
    Path(name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        check_records(name)
    return [str(problem) for problem in caught.value.problems]


@BOTH
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_compressed_file_gives_the_rows_and_lines_of_the_plain_one(suffix: str, compression: str) -> None:
    content = write_table(f"a{suffix}")
    Path(f"a{suffix}{compression}").write_bytes(COMPRESS[compression](content))
    plain = records_of(f"a{suffix}")
    assert [values["text"] for _, values in plain] == [row["text"] for row in ROWS]
    assert records_of(f"a{suffix}{compression}") == plain


@BOTH
def test_several_frames_are_one_file(compression: str) -> None:
    compress = COMPRESS[compression]
    Path(f"a.txt{compression}").write_bytes(
        compress(b"one\ntw") + compress(b"o\n") + compress(b"") + compress(b"three")
    )
    assert [values["text"] for _, values in records_of(f"a.txt{compression}")] == ["one", "two", "three"]


@BOTH
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.9999])
def test_a_file_that_is_cut_short_is_refused_wherever_it_was_cut(compression: str, kept: float) -> None:
    packed = COMPRESS[compression](TEXT.encode())
    message = "cannot be unpacked: the compressed data ends too early; fetch the file again, or compress it again"
    name = f"a.csv{compression}"
    assert problems_of(name, packed[: int(len(packed) * kept)]) == [f"{name}: {message}"]
    assert problems_of(name, packed[:-1]) == [f"{name}: {message}"]


@BOTH
@pytest.mark.parametrize("suffix", [".csv", ".txt", ".jsonl", ".json", ".parquet", ".arrow"])
def test_each_format_refuses_a_file_that_is_cut_short(suffix: str, compression: str) -> None:
    name = f"a{suffix}{compression}"
    packed = COMPRESS[compression](write_table(f"a{suffix}"))
    assert problems_of(name, packed[:-5]) == [
        f"{name}: cannot be unpacked: the compressed data ends too early; fetch the file again, or compress it again"
    ]


@BOTH
def test_a_cut_off_array_is_told_once(compression: str) -> None:
    packed = COMPRESS[compression](json.dumps([{"a": text} for text in TEXT.split("\n")]).encode())
    name = f"a.json{compression}"
    assert problems_of(name, packed[:-100]) == [
        f"{name}: cannot be unpacked: the compressed data ends too early; fetch the file again, or compress it again"
    ]


@BOTH
def test_bytes_that_follow_the_compressed_data_are_refused(compression: str) -> None:
    name = f"a.csv{compression}"
    message = "cannot be unpacked: other bytes follow the compressed data; fetch the file again, or compress it again"
    for rest in (b"x", b"text,label\n"):
        assert problems_of(name, COMPRESS[compression](TEXT.encode()) + rest) == [f"{name}: {message}"]


def test_a_wrong_checksum_is_refused() -> None:
    packed = bytearray(gzip.compress(TEXT.encode()))
    packed[-6] ^= 1
    (message,) = problems_of("a.csv.gz", bytes(packed))
    assert message.startswith("a.csv.gz: cannot be unpacked: the compressed data is damaged (CRC check failed")


@BOTH
def test_damage_inside_is_refused(compression: str) -> None:
    packed = bytearray(COMPRESS[compression](TEXT.encode()))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = b"\xff" * 64
    name = f"a.csv{compression}"
    assert problems_of(name, bytes(packed))[-1].startswith(
        f"{name}: cannot be unpacked: the compressed data is damaged"
    )


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv.gz", b"text,label\n", "a.csv.gz: .gz by name: its content is not compressed with gzip; name it a.csv"),
        (
            "a.csv.zst",
            gzip.compress(b"text\n", mtime=0),
            "a.csv.zst: .zst by name: its content is compressed with gzip; name it a.csv.gz",
        ),
        (
            "a.parquet.gz",
            zstd(b"text\n"),
            "a.parquet.gz: .gz by name: its content is compressed with Zstandard; name it a.parquet.zst",
        ),
        (
            "a.csv.gz",
            gzip.compress(gzip.compress(b"text\n", mtime=0), mtime=0),
            "a.csv.gz: .csv.gz by name: its content is compressed with gzip once more; unpack it once",
        ),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "a.csv.gz: the file is empty; name a file that holds rows"),
        ("a.csv.zst", b"", "a.csv.zst: the file is empty; name a file that holds rows"),
    ],
)
def test_a_name_that_lies_is_answered_with_the_right_one(name: str, content: bytes, message: str) -> None:
    assert problems_of(name, content) == [message]


@BOTH
def test_problems_inside_have_the_line_of_the_unpacked_text(compression: str) -> None:
    name = f"a.csv{compression}"
    content = TEXT.encode() + b"caf\xe9,1\n"
    assert problems_of(name, COMPRESS[compression](content)) == [
        f"{name}:40002: byte 0xE9 at offset {len(TEXT.encode()) + 3:,}: not UTF-8 (1 such line), "
        "while 40,000 lines are; write the file anew in one encoding: this line may be latin-1"
    ]


def test_a_wrong_byte_in_a_file_that_is_cut_short_is_told_as_a_cut_file() -> None:
    packed = gzip.compress(b"caf\xe9,1\n" + TEXT.encode())
    assert problems_of("a.csv.gz", packed[:-9])[-1].startswith("a.csv.gz: cannot be unpacked: the compressed data ends")


def test_folders_and_globs_find_compressed_files() -> None:
    for name in ("d/a.csv.gz", "d/b.JSONL.ZST", "d/c.tar.gz", "d/d.parquet"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"x")
    findings = Findings()
    assert [file.name for file in find_files(["d"], findings, key="train_file")] == [
        "d/a.csv.gz",
        "d/b.JSONL.ZST",
        "d/d.parquet",
    ]
    assert [file.suffix for file in find_files(["d/*.[gZ]*"], findings, key="train_file")] == [".csv", ".jsonl"]
    assert findings.notes == (
        "train_file: d: 1 file is not read for the suffix, as d/c.tar.gz",
        "train_file: d/*.[gZ]*: 1 file is not read for the suffix, as d/c.tar.gz",
    )


def test_an_open_file_is_closed_when_its_reader_stops_early() -> None:
    Path("a.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    stream = open_records(SourceFile(Path("a.csv.gz"), "a.csv.gz"), Findings(), reading=Reading())
    assert stream is not None
    next(stream.records)
    del stream  # a file left open would be a ResourceWarning, and those are errors here
