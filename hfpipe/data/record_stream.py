"""The shape every reader delivers: a header and records that know where they stand.

Readers are lazy: a file is opened when its first record is asked for, and closed after its last.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class SourceFile:
    """A file and the name it goes by in messages: the path as the user wrote it."""

    path: Path
    name: str

    @property
    def suffix(self) -> str:
        """The suffix in lower case, which decides the format."""
        return self.path.suffix.lower()


class Record(NamedTuple):
    """One row: the physical line it begins on (for Parquet, which has no lines, its row from 1) and its values."""

    line: int
    values: Mapping[str, object]


@dataclass(frozen=True)
class RecordStream:
    """The columns of a file and its records, which can be read once.

    `narrowed`, where a format has it, delivers the records with some columns only, without
    reading the others.
    """

    file: SourceFile
    header: tuple[str, ...]
    records: Iterator[Record]
    narrowed: Callable[[tuple[str, ...]], Iterator[Record]] | None = None

    def only(self, columns: tuple[str, ...]) -> Iterator[Record]:
        """Return the records, restricted to `columns` where that saves reading."""
        return self.records if self.narrowed is None else self.narrowed(columns)


def place_of(name: str, line: int) -> str:
    """Return where a record stands: 'train.csv:17', or 'train.parquet:row 17' where there are no lines."""
    return f"{name}:row {line}" if name.lower().endswith(".parquet") else f"{name}:{line}"


def shorten(text: str, limit: int = 40) -> str:
    """Return `text` quoted for a message, its end left out beyond `limit` characters."""
    return repr(text if len(text) <= limit else f"{text[: limit - 3]}...")
