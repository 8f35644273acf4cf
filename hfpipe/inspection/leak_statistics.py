"""Does a feature alone tell the class? Counts on one half of the rows judged on the other, with exact bounds.

Many features are tried, so a bound holds for all of them together (Bonferroni): with no leak in the data, the chance
that any is told is below 1 %. Being sure is not enough: the feature must take away most of the error.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

ERROR_LEVEL = 0.01
# of the error of always saying the commonest class
LEAST_GAIN = 0.8
# of the rows with a word that have the label; a bound alone would need hundreds of rows
_LEAST_PURITY, _LEAST_BOUND = 0.98, 0.8
_LEAST_COVERAGE = 0.1
BINS = 32
MOST_VALUES = 10_000


@dataclass(frozen=True)
class Telling:
    """How often a feature tells the class of rows it was not counted on, and how often the commonest class is right."""

    right: float
    commonest: float


def lower_bound(hits: np.ndarray, trials: np.ndarray, level: float) -> np.ndarray:
    """Return the exact one-sided lower bound of a share (Clopper and Pearson 1934)."""
    # scipy.stats.beta.ppf, whose module takes a quarter of a second to load
    bounds = betaincinv(np.maximum(hits, 1), np.maximum(trials - hits + 1, 1), level)
    return np.where(hits > 0, bounds, 0.0)


def judge_feature(codes: np.ndarray, ids: np.ndarray, *, tried: int, seed: int) -> Telling | None:
    """Return how well the values `codes` (rows,) of a feature tell the class `ids` (rows,); None where they do not.

    Each half of the rows, drawn by `seed`, is told by the commonest class of each value in the other half. `tried` is
    the number of features that are judged.
    """
    half = np.random.Generator(np.random.Philox(seed)).permutation(len(ids)) % 2
    classes = int(ids.max()) + 1
    values = np.unique(codes, return_inverse=True)[1].reshape(-1)
    right = 0
    for side in (0, 1):
        counted, judged = half != side, half == side
        counts = np.zeros((int(values.max()) + 1, classes), dtype=np.int64)
        np.add.at(counts, (values[counted], ids[counted]), 1)
        told = np.where(counts.any(axis=1), counts.argmax(axis=1), counts.sum(axis=0).argmax())
        right += int((told[values[judged]] == ids[judged]).sum())
    commonest = float(np.bincount(ids).max() / len(ids))
    bound = float(lower_bound(np.array(right), np.array(len(ids)), ERROR_LEVEL / tried))
    if commonest == 1 or (bound - commonest) / (1 - commonest) < LEAST_GAIN:
        return None
    return Telling(right / len(ids), commonest)


def find_telling_words(hits: np.ndarray, rows_with: np.ndarray, class_rows: np.ndarray) -> list[tuple[int, int]]:
    """Return (class, word) where the word alone tells the class, most of the class's rows first.

    `hits` (classes, words) are rows of the class with the word, `rows_with` (words,) all rows with it and `class_rows`
    (classes,) all rows of the class. A word must stand in a tenth of the class's rows.
    """
    purity = hits / np.maximum(rows_with, 1)
    coverage = hits / np.maximum(class_rows, 1)[:, None]
    chance = (class_rows / class_rows.sum())[:, None]
    gain = 1 - (1 - purity) / np.maximum(1 - chance, 1e-12)
    candidates = (purity >= _LEAST_PURITY) & (coverage >= _LEAST_COVERAGE) & (gain >= LEAST_GAIN)
    found = np.argwhere(candidates)
    if not len(found):
        return []
    trials = rows_with[found[:, 1]]
    bounds = lower_bound(hits[found[:, 0], found[:, 1]], trials, ERROR_LEVEL / max(hits.size, 1))
    needed = np.maximum(_LEAST_BOUND, chance[found[:, 0], 0])
    kept = found[bounds > needed]
    order = np.argsort(-coverage[kept[:, 0], kept[:, 1]], kind="stable")
    return [(int(label), int(word)) for label, word in kept[order]]


def code_values(values: list[str]) -> np.ndarray | None:
    """Return a code for each value of a column, numbers in bins where they are many; None where nothing repeats."""
    different = sorted(set(values))
    if len(different) <= BINS:
        return np.searchsorted(np.array(different, dtype=object), np.array(values, dtype=object)).astype(np.int64)
    numbers = _as_numbers(values)
    if numbers is not None:
        return bin_by_rank(numbers)
    if len(different) > min(MOST_VALUES, len(values) // 2):
        return None
    codes = {value: code for code, value in enumerate(different)}
    return np.fromiter((codes[value] for value in values), np.int64, len(values))


def bin_by_rank(numbers: np.ndarray) -> np.ndarray:
    """Return the bin of each number: about equally many rows in each, equal numbers in one."""
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
    return np.searchsorted(edges, numbers, side="right").astype(np.int64)


def _as_numbers(values: list[str]) -> np.ndarray | None:
    try:
        numbers = np.array([float(value) if value.strip() else np.nan for value in values])
    except ValueError:
        return None
    # an empty cell may tell the class as well as a value does
    return np.where(np.isfinite(numbers), numbers, -np.finfo(np.float64).max)
