"""Numbers to predict: what is refused of a training part, bins to split it by, and what is said of it.

Bins hold about equally many rows, so that a validation part has high and low numbers in the shares of
the training part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hfpipe.data.findings import Findings
from hfpipe.data.table import Table
from hfpipe.errors import Problem

MOST_BINS = 10
ROWS_A_BIN = 4
FAR = 10.0
"""A mean or standard deviation beyond it is told: ratings up to 10 are learnt as they are, prices are not."""


@dataclass(frozen=True)
class NumberStatistics:
    """The targets of a part: the smallest, the largest, their mean and (population) standard deviation."""

    column: str
    minimum: float
    maximum: float
    mean: float
    standard_deviation: float

    def to_json(self) -> dict[str, Any]:
        """Return the statistics for a record."""
        names = ("minimum", "maximum", "mean", "standard_deviation")
        return {name: vars(self)[name] for name in names}

    def line(self) -> str:
        """Return the statistics as words for the log, to four significant digits."""
        spread = f"mean {_shown(self.mean)}, standard deviation {_shown(self.standard_deviation)}"
        return f"{self.column!r} from {_shown(self.minimum)} to {_shown(self.maximum)}, {spread}"


def describe_numbers(column: str, targets: np.ndarray) -> NumberStatistics:
    """Return the statistics of the targets (rows,), computed in float64."""
    exact = targets.astype(np.float64)
    return NumberStatistics(column, float(exact.min()), float(exact.max()), float(exact.mean()), float(exact.std()))


def check_numbers(train: Table, findings: Findings) -> None:
    """Record a training part whose numbers are all the same; note numbers that look like classes, or lie far from 0."""
    different = sorted(set(train.numbers))
    name = train.account.source
    if len(different) == 1:
        problem = Problem(
            name, f"every row has the number {_shown(different[0])}", "there is nothing to learn", "name another column"
        )
        findings.add("labels", name, problem)
    if len(different) == 2 and all(number.is_integer() for number in different):
        first, second = map(int, different)
        findings.note(f"only the numbers {first} and {second} occur: if they are classes, remove problem_type")
    mean, spread = float(np.mean(train.numbers)), float(np.std(train.numbers))
    if max(abs(mean), spread) > FAR:
        findings.note(
            f"{name}: the numbers lie far from 0, where a new head begins, and it moves by about learning_rate a step: "
            f"if it does not get there, train on (number - {_shown(mean)}) / {_shown(spread)} and turn predictions back"
        )


def _shown(number: float) -> str:
    """Return a number to four significant digits, as in 0.1235 and 12,350."""
    return f"{float(f'{number:.4g}'):,.15g}"


def bin_edges(numbers: Sequence[float]) -> np.ndarray:
    """Return the values at which bins of about equally many rows begin, the first bin left out.

    At most ten bins of at least four rows where the numbers differ; equal numbers share a bin. The edges
    are numbers of the rows themselves, taken by rank: no arithmetic that could differ between machines.
    """
    ordered = np.sort(np.asarray(numbers, dtype=np.float64))
    bins = max(1, min(MOST_BINS, len(ordered) // ROWS_A_BIN))
    return np.unique(ordered[[index * len(ordered) // bins for index in range(1, bins)]])


def bin_numbers(numbers: Sequence[float], edges: np.ndarray) -> np.ndarray:
    """Return the bin of each number, 0 and up."""
    return np.searchsorted(edges, np.asarray(numbers, dtype=np.float64), side="right").astype(np.int64)
