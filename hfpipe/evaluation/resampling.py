"""Rows drawn again and again, with replacement: what a score would have been on other rows of the same kind.

A resample is written as a weight for each row, how often it was drawn, so a metric of a resample is a weighted metric
and many resamples are computed at once. The draws are raw numbers of Philox, whose stream numpy guarantees, so a seed
draws the same rows on every machine. The decision worth knowing: rows may be added to those drawn from. A classifier
without a mistake in 40 rows would have none in any resample either, and its interval no width, as if 40 rows were
proof. Four added rows, two of them wrong, give accuracy the interval of Wilson (1927) as Agresti and Coull (1998)
approximate it, and every other metric of the same counts one in keeping with it. In hundreds of rows they do not show.
"""

import math
from collections.abc import Iterator

import numpy as np
from scipy import stats

ADDED_ROWS = 4
STREAM, STREAM_OF_SHARES = 50, 51
"""The streams of draws; choices of rows have streams of lower numbers, orders and mixtures of higher ones."""

WEIGHTS_AT_ONCE = 2**19
"""As many as stay in a processor's cache: 1,000 resamples of 25,000 rows in one array would be 200 MB."""

LEVEL = 0.025
"""What lies beyond either end of a 95 % interval."""

SHARE_DEFINED = 0.95
ROUNDING = 1e-9


def draw_weights(rows: int, *, added: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Yield arrays (some resamples, `rows` + `added`), float64: how often each row was among the `rows` drawn.

    The added rows come last. All arrays together have `resamples` rows, and are a pure function of the arguments.
    """
    stream = np.random.Philox(key=np.array([seed, STREAM], dtype=np.uint64))
    listed = rows + added
    at_once = max(1, WEIGHTS_AT_ONCE // listed)
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        # The upper half of a draw, scaled: no row is favoured by more than 1 in 2**32 / rows.
        places = ((stream.random_raw(count * rows) >> np.uint64(32)) * np.uint64(listed)) >> np.uint64(32)
        own = places.astype(np.int64).reshape(count, rows) + np.arange(count)[:, None] * listed
        yield np.bincount(own.ravel(), minlength=count * listed).reshape(count, listed).astype(np.float64)


def draw_shares(count: int, *, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Yield arrays (some resamples, `count`) of numbers that are evenly spread from 0 to below 1, `resamples` rows."""
    stream = np.random.Philox(key=np.array([seed, STREAM_OF_SHARES], dtype=np.uint64))
    at_once = max(1, WEIGHTS_AT_ONCE // count)
    for start in range(0, resamples, at_once):
        some = min(at_once, resamples - start)
        yield (stream.random_raw(some * count) >> np.uint64(11)).reshape(some, count) * 2.0**-53


def find_bounds(values: np.ndarray, rows: int, *, centre: float | None = None) -> tuple[float, float] | None:
    """Return the ends of the 95 % interval by the values of the resamples; None where it is not known.

    They are percentiles, further out for few rows as Student's t is (the expanded percentile interval, Hesterberg 2015,
    What Teachers Should Know About the Bootstrap). `centre`, the value of the rows themselves, has the percentiles
    corrected for bias and skewness (BCa, Efron 1987, its acceleration a sixth of the skewness of the values): it is for
    scores to which no rows were added. Nothing is known of a single row, nor where over one in twenty resamples has no
    value, a NaN.
    """
    known = values[np.isfinite(values)]
    if rows < 2 or len(known) < SHARE_DEFINED * len(values):
        return None
    level = find_level(rows)
    levels = np.array([level, 1 - level])
    # what only rounding tells apart has no shape to correct for, as scores of a model that answers every text alike
    if centre is not None and np.ptp(known) > ROUNDING * np.abs(known).max():
        levels = _correct(levels, known, centre)
    low, high = np.quantile(known, levels)
    return float(low), float(high)


def _correct(levels: np.ndarray, values: np.ndarray, centre: float) -> np.ndarray:
    """Return the percentiles that BCa takes for those asked for."""
    below = ((values < centre).sum() + (values == centre).sum() / 2) / len(values)
    bias = stats.norm.ppf(np.clip(below, 0.05, 0.95))
    acceleration = np.clip(stats.skew(values) / 6, -0.25, 0.25)
    # of two rows the levels are 0 and 1 to the last digit
    shifted = bias + np.clip(stats.norm.ppf(levels), -8.0, 8.0)
    return stats.norm.cdf(bias + shifted / np.maximum(1 - acceleration * shifted, 0.1))


def find_level(rows: int) -> float:
    """Return the share of resamples beyond either end: 0.025, and less for few rows."""
    reach = math.sqrt(rows / (rows - 1)) * stats.t.ppf(1 - LEVEL, rows - 1)
    return float(stats.norm.cdf(-reach))


def find_p_value(differences: np.ndarray) -> float:
    """Return how unlikely the differences make it that there is none: twice the smaller share on one side of 0.

    The interval of the differences then leaves 0 out where this is below 0.05. The smallest value is 2 in the resamples
    plus one (Davison and Hinkley 1997, section 4.2), so it never claims more than so many resamples can show.
    """
    known = differences[np.isfinite(differences)]
    smaller = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (smaller + 1) / (len(known) + 1))
