"""Records of a file whatever its format: .csv, .tsv, .jsonl, .parquet and .txt, told apart by suffix.

A file with problems is read to its end, so that all of them are known, and then refused as a whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hfpipe.data.delimited import read_delimited
from hfpipe.data.findings import Findings
from hfpipe.data.jsonl import read_jsonl
from hfpipe.data.parquet import read_parquet
from hfpipe.data.plain_text import read_plain_text
from hfpipe.data.record_stream import Record, RecordStream, SourceFile, place_of
from hfpipe.errors import DataError, Problem

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".txt")

__all__ = [
    "SUFFIXES",
    "Reading",
    "Record",
    "RecordStream",
    "check_records",
    "open_records",
    "place_of",
    "stream_records",
]


@dataclass(frozen=True)
class Reading:
    """How files are read: the delimiter of CSV and TSV (None: by suffix) and what a document of a .txt file is."""

    delimiter: str | None = None
    document_per: str = "line"


def open_records(file: SourceFile, findings: Findings, *, reading: Reading) -> RecordStream | None:
    """Return the stream of a file of any format, or None where `findings` say why there is none."""
    if file.suffix in (".csv", ".tsv"):
        return read_delimited(file, findings, delimiter=reading.delimiter)
    if file.suffix == ".jsonl":
        return read_jsonl(file, findings)
    if file.suffix == ".parquet":
        return read_parquet(file, findings)
    if file.suffix == ".txt":
        return read_plain_text(file, findings, document_per=reading.document_per)
    findings.add("files of an unknown kind", file.name, suffix_problem(file))
    return None


def suffix_problem(file: SourceFile) -> Problem:
    """Return what is wrong with a file whose suffix says nothing of its format."""
    kind = f"suffix {file.path.suffix!r}" if file.path.suffix else "no suffix"
    remedy = "rename the file, or convert it"
    if file.suffix in (".json", ".ndjson"):
        remedy = "name it .jsonl where every line is one object"
    elif file.suffix in (".xlsx", ".xls", ".ods"):
        remedy = "export the sheet as CSV (UTF-8)"
    return Problem(file.name, kind, f"formats are told apart by suffix: {' '.join(SUFFIXES)}", remedy)


def stream_records(path: str | Path, *, delimiter: str | None = None) -> RecordStream:
    """Return the columns of a file and, lazily, its records in order with all their values.

    A .txt file has one text a line. Good records are delivered before a later problem is known:
    write results where they can be thrown away, or call `check_records` first.

    Raises:
        DataError: At once if the file or its header cannot be read; after the last record, with all
            problems, if some rows could not be used.
    """
    file = SourceFile(Path(path), str(path))
    if not file.path.is_file():
        raise DataError(Problem(file.name, "no such file"))
    findings = Findings()
    stream = open_records(file, findings, reading=Reading(delimiter))
    findings.raise_if_any()
    assert stream is not None, "a file that cannot be opened has a problem"
    return replace(stream, records=_raising(stream.records, findings), narrowed=None)


def check_records(path: str | Path, *, delimiter: str | None = None) -> int:
    """Read a file to its end and return the number of its records.

    Raises:
        DataError: With all problems of the file.
    """
    return sum(1 for _ in stream_records(path, delimiter=delimiter).records)


def _raising(records: Iterator[Record], findings: Findings) -> Iterator[Record]:
    yield from records
    findings.raise_if_any()
