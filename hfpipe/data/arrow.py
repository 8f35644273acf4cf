"""Arrow files in both formats, file and stream, as `datasets` caches and `save_to_disk` write them; memory-mapped.

Refuses a stream without its end mark: one that was cut between two batches looks whole otherwise. Class labels stay
the whole numbers they are, but for -1, by which `datasets` means that a label is missing. A place is a row, from 1.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow

from hfpipe.data.findings import Findings
from hfpipe.data.parquet import (
    UNREADABLE,
    are_names_unique,
    list_values,
    reason_of,
    report_damaged_rows,
    unpacked_source,
    unreadable_problem,
)
from hfpipe.data.record_stream import Record, RecordStream, SourceFile
from hfpipe.errors import DataError, Problem

_MAGIC = b"ARROW1"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_ROWS_AT_ONCE = 4096
_UNLABELLED = -1


def read_arrow(file: SourceFile, findings: Findings) -> RecordStream | None:
    """Return the stream of a file, or None where it is no Arrow file, is cut short or names a column twice."""
    source = unpacked_source(file, findings)
    if source is None:
        return None
    try:
        schema = _schema(source)
    except UNREADABLE as error:
        findings.add("files of another format", file.name, unreadable_problem(file, source, "Arrow", error))
        return None
    if not are_names_unique(file, tuple(schema.names), findings):
        return None
    labels = frozenset(_class_names(schema))

    def narrowed(columns: tuple[str, ...]) -> Iterator[Record]:
        return _records(file, source, (columns, labels), findings)

    return RecordStream(file, tuple(schema.names), narrowed(tuple(schema.names)), narrowed)


def read_class_names(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes by column, in the order of their numbers; a column may hold lists of numbers.

    Without the features of `datasets` in the file, or without class labels among them, there are none.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        return _class_names(_schema(path))
    except UNREADABLE as error:
        raise DataError(
            Problem(str(path), "cannot be read as Arrow", reason_of(error), "write the file again")
        ) from error


def _schema(source: Path | pyarrow.Buffer) -> pyarrow.Schema:
    with _open(source) as opened:
        if _is_file_format(opened):
            return pyarrow.ipc.open_file(opened).schema
        schema = pyarrow.ipc.open_stream(opened).schema
        opened.seek(max(0, opened.size() - len(_END_OF_STREAM)))
        if opened.read() != _END_OF_STREAM:
            raise pyarrow.ArrowInvalid("the stream ends without its end mark: it is cut short")
        return schema


def _open(source: Path | pyarrow.Buffer) -> pyarrow.NativeFile:
    return pyarrow.memory_map(str(source)) if isinstance(source, Path) else pyarrow.BufferReader(source)


def _is_file_format(opened: pyarrow.NativeFile) -> bool:
    head = opened.read(len(_MAGIC))
    opened.seek(0)
    return bool(head == _MAGIC)


def _batches(opened: pyarrow.NativeFile) -> Iterator[pyarrow.RecordBatch]:
    if _is_file_format(opened):
        reader = pyarrow.ipc.open_file(opened)
        yield from map(reader.get_batch, range(reader.num_record_batches))
    else:
        yield from pyarrow.ipc.open_stream(opened)


def _records(
    file: SourceFile,
    source: Path | pyarrow.Buffer,
    wanted: tuple[tuple[str, ...], frozenset[str]],
    findings: Findings,
) -> Iterator[Record]:
    columns, labels = wanted
    row = 0
    try:
        with _open(source) as opened:
            for batch in _batches(opened):
                for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                    part = batch.slice(start, _ROWS_AT_ONCE)
                    values = [_values(part.column(name), name in labels) for name in columns]
                    for row, fields in enumerate(zip(*values, strict=True), start=row + 1):  # noqa: B020
                        yield Record(row, dict(zip(columns, fields, strict=True)))
    except UNREADABLE as error:
        report_damaged_rows(file, findings, row, error)


def _values(column: pyarrow.Array, is_label: bool) -> list[object]:
    values = list_values(column)
    return [None if value == _UNLABELLED else value for value in values] if is_label else values


def _class_names(schema: pyarrow.Schema) -> dict[str, tuple[str, ...]]:
    content = (schema.metadata or {}).get(b"huggingface")
    try:
        described = json.loads(content) if content is not None else None
    except ValueError:
        return {}
    features = _entry(_entry(described, "info"), "features")
    if not isinstance(features, Mapping):
        return {}
    named = {column: _names_of_feature(feature) for column, feature in features.items() if column in schema.names}
    return {column: names for column, names in named.items() if names}


def _names_of_feature(feature: object) -> tuple[str, ...]:
    if _entry(feature, "_type") == "ClassLabel":
        names = _entry(feature, "names")
        return tuple(map(str, names)) if isinstance(names, list) else ()
    inner = _entry(feature, "feature")
    return _names_of_feature(inner) if inner is not None else ()


def _entry(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, Mapping) else None
