"""Texts cleaned as they are read, with a count of the rows that each step changed and places where some stand."""

from collections.abc import Sequence

from hfpipe.data.accounting import Rows
from hfpipe.data.cleaning_steps import STEPS


class TextCleaner:
    """Applies the same steps to row after row; without steps texts stay as they are."""

    def __init__(self, steps: Sequence[str]) -> None:
        self.steps = tuple(steps)
        self._changed = [Rows(0) for _ in self.steps]

    def clean(self, texts: Sequence[str], place: str) -> list[str]:
        """Return the texts of one row, which stands at `place`, after all steps; a step counts a row once."""
        cleaned = list(texts)
        for number, step in enumerate(self.steps):
            after = [STEPS[step](text) for text in cleaned]
            if after != cleaned:
                self._changed[number] = self._changed[number].also(place)
            cleaned = after
        return cleaned

    @property
    def changed(self) -> tuple[tuple[str, Rows], ...]:
        """The steps in their order, each with the rows it changed."""
        return tuple(zip(self.steps, self._changed, strict=True))
