"""Parquet files, read batch by batch through pyarrow; nulls become None.

Parquet has no lines: a record's place is its row, counted from 1, as in 'train.parquet:row 17'. A file that is
compressed once more (.parquet.gz) is unpacked into memory as a whole, for Parquet is read from its end.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet

from hfpipe.data.compression import UnpackError, is_unpackable, read_unpacked, report_damage
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import Record, RecordStream, SourceFile
from hfpipe.errors import Problem

_ROWS_A_BATCH = 4096
UNREADABLE = (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError)
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
        problem = Problem(file.name, "cannot be read as Parquet", reason_of(error), "write the file again")
        findings.add("files of another format", file.name, problem)
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


def are_names_unique(file: SourceFile, header: tuple[str, ...], findings: Findings) -> bool:
    """Return whether no column stands twice; those that do go to `findings`."""
    for name in dict.fromkeys(name for name in header if header.count(name) > 1):
        problem = Problem(file.name, f"column {name!r} stands {header.count(name)} times", "names are unique")
        findings.add("column names", file.name, problem)
    return len(set(header)) == len(header)


def reason_of(error: Exception) -> str:
    """Return the first line of what pyarrow says."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _open(source: Path | pyarrow.Buffer) -> pyarrow.parquet.ParquetFile:
    return pyarrow.parquet.ParquetFile(source if isinstance(source, Path) else pyarrow.BufferReader(source))


def _records(
    file: SourceFile, source: Path | pyarrow.Buffer, columns: tuple[str, ...], findings: Findings
) -> Iterator[Record]:
    row = 0
    try:
        with _open(source) as opened:
            for batch in opened.iter_batches(batch_size=_ROWS_A_BATCH, columns=list(columns)):
                values = [batch.column(name).to_pylist() for name in columns]
                for row, fields in enumerate(zip(*values, strict=True), start=row + 1):  # noqa: B020
                    yield Record(row, dict(zip(columns, fields, strict=True)))
    except UNREADABLE as error:
        report_damaged_rows(file, findings, row, error)


def report_damaged_rows(file: SourceFile, findings: Findings, row: int, error: Exception) -> None:
    """Record that `file` cannot be read beyond its row number `row`."""
    place = f"{file.name}:row {row + 1}"
    problem = Problem(place, "cannot be read from here on", reason_of(error), "write the file again")
    findings.add("damaged files", file.name, problem)
