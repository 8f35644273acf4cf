"""Which source of a mixture each row of a run is of."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RowSources:
    """The names of the sources, and the number of the source of each row, (rows,) int64."""

    names: tuple[str, ...]
    ids: np.ndarray

    def rows_of(self, number: int) -> np.ndarray:
        """Return the ids of the rows of a source."""
        return np.flatnonzero(self.ids == number)
