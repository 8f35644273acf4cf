"""The targets of rows as classes, for statistics that need such: labels, each of several labels, or bins of numbers."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.data.numbers import bin_edges, bin_numbers

# a label with fewer rows says nothing of what predicts it
FEWEST_ROWS = 10
MOST_LABELS = 50


@dataclass(frozen=True)
class Classes:
    """Class ids (rows,) by the names of the classes, and which of them findings are about."""

    names: tuple[str, ...]
    ids: np.ndarray
    told: tuple[int, ...]

    def take(self, rows: np.ndarray) -> "Classes":
        """Return the classes of some rows."""
        return Classes(self.names, self.ids[rows], self.told)

    @property
    def majority(self) -> float:
        """The share of the largest class."""
        return float(np.bincount(self.ids).max() / len(self.ids))


def find_classes(answers: Sequence[Hashable], problem_type: str | None) -> Iterator[Classes]:
    """Yield one set of classes; of several labels a row one for each of the largest fifty, with it and without."""
    if problem_type is None or not len(answers):
        return
    if problem_type == REGRESSION:
        yield _bins([float(str(answer)) for answer in answers])
    elif problem_type == MULTI_LABEL:
        yield from _each_label([answer for answer in answers if isinstance(answer, tuple)])
    else:
        names = tuple(sorted(set(map(str, answers))))
        ids = {name: index for index, name in enumerate(names)}
        found = np.fromiter((ids[str(answer)] for answer in answers), np.int64, len(answers))
        if len(names) > 1:
            yield Classes(names, found, tuple(range(len(names))))


def _bins(numbers: Sequence[float]) -> Classes:
    edges = bin_edges(numbers)
    ids = bin_numbers(numbers, edges)
    bounds = [min(numbers), *map(float, edges), max(numbers)]
    names = tuple(f"{low:.4g} to {high:.4g}" for low, high in pairwise(bounds))
    return Classes(names, ids, tuple(range(len(names))))


def _each_label(answers: Sequence[tuple[str, ...]]) -> Iterator[Classes]:
    rows_of: dict[str, list[int]] = {}
    for row, labels in enumerate(answers):
        for label in labels:
            rows_of.setdefault(label, []).append(row)
    for label in sorted(rows_of, key=lambda name: -len(rows_of[name]))[:MOST_LABELS]:
        ids = np.zeros(len(answers), dtype=np.int64)
        ids[rows_of[label]] = 1
        if min(len(rows_of[label]), len(answers) - len(rows_of[label])) >= FEWEST_ROWS:
            yield Classes((f"without {label}", label), ids, (1,))
