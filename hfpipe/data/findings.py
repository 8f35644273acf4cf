"""Problems and remarks gathered while files are read, raised together at the end of the stage.

A file with a thousand ragged lines shows the first ten and the count of the rest: a reader mends
the cause, not the lines one by one.
"""

from dataclasses import dataclass, field

from hfpipe.errors import DataError, Problem

SHOWN_OF_A_KIND = 10


@dataclass
class _Kind:
    """The problems of one kind in one file: the first ones whole, the others as a number."""

    shown: list[Problem] = field(default_factory=list)
    count: int = 0


class Findings:
    """What reading found: problems by kind and file, and notes that stop nothing."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._notes: list[str] = []

    def add(self, kind: str, file: str, problem: Problem) -> None:
        """Record `problem`; `kind`, a plural ('rows with unmatched quotes'), counts what is not shown."""
        group = self._kinds.setdefault((file, kind), _Kind())
        group.count += 1
        if len(group.shown) < SHOWN_OF_A_KIND:
            group.shown.append(problem)

    def note(self, text: str) -> None:
        """Record a fact worth a line in the summary, once."""
        if text not in self._notes:
            self._notes.append(text)

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def has_problems_of(self, file: str) -> bool:
        """Tell whether a problem of this file was added."""
        return any(name == file for name, _ in self._kinds)

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes in the order they were made."""
        return tuple(self._notes)

    def problems(self) -> list[Problem]:
        """Return the problems in the order they were found, at most ten a kind and file, then the number left."""
        listed: list[Problem] = []
        for (file, kind), group in self._kinds.items():
            listed.extend(group.shown)
            if group.count > len(group.shown):
                listed.append(Problem(file, f"and {group.count - len(group.shown):,} more {kind}"))
        return listed

    def raise_if_any(self) -> None:
        """Raise every problem at once.

        Raises:
            DataError: If a problem was added.
        """
        if self:
            raise DataError(self.problems())
