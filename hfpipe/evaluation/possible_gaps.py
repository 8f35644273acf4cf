"""What few rows leave possible of a calibration error, beyond what resamples of them show.

Forty rows that are all right hold no mistake, and neither does a resample, so their gaps hardly scatter: by resamples
alone a model that foresaw one mistake is off, and no more than by what was found, as if forty rows were proof. So two
more truths are looked at. Where labels that come just as the probabilities say would often give an error as large, it
may be 0 (consistency resampling, Bröcker and Smith 2007). And where mistakes are few, as many answers may come true as
either end of Wilson's interval (1927) says: the error is then at least what they are off by on average.
The decision worth knowing: the ends of an interval only move outwards, by the second truth only under ten mistakes.
"""

from collections.abc import Iterator

import numpy as np
from scipy import stats

from hfpipe.evaluation.probabilities import assign_bins
from hfpipe.evaluation.resampling import LEVEL, draw_shares

FEW = 10
"""Answers of either kind from which on resamples show well enough how they come."""


def may_be_chance(value: float, confidence: np.ndarray, *, seed: int, resamples: int) -> bool:
    """Tell whether an error of `value` is not among the 2.5 % largest that answers so sure, (answers,), would give.

    Their labels are taken for independent of each other.
    """
    return value <= float(np.quantile(find_chance_errors(confidence, seed=seed, resamples=resamples), 1 - LEVEL))


def find_chance_errors(confidence: np.ndarray, *, seed: int, resamples: int) -> np.ndarray:
    """Return calibration errors (resamples,) of answers that come true just as `confidence` (answers,) says."""
    ordered = np.sort(confidence)
    starts = np.unique(assign_bins(ordered), return_index=True)[1]

    def errors() -> Iterator[np.ndarray]:
        for shares in draw_shares(len(ordered), seed=seed, resamples=resamples):
            gaps = np.add.reduceat(ordered - (shares < ordered), starts, axis=1)
            yield np.abs(gaps).sum(axis=1) / len(ordered)

    return np.concatenate(list(errors()))


def find_largest_bias(confidence: np.ndarray, outcomes: np.ndarray) -> float:
    """Return how far mean confidence may be from the share of `outcomes` (answers,), 0 or 1, that will come true.

    It is 0, nothing to be said, where ten of either kind are there.
    """
    true = int(outcomes.sum())
    if min(true, len(outcomes) - true) >= FEW:
        return 0.0
    found = stats.binomtest(true, len(outcomes)).proportion_ci(1 - 2 * LEVEL, method="wilson")
    return float(max(confidence.mean() - found.low, found.high - confidence.mean()))
