"""How rows become findings: places, excerpts, and words that several kinds share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hfpipe.inspection.excerpts import excerpt
from hfpipe.inspection.inspected import Inspected, InspectedPart
from hfpipe.inspection.record import LOOK, NOTE, SERIOUS, FoundRow

ALL_PARTS = ""


@dataclass(frozen=True)
class PooledRows:
    """The rows of several parts, one after another, as far as they are looked at together."""

    parts: Sequence[InspectedPart]

    @property
    def starts(self) -> np.ndarray:
        """The number of the first row of each part, and the number of all rows."""
        return np.cumsum([0, *map(len, self.parts)])

    def locate(self, row: int) -> tuple[InspectedPart, int]:
        """Return the part of a row and its number there."""
        index = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[index], row - int(self.starts[index])

    def place(self, row: int) -> str:
        """Return where a row stands."""
        part, own = self.locate(row)
        return part.places.place(own)


def found_row(part: InspectedPart, row: int, note: str) -> FoundRow:
    """Return a row of a part with what is said of it and how its text begins."""
    return FoundRow(part.places.place(row), note, excerpt(part.texts[row]))


def found_rows(part: InspectedPart, notes: Mapping[int, str] | Iterable[tuple[int, str]]) -> tuple[FoundRow, ...]:
    """Return rows of a part with their notes, in the order given."""
    pairs = notes.items() if isinstance(notes, Mapping) else notes
    return tuple(found_row(part, row, note) for row, note in pairs)


def part_name(inspected: Inspected, part: InspectedPart) -> str:
    """Return the name of a part where there are several, else ''."""
    return part.name if len(inspected.parts) > 1 else ALL_PARTS


def severity_by_share(share: float, *, look: float, serious: float = 2.0) -> str:
    """Return how bad a share of rows is; from `serious` and from `look` on, else it is good to know."""
    return SERIOUS if share >= serious else LOOK if share >= look else NOTE


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: '1 row', '1,200 rows'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(share: float) -> str:
    """Return a share for a reader; what is there never becomes 0.0 %, and what is not all never 100.0 %."""
    shown = f"{100 * share:.1f} %"
    if share > 0 and shown == "0.0 %":
        return "under 0.1 %"
    return "over 99.9 %" if share < 1 and shown == "100.0 %" else shown
