"""Which test rows trained models get right, seed by seed, and how far the sides are from each other.

Two questions, two figures. Would other seeds say the same? The standard error of the differences by seed. Would other
test rows? The interval of the mean difference over resamples of the rows, each with its seeds' mean.
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.report import Table
from bench.turns import Record
from hfpipe.evaluation.intervals import Comparison, compare_ratios

RIGHT = "right"
"""The fact that holds a string a seed, '1' for each row that is right and '0' for the others."""

COLUMNS = (
    "variant",
    "steps",
    "by seed",
    "mean",
    "points from the first, by seed",
    "mean (standard error over seeds)",
    "95 % interval over test rows",
)


@dataclass(frozen=True)
class Difference:
    """A side's accuracy minus that of the first one, as shares; `standard_error` is None for a single seed."""

    by_seed: Sequence[float]
    mean: float
    standard_error: float | None
    low: float | None
    high: float | None
    p_value: float


def compare_right_rows(records: Sequence[Record], *, title: str) -> tuple[Table, dict[str, Any]]:
    """Return the table and its numbers by variant; the rows leave the records, which go into the numbers anyhow."""
    found = {record.name: record.facts.pop(RIGHT) for record in records}
    steps = {record.name: record.facts.get("steps") for record in records}
    right = {name: to_array(told) for name, told in found.items()}
    first = right[records[0].name]
    data: dict[str, Any] = {}
    rows = []
    for name, values in right.items():
        difference = find_difference(values, first)
        accuracies = values.mean(axis=1).tolist()
        data[name] = {"accuracies": accuracies, RIGHT: found[name], "difference": asdict(difference)}
        rows.append([name, str(steps[name]), *_tell(accuracies, difference, is_first=values is first)])
    return Table(title, COLUMNS, rows), data


def to_array(told: Sequence[str]) -> np.ndarray:
    """Return strings of '0' and '1', one a seed, as an array (seeds, rows)."""
    return np.array([[float(mark) for mark in row] for row in told])


def find_difference(right: np.ndarray, first: np.ndarray) -> Difference:
    """Return how much better the side of `right` (seeds, rows) is than the first, on the same seeds and rows."""
    by_seed = (right.mean(axis=1) - first.mean(axis=1)).tolist()
    error = statistics.stdev(by_seed) / len(by_seed) ** 0.5 if len(by_seed) > 1 else None
    over_rows: Comparison = compare_ratios(
        right.mean(axis=0), first.mean(axis=0), np.ones(right.shape[1]), metric="accuracy", seed=0
    )
    return Difference(by_seed, over_rows.difference, error, over_rows.low, over_rows.high, over_rows.p_value)


def _tell(accuracies: Sequence[float], difference: Difference, *, is_first: bool) -> list[str]:
    told = [", ".join(f"{value:.4f}" for value in accuracies), f"{statistics.mean(accuracies):.4f}"]
    if is_first:
        return [*told, "", "", ""]
    points = ", ".join(_in_points(value) for value in difference.by_seed)
    error = "" if difference.standard_error is None else f" ({100 * difference.standard_error:.2f})"
    known = difference.low is not None and difference.high is not None
    interval = f"{_in_points(difference.low or 0.0)} to {_in_points(difference.high or 0.0)}" if known else "not known"
    return [*told, points, f"{_in_points(difference.mean)}{error}", f"{interval}, p {difference.p_value:.3f}"]


def _in_points(share: float) -> str:
    return f"{100 * share:+.2f}"
