"""Metrics that rank rows, for many resamples at once, from one sorting of the rows.

A resample only changes how often a row stands at its place, so running sums of weights in the order of the scores are
all it takes. Rows of equal scores are one place. Where a resample has no row on one of two sides, its value is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hfpipe.evaluation.resampled_counts import divide

LABEL_OF_ADDED = (True, False, False, True)
"""Two models of which one has the first two of these rows right, and the other the first and third, both have a right
row and a wrong one on either side."""


@dataclass(frozen=True)
class Ranking:
    """Rows in an order: `rows` are their columns in the weights, `starts` where each place begins.

    A row counts by its share of `shares`, in this order; fully without them.
    """

    rows: np.ndarray
    starts: np.ndarray
    shares: np.ndarray | None = None

    def order(self, weights: np.ndarray) -> np.ndarray:
        """Return the weights (resamples, rows) in this order."""
        drawn = weights[:, self.rows]
        return drawn if self.shares is None else drawn * self.shares

    def add_up(self, ordered: np.ndarray) -> np.ndarray:
        """Return the sums of each place, (resamples, places), of values (resamples, rows) in this order."""
        if len(self.starts) == len(self.rows):
            return ordered
        return np.add.reduceat(ordered, self.starts, axis=1)


def rank_rows(scores: np.ndarray) -> Ranking:
    """Return the ranking of scores from the lowest."""
    order = np.argsort(scores, kind="stable")
    return Ranking(order, _find_places(scores[order]))


@dataclass(frozen=True)
class LabelRanking:
    """Answers by falling probability; `there` tells of each, in this order, whether it has the label: 1 or 0."""

    ranking: Ranking
    there: np.ndarray


def rank_answers(
    probabilities: np.ndarray, there: np.ndarray, rows: np.ndarray, *, right_of_added: Sequence[bool], share: float
) -> LabelRanking:
    """Return the ranking of answers and of four added ones, of which each counts by `share`.

    Added are two that have the label and two that have not, of either one with the median probability of its own side
    and one with that of the other side: a ranking without a mistake then has some in its resamples. `rows` are the
    columns of the answers in the weights; the last four are those added.
    """
    middle = {side: np.median(probabilities[there == side]) for side in (True, False)}
    added = np.array([middle[has == right] for has, right in zip(LABEL_OF_ADDED, right_of_added, strict=True)])
    last = rows.max() + 1 + np.arange(len(added))
    scores = np.concatenate((probabilities, added))
    order = np.argsort(-scores, kind="stable")
    shares = np.concatenate((np.ones(len(probabilities)), np.full(len(added), share)))[order]
    ranking = Ranking(np.concatenate((rows, last))[order], _find_places(scores[order]), None if share == 1 else shares)
    return LabelRanking(ranking, np.concatenate((there, LABEL_OF_ADDED))[order].astype(np.float64))


def _find_places(ordered: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))


def score_ranking(weights: np.ndarray, label: LabelRanking) -> tuple[np.ndarray, np.ndarray]:
    """Return the area under the ROC curve and the average precision, each (resamples,)."""
    ranking, drawn = label.ranking, label.ranking.order(weights)
    there = ranking.add_up(drawn * label.there)
    found, seen = np.cumsum(there, axis=1), np.cumsum(ranking.add_up(drawn), axis=1)
    total = found[:, -1]
    absent = seen[:, -1] - total
    # Rows without the label below a place, and half of those at it; 'seen - found' of them are above it or at it.
    at_place = np.diff(seen - found, axis=1, prepend=0.0)
    beaten = absent[:, None] - (seen - found) + at_place / 2
    defined = (total > 0) & (absent > 0)
    area = divide(np.einsum("rp,rp->r", there, beaten), total * absent, otherwise=np.nan)
    precision = divide(found, seen)
    average = divide(np.einsum("rp,rp->r", there, precision), total, otherwise=np.nan)
    return area, np.where(defined, average, np.nan)


def correlate_ranks(weights: np.ndarray, first: Ranking, second: Ranking) -> np.ndarray:
    """Return Spearman's correlation of each resample, (resamples,), ties ranked in the middle; 0 with a constant."""
    middle = (weights.sum(axis=1, keepdims=True) + 1) / 2
    ranks = [_rank_again(weights, ranking) - middle for ranking in (first, second)]
    covariance = (weights * ranks[0] * ranks[1]).sum(axis=1)
    spreads = [(weights * each**2).sum(axis=1) for each in ranks]
    return divide(covariance, np.sqrt(spreads[0] * spreads[1]))


def _rank_again(weights: np.ndarray, ranking: Ranking) -> np.ndarray:
    """Return the rank of each row within each resample, in the order of the rows."""
    drawn = ranking.add_up(ranking.order(weights))
    ranks = np.cumsum(drawn, axis=1) - (drawn - 1) / 2
    sizes = np.diff(np.append(ranking.starts, len(ranking.rows)))
    place_of_row = np.empty(len(ranking.rows), dtype=np.int64)
    place_of_row[ranking.rows] = np.repeat(np.arange(len(sizes)), sizes)
    return ranks[:, place_of_row]


def find_medians(weights: np.ndarray, values: np.ndarray, ranking: Ranking) -> np.ndarray:
    """Return the median of the values of each resample, (resamples,); `ranking` is theirs."""
    drawn = np.cumsum(weights[:, ranking.rows], axis=1)
    count, ordered = drawn[:, -1:], values[ranking.rows]
    middle = [(drawn <= place).sum(axis=1) for place in ((count - 1) // 2, count // 2)]
    return (ordered[middle[0]] + ordered[middle[1]]) / 2
