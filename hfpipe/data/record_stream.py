"""The shape every reader delivers: a header and records that know where they stand.

Readers are lazy: a file is opened when its first record is asked for, and closed after its last.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import NamedTuple

COMPRESSED = (".gz", ".zst")
_WITHOUT_LINES = (".parquet", ".arrow", ".json")


@dataclass(frozen=True)
class SourceFile:
    """A file and the name it goes by in messages: the path as the user wrote it.

    `encoding` is that of a text file, by a name Python knows; None is UTF-8. `identity`, such as
    the revision of a data set, says what it is where its bytes need not be read for that.
    """

    path: Path
    name: str
    encoding: str | None = None
    identity: str | None = None

    @property
    def suffix(self) -> str:
        """The suffix in lower case, which decides the format: '.csv' for 'train.csv' and for 'train.CSV.gz'."""
        return format_suffix(self.path.name)

    @property
    def compression(self) -> str:
        """'.gz', '.zst', or nothing."""
        last = self.path.suffix.lower()
        return last if last in COMPRESSED else ""


class Record(NamedTuple):
    """One row: the physical line it begins on (its row from 1 where a format has no lines) and its values."""

    line: int
    values: Mapping[str, object]


@dataclass(frozen=True)
class RecordStream:
    """The columns of a file and its records, which can be read once.

    `narrowed`, where a format has it, delivers the records with some columns only, without
    reading the others. `parts` are, of a file that is one text, its parts in place of the record: it may be larger than
    memory.
    """

    file: SourceFile
    header: tuple[str, ...]
    records: Iterator[Record]
    narrowed: Callable[[tuple[str, ...]], Iterator[Record]] | None = None
    parts: Iterator[str] | None = None

    def only(self, columns: tuple[str, ...]) -> Iterator[Record]:
        """Return the records, restricted to `columns` where that saves reading."""
        return self.records if self.narrowed is None else self.narrowed(columns)


@lru_cache(maxsize=1024)  # it is asked for every row
def format_suffix(name: str) -> str:
    """Return the suffix of a file name in lower case, that of a compression taken off."""
    path = PurePath(name)
    return (PurePath(path.stem).suffix if path.suffix.lower() in COMPRESSED else path.suffix).lower()


def place_of(name: str, line: int) -> str:
    """Return where a record stands: 'train.csv:17', or 'train.parquet:row 17' where there are no lines.

    The split of a data set, 'stanfordnlp/imdb[train]', has rows too.
    """
    has_lines = not name.endswith("]") and format_suffix(name) not in _WITHOUT_LINES
    return f"{name}:{line}" if has_lines else f"{name}:row {line}"


def place_of_header(name: str) -> str:
    """Return where the columns of a file are named: 'train.csv:1', or the file where no line names them."""
    return f"{name}:1" if format_suffix(name) in (".csv", ".tsv") else name


def shorten(text: str, limit: int = 40) -> str:
    """Return `text` quoted for a message, its end left out beyond `limit` characters."""
    return repr(text if len(text) <= limit else f"{text[: limit - 3]}...")


def shorten_list(words: Iterable[str], limit: int = 20) -> str:
    """Return words for a message, as many as can be read, and how many more there are."""
    listed = list(words)
    shown = ", ".join(listed[:limit])
    return shown if len(listed) <= limit else f"{shown} and {len(listed) - limit:,} more"
