"""Where rows stand, kept for every row at twelve bytes each."""

from array import array
from dataclasses import dataclass

import numpy as np

from hfpipe.data.accounting import EXAMPLES, Rows
from hfpipe.data.record_stream import place_of


@dataclass(frozen=True)
class Places:
    """File and line of each row of a part."""

    files: tuple[str, ...]
    file_ids: np.ndarray
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """Return where a row stands, as in 'train.csv:17'."""
        return place_of(self.files[int(self.file_ids[row])], int(self.lines[row]))

    def take(self, ids: np.ndarray) -> "Places":
        """Return the places of some rows, in the order of `ids`."""
        return Places(self.files, self.file_ids[ids], self.lines[ids])

    def rows(self, ids: np.ndarray) -> Rows:
        """Return how many rows `ids` are and where the first ones stand."""
        return Rows(len(ids), tuple(self.place(int(row)) for row in ids[:EXAMPLES]))


class PlacesBuilder:
    """Collects places row by row."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._file_ids = array("i")
        self._lines = array("q")

    def add(self, file: str, line: int) -> None:
        """Note the place of the next row."""
        self._file_ids.append(self._files.setdefault(file, len(self._files)))
        self._lines.append(line)

    def build(self) -> Places:
        """Return the places of all rows noted."""
        file_ids = np.array(self._file_ids, dtype=np.int32)
        return Places(tuple(self._files), file_ids, np.array(self._lines, dtype=np.int64))
