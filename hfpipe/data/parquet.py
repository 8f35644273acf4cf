"""Parquet files, read batch by batch through pyarrow; nulls become None.

Parquet has no lines: a record's place is its row, counted from 1, as in 'train.parquet:row 17'.
"""

from collections.abc import Iterator

import pyarrow
import pyarrow.parquet

from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import Record, RecordStream, SourceFile
from hfpipe.errors import Problem

_ROWS_A_BATCH = 4096
_UNREADABLE = (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError)


def read_parquet(file: SourceFile, findings: Findings) -> RecordStream | None:
    """Return the stream of a file, or None where it is no Parquet file or names a column twice."""
    try:
        with pyarrow.parquet.ParquetFile(file.path) as opened:
            header = tuple(opened.schema_arrow.names)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0].rstrip(".")
        problem = Problem(file.name, "cannot be read as Parquet", reason, "write the file again")
        findings.add("files of another format", file.name, problem)
        return None
    for name in dict.fromkeys(name for name in header if header.count(name) > 1):
        problem = Problem(file.name, f"column {name!r} stands {header.count(name)} times", "names are unique")
        findings.add("column names", file.name, problem)
    if len(set(header)) < len(header):
        return None

    def narrowed(columns: tuple[str, ...]) -> Iterator[Record]:
        return _records(file, findings, columns)

    return RecordStream(file, header, _records(file, findings, header), narrowed)


def _records(file: SourceFile, findings: Findings, columns: tuple[str, ...]) -> Iterator[Record]:
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(file.path) as opened:
            for batch in opened.iter_batches(batch_size=_ROWS_A_BATCH, columns=list(columns)):
                values = [batch.column(name).to_pylist() for name in columns]
                for row, fields in enumerate(zip(*values, strict=True), start=row + 1):  # noqa: B020
                    yield Record(row, dict(zip(columns, fields, strict=True)))
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0].rstrip(".")
        problem = Problem(f"{file.name}:row {row + 1}", "cannot be read from here on", reason, "write the file again")
        findings.add("damaged files", file.name, problem)
