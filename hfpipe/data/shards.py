"""The files of a corpus that is read while training, each from any row on.

A shard is a file: one of this machine, or one of a data set on the Hub. Parquet is read row group by row group, on the
Hub by ranges of bytes; a shard of text on the Hub is fetched into a temporary file and deleted when it was read. What
every other reader refuses is refused here with the same words, at the row where it stands: what comes before it has
been trained on by then, so a bad row ends the run and is not passed over.
"""

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow
import pyarrow.parquet
from huggingface_hub.errors import HTTPError

from hfpipe.data.cleaning_steps import apply_steps
from hfpipe.data.columns import ColumnChoice, ColumnRequest, choose_columns, is_empty
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import Record, RecordStream, SourceFile, place_of
from hfpipe.data.records import Reading, open_records
from hfpipe.data.table import find_type_problem
from hfpipe.errors import DataError, Problem

HUB_PREFIX = "hf://datasets/"
_ROWS_A_BATCH = 256  # a row may be a book: some hundred at a time bound the memory
_COPIED_BYTES = 1 << 20
_GO_ON = "look at your connection; the same command goes on from the newest checkpoint"
_UNREADABLE = (OSError, pyarrow.ArrowException, HTTPError)


@dataclass(frozen=True)
class Shard:
    """A file of a stream: `file` on this machine or, where `url` is given, there; the name is for messages."""

    file: SourceFile
    size_bytes: int
    url: str = ""

    @property
    def name(self) -> str:
        """The name in messages and in the record."""
        return self.file.name

    @property
    def identity(self) -> str | None:
        """What it is known by beside its name: repository, commit and path; None for a file of this machine."""
        return self.url.removeprefix(HUB_PREFIX) if self.url else None

    @property
    def is_parquet(self) -> bool:
        """Whether rows can be read from the middle; a Parquet file that is compressed as a whole has none."""
        return self.file.suffix == ".parquet" and not self.file.compression


@dataclass(frozen=True)
class ShardReading:
    """How rows of shards become texts, and the steps that clean these."""

    columns: ColumnRequest
    reading: Reading
    cleaning: tuple[str, ...] = ()


class Row(NamedTuple):
    """A row of a shard: the line it begins on, and its cleaned text, None where it has none but white space."""

    line: int
    text: str | None


def local_shard(file: SourceFile) -> Shard:
    """Return a file of this machine as a shard."""
    return Shard(file, file.path.stat().st_size)


def choose_shard_columns(shard: Shard, reading: ShardReading) -> ColumnChoice:
    """Return the text columns of a shard, found by the rules of every file.

    Raises:
        DataError: If it cannot be opened, or no column or several may be the text.
    """
    findings = Findings()
    with _readable(shard), _opened(shard) as file:
        if shard.is_parquet:
            with pyarrow.parquet.ParquetFile(file) as parquet:
                header = tuple(parquet.schema_arrow.names)
        else:
            header = _open_text(shard, file, reading, findings).header
    return _choose(shard, header, reading, findings)


def read_rows(shard: Shard, reading: ShardReading, *, from_row: int = 0) -> Iterator[Row]:
    """Yield the rows of a shard in its order, those before number `from_row` (from 0) left out.

    Parquet goes straight to the row group; text files are read from their beginning, for only that tells where a
    row begins.

    Raises:
        DataError: At the first row that cannot be used, or where the shard cannot be read.
    """
    with _readable(shard), _opened(shard) as file:
        read = _parquet_records if shard.is_parquet else _text_records
        records = read(shard, file, reading, from_row=from_row)
        for record, columns in records:
            yield Row(record.line, _clean(_text_of(record, columns, shard), reading.cleaning))


def _parquet_records(
    shard: Shard, file: Path | IO[bytes], reading: ShardReading, *, from_row: int
) -> Iterator[tuple[Record, ColumnChoice]]:
    with pyarrow.parquet.ParquetFile(file, page_checksum_verification=True) as opened:
        columns = _choose(shard, tuple(opened.schema_arrow.names), reading, Findings())
        first = 0
        for group in range(opened.num_row_groups):
            size = opened.metadata.row_group(group).num_rows
            if first + size > from_row:
                yield from _group_records(opened, group, columns, first=first, from_row=from_row)
            first += size


def _group_records(
    opened: pyarrow.parquet.ParquetFile, group: int, columns: ColumnChoice, *, first: int, from_row: int
) -> Iterator[tuple[Record, ColumnChoice]]:
    names = list(columns.in_use)
    for batch in opened.iter_batches(batch_size=_ROWS_A_BATCH, row_groups=[group], columns=names):
        skipped = min(max(from_row - first, 0), batch.num_rows)
        for number, values in enumerate(batch.slice(skipped).select(names).to_pylist(), start=first + skipped + 1):
            yield Record(number, values), columns
        first += batch.num_rows


def _text_records(
    shard: Shard, file: Path | IO[bytes], reading: ShardReading, *, from_row: int
) -> Iterator[tuple[Record, ColumnChoice]]:
    findings = Findings()
    stream = _open_text(shard, file, reading, findings)
    columns = _choose(shard, stream.header, reading, findings)
    for number, record in enumerate(stream.only(columns.in_use)):
        findings.raise_if_any()
        if number >= from_row:
            yield record, columns
    findings.raise_if_any()


def _text_of(record: Record, columns: ColumnChoice, shard: Shard) -> str | None:
    """Return the text of a row, that of several columns joined; columns without text leave no delimiter behind."""
    texts = []
    for column in columns.texts:
        value = record.values[column]
        problem = find_type_problem(record, column, shard.name)
        if problem is not None:
            raise DataError(problem)
        if not is_empty(value):
            texts.append(str(value))
    return columns.text_delimiter.join(texts) if texts else None


def _clean(text: str | None, steps: tuple[str, ...]) -> str | None:
    if text is None or not steps:
        return text
    cleaned = apply_steps(text, steps)
    return None if is_empty(cleaned) else cleaned


def _open_text(shard: Shard, file: Path | IO[bytes], reading: ShardReading, findings: Findings) -> RecordStream:
    assert isinstance(file, Path), "only Parquet is read where it lies"
    stream = open_records(replace(shard.file, path=file), findings, reading=reading.reading)
    findings.raise_if_any()
    assert stream is not None, "a file that cannot be opened has a problem"
    return stream


def _choose(shard: Shard, header: tuple[str, ...], reading: ShardReading, findings: Findings) -> ColumnChoice:
    columns = choose_columns(header, reading.columns, findings=findings, name=shard.name)
    findings.raise_if_any()
    assert columns is not None, "columns that cannot be chosen are a problem"
    return columns


def _opened(shard: Shard) -> AbstractContextManager[Path | IO[bytes]]:
    """Return what a reader opens: the file, the remote file for Parquet, else a copy that goes when it is read."""
    if not shard.url:
        return nullcontext(shard.file.path)
    from huggingface_hub import HfFileSystem

    if shard.is_parquet:
        remote: AbstractContextManager[IO[bytes]] = HfFileSystem().open(shard.url, "rb")
        return remote
    return _fetched(shard)


@contextmanager
def _fetched(shard: Shard) -> Iterator[Path]:
    from huggingface_hub import HfFileSystem

    with tempfile.TemporaryDirectory(prefix="hfpipe-shard-") as folder:
        path = Path(folder) / Path(shard.url).name
        with HfFileSystem().open(shard.url, "rb") as source, path.open("wb") as target:
            while content := source.read(_COPIED_BYTES):
                target.write(content)
        yield path


@contextmanager
def _readable(shard: Shard) -> Iterator[None]:
    """Turn what goes wrong below the readers into a problem of the shard."""
    try:
        yield
    except _UNREADABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        remedy = _GO_ON if shard.url else "put the file back, or mend it"
        raise DataError(Problem(shard.name, "cannot be read", reason, remedy)) from error


def place_of_row(shard: Shard, line: int) -> str:
    """Return where a row stands, as in 'part-0001.parquet:row 17'."""
    return place_of(shard.name, line)
