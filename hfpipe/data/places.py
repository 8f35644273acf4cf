"""Where rows stand, kept for every row at five bytes; more where there are many files, or billions of lines."""

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
        self._runs: list[tuple[int, int]] = []
        self._lines = array("I")

    def add(self, file: str, line: int) -> None:
        """Note the place of the next row."""
        number = self._files.setdefault(file, len(self._files))
        if not self._runs or self._runs[-1][0] != number:
            self._runs.append((number, len(self._lines)))
        try:
            self._lines.append(line)
        except OverflowError:
            self._lines = array("q", self._lines)
            self._lines.append(line)

    def build(self) -> Places:
        """Return the places of all rows noted."""
        numbers, begins = [number for number, _ in self._runs], [begin for _, begin in self._runs]
        kind = np.uint8 if len(self._files) <= 256 else np.int32
        file_ids = np.repeat(np.array(numbers, dtype=kind), np.diff([*begins, len(self._lines)]))
        return Places(tuple(self._files), file_ids, np.frombuffer(self._lines, dtype=self._lines.typecode))
