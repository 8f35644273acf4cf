"""Records of a file whatever its format, told apart by suffix: that before .gz or .zst in a compressed file.

A file with problems is read to its end, so that all of them are known, and then refused as a whole.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hfpipe.data.arrow import read_arrow
from hfpipe.data.delimited import read_delimited
from hfpipe.data.encoding_names import is_known_encoding
from hfpipe.data.findings import Findings
from hfpipe.data.json_file import read_json
from hfpipe.data.jsonl import read_jsonl
from hfpipe.data.parquet import read_parquet
from hfpipe.data.plain_text import read_plain_text
from hfpipe.data.record_stream import COMPRESSED, Record, RecordStream, SourceFile, place_of
from hfpipe.errors import DataError, Problem
from hfpipe.pickles import RULE, is_named_so

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".txt")
TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt")
"""Those of files that have an encoding."""
DELIMITED_SUFFIXES = (".csv", ".tsv")

__all__ = [
    "SUFFIXES",
    "TEXT_SUFFIXES",
    "Reading",
    "Record",
    "RecordStream",
    "check_records",
    "file_problem",
    "open_records",
    "place_of",
    "stream_records",
]


@dataclass(frozen=True)
class Reading:
    """How files are read: the delimiter of CSV and TSV (None: by suffix), what a document of a .txt file is, and the
    encoding of all text files (None: UTF-8). The columns of JSON lines are the keys of the first `surveyed_lines`
    (None: of all, for which a file is read twice).
    """

    delimiter: str | None = None
    document_per: str = "line"
    encoding: str | None = None
    surveyed_lines: int | None = None


def open_records(file: SourceFile, findings: Findings, *, reading: Reading) -> RecordStream | None:
    """Return the stream of a file of any format, or None where `findings` say why there is none."""
    if file.suffix == ".parquet":
        return read_parquet(file, findings)
    if file.suffix == ".arrow":
        return read_arrow(file, findings)
    if file.suffix not in TEXT_SUFFIXES:
        findings.add("files of an unknown kind", file.name, suffix_problem(file))
        return None
    if not is_known_encoding(reading.encoding, findings):
        return None
    return _open_text(replace(file, encoding=reading.encoding), findings, reading)


def _open_text(file: SourceFile, findings: Findings, reading: Reading) -> RecordStream | None:
    if file.suffix == ".json":
        return read_json(file, findings)
    if file.suffix in (".jsonl", ".ndjson"):
        return read_jsonl(file, findings, surveyed_lines=reading.surveyed_lines)
    if file.suffix == ".txt":
        return read_plain_text(file, findings, document_per=reading.document_per)
    return read_delimited(file, findings, delimiter=reading.delimiter)


def suffix_problem(file: SourceFile) -> Problem:
    """Return what is wrong with a file whose suffix says nothing of its format."""
    kind = f"suffix {file.suffix!r}" if file.suffix else "no suffix"
    if file.compression:
        kind += f" before {file.compression}"
    remedy = "rename the file, or convert it"
    if is_named_so(file.suffix):
        remedy = "convert it to CSV, JSON lines or Parquet where you trust it"
        return Problem(file.name, kind, RULE, remedy)
    if file.suffix in (".xlsx", ".xls", ".ods"):
        remedy = "export the sheet as CSV (UTF-8)"
    elif file.suffix in (".zip", ".bz2", ".xz", ".tar", ".tgz", ".7z"):
        remedy = f"unpack it, or compress it as {' or '.join(COMPRESSED)}"
    return Problem(file.name, kind, f"formats are told apart by suffix: {' '.join(SUFFIXES)}", remedy)


def file_problem(path: Path, place: str) -> Problem | None:
    """Return why a path that is there cannot be read as a file: what it is, or who may not read it."""
    if not path.exists():
        target = f"a link to {path.readlink()}, which is not there" if path.is_symlink() else "no such file"
        return Problem(place, target, "", "restore the file" if path.is_symlink() else "write the path anew")
    if not path.is_file():
        return Problem(place, "no regular file", "a pipe or a device is read once, and has no end", "name a file")
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        return Problem(place, "cannot be read", "permission is denied", "change its permissions")
    return None


def stream_records(path: str | Path, *, delimiter: str | None = None, encoding: str | None = None) -> RecordStream:
    """Return the columns of a file and, lazily, its records in order with all their values.

    A .txt file has one text a line. Good records are delivered before a later problem is known:
    write results where they can be thrown away, or call `check_records` first.

    Raises:
        DataError: At once if the file or its header cannot be read; after the last record, with all
            problems, if some rows could not be used.
    """
    file = SourceFile(Path(path), str(path))
    problem = file_problem(file.path, file.name)
    if problem is not None:
        raise DataError(problem)
    findings = Findings()
    _check_effect(file, "field_delimiter", delimiter, DELIMITED_SUFFIXES, findings=findings)
    _check_effect(file, "encoding", encoding, TEXT_SUFFIXES, findings=findings)
    stream = open_records(file, findings, reading=Reading(delimiter, encoding=encoding))
    findings.raise_if_any()
    assert stream is not None, "a file that cannot be opened has a problem"
    return replace(stream, records=_raising(stream.records, findings), narrowed=None)


def check_records(path: str | Path, *, delimiter: str | None = None, encoding: str | None = None) -> int:
    """Read a file to its end and return the number of its records.

    Raises:
        DataError: With all problems of the file.
    """
    return sum(1 for _ in stream_records(path, delimiter=delimiter, encoding=encoding).records)


def _check_effect(
    file: SourceFile, key: str, value: str | None, suffixes: tuple[str, ...], *, findings: Findings
) -> None:
    if value is not None and file.suffix in SUFFIXES and file.suffix not in suffixes:
        rule = f"without effect on {file.suffix} files"
        findings.add("settings", key, Problem(f"{key}: {value!r}", "", rule, "remove it"))


def _raising(records: Iterator[Record], findings: Findings) -> Iterator[Record]:
    yield from records
    findings.raise_if_any()
