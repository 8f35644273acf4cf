"""Parquet files, read batch by batch through pyarrow; nulls become None.

Parquet has no lines: a record's place is its row, counted from 1, as in 'train.parquet:row 17'. A file that is
compressed once more (.parquet.gz) is unpacked into memory as a whole, for Parquet is read from its end.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet

from hfpipe.data.compression import UnpackError, is_unpackable, read_unpacked, report_damage
from hfpipe.data.disguises import find_disguise
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import Record, RecordStream, SourceFile
from hfpipe.errors import Problem

_ROWS_A_BATCH = 4096
_HEAD_BYTES = 1024


class UnreadableCellError(Exception):
    """A cell of a batch cannot be read; `index` is its row in the batch."""

    def __init__(self, reason: str, index: int) -> None:
        super().__init__(reason)
        self.index = index


UNREADABLE = (UnreadableCellError, pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError)
"""What pyarrow raises for files it cannot read."""


def read_parquet(file: SourceFile, findings: Findings) -> RecordStream | None:
    """Return the stream of a file, or None where it is no Parquet file or names a column twice."""
    source = unpacked_source(file, findings)
    if source is None:
        return None
    try:
        with _open(source) as opened:
            header = tuple(opened.schema_arrow.names)
    except UNREADABLE as error:
        findings.add("files of another format", file.name, unreadable_problem(file, source, "Parquet", error))
        return None
    if not are_names_unique(file, header, findings):
        return None

    def narrowed(columns: tuple[str, ...]) -> Iterator[Record]:
        return _records(file, source, columns, findings)

    return RecordStream(file, header, narrowed(header), narrowed)


def unpacked_source(file: SourceFile, findings: Findings) -> Path | pyarrow.Buffer | None:
    """Return the path of a file, or the content of a compressed one; None where it cannot be unpacked."""
    if not is_unpackable(file, findings):
        return None
    try:
        return pyarrow.py_buffer(read_unpacked(file)) if file.compression else file.path
    except UnpackError as error:
        report_damage(file, findings, error)
        return None


def unreadable_problem(file: SourceFile, source: Path | pyarrow.Buffer, kind: str, error: Exception) -> Problem:
    """Return what is wrong with a file that is no file of its `kind`, or is damaged where that tells what it holds."""
    with source.open("rb") if isinstance(source, Path) else pyarrow.BufferReader(source) as stream:
        disguise = find_disguise(stream.read(_HEAD_BYTES), file.suffix)
    value, rule, remedy = f"cannot be read as {kind}", reason_of(error), "write the file again"
    if disguise is not None and disguise[0] != kind:
        rule, remedy = f"its content is {disguise[0]}", disguise[1]
    elif "PARE" in rule or "encrypt" in rule.lower():
        remedy = "write it without encryption"
    return Problem(file.name, value, rule, remedy)


def are_names_unique(file: SourceFile, header: tuple[str, ...], findings: Findings) -> bool:
    """Return whether no column stands twice; those that do go to `findings`."""
    for name in dict.fromkeys(name for name in header if header.count(name) > 1):
        problem = Problem(
            file.name, f"column {name!r} stands {header.count(name)} times", "names are unique", "rename one"
        )
        findings.add("column names", file.name, problem)
    return len(set(header)) == len(header)


def reason_of(error: Exception) -> str:
    """Return the first line of what pyarrow says."""
    first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return "".join(character if character.isprintable() else "?" for character in first)


def list_values(column: pyarrow.Array) -> list[object]:
    """Return the values of a column of a batch.

    Raises:
        UnreadableCellError: If one is not UTF-8.
    """
    try:
        values: list[object] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise UnreadableCellError(reason_of(error), _first_unreadable(column)) from error
    return values


def _first_unreadable(column: pyarrow.Array) -> int:
    for index in range(len(column)):
        try:
            column[index].as_py()
        except UnicodeDecodeError:
            return index
    return 0


def _open(source: Path | pyarrow.Buffer) -> pyarrow.parquet.ParquetFile:
    opened = source if isinstance(source, Path) else pyarrow.BufferReader(source)
    return pyarrow.parquet.ParquetFile(opened, page_checksum_verification=True)


def _records(
    file: SourceFile, source: Path | pyarrow.Buffer, columns: tuple[str, ...], findings: Findings
) -> Iterator[Record]:
    row = 0
    try:
        with _open(source) as opened:
            for batch in opened.iter_batches(batch_size=_ROWS_A_BATCH, columns=list(columns)):
                values = [list_values(batch.column(name)) for name in columns]
                for row, fields in enumerate(zip(*values, strict=True), start=row + 1):  # noqa: B020
                    yield Record(row, dict(zip(columns, fields, strict=True)))
    except UNREADABLE as error:
        report_damaged_rows(file, findings, row, error)


def report_damaged_rows(file: SourceFile, findings: Findings, row: int, error: Exception) -> None:
    """Record that `file` cannot be read beyond its row number `row`, or beyond one of the batch behind it."""
    into_batch = error.index if isinstance(error, UnreadableCellError) else 0
    place = f"{file.name}:row {row + into_batch + 1}"
    problem = Problem(place, "cannot be read from here on", reason_of(error), "write the file again")
    findings.add("damaged files", file.name, problem)
