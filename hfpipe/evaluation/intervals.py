"""How sure a score is, and whether one model is better than another on the same rows.

An interval is where the score would lie on other rows of the same kind, in 95 of 100 such cases: percentiles of the
score over resamples of the rows (Efron 1979), drawn as `resampling.py` says. Two models are compared row by row, in
resamples of the same rows, for what is hard for one is mostly hard for the other. Every interval holds the score it is
of. Not known, so None, are the ends for a single row, and for rankings of which too many resamples lack one side.
The decision worth knowing: the rows are taken for independent of each other. Texts of one author, or blocks of one
document, are not quite, and make the true interval wider.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from hfpipe.config.sections import REGRESSION
from hfpipe.evaluation.metrics import as_references, check_shapes, compute_metrics, predict
from hfpipe.evaluation.possible_gaps import find_largest_bias, may_be_chance
from hfpipe.evaluation.probabilities import judge_answers, to_probabilities
from hfpipe.evaluation.rare_errors import Outlook, find_upper_end, foresee_errors
from hfpipe.evaluation.resampled_scores import RIGHT_OF_ADDED_TO_OTHER, build_resample, count_added
from hfpipe.evaluation.resampling import draw_weights, find_bounds, find_level, find_p_value

RESAMPLES = 1000
MEAN_ERRORS = ("log_loss", "brier", "mse", "rmse", "mae", "median_absolute_error")
"""Few large errors make most of these, so their intervals are corrected for skewness; no made-up rows go into them."""

FORESEEN_ERRORS = ("log_loss", "brier")
"""Of these a model's probabilities say how large they can be, where the rows hold too few large ones to show it."""

SHARES_RIGHT = ("accuracy", "subset_accuracy")
"""The metrics by which a row is right or wrong as a whole: McNemar's test compares two models by them."""


@dataclass(frozen=True)
class Interval:
    """A score and the ends of its 95 % interval; None where they are not known."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """A model's score minus another's on the same rows, the ends of its 95 % interval, and the `test` of `p_value`.

    `p_value` is how often rows of two equally good models would show a difference so large or larger.
    """

    metric: str
    difference: float
    low: float | None
    high: float | None
    p_value: float
    test: str


def bootstrap_intervals(
    problem_type: str,
    logits: np.ndarray,
    targets: np.ndarray,
    *,
    names: Collection[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return the named metrics of a classifier with their intervals, in the order of `names`.

    `loss` may be named too: it is the log loss, of numbers the mean squared error. Names that `compute_metrics` does
    not return for these rows are left out.
    """
    sources = {_source_of(problem_type, name) for name in names}
    values = _add_loss(problem_type, compute_metrics(problem_type, logits, targets, only=sources))
    wanted = {name: _source_of(problem_type, name) for name in names if name in values}
    if not wanted:
        return {}
    resample = build_resample(problem_type, logits, targets, names=set(wanted.values()))
    drawn = draw_weights(len(targets), added=count_added(problem_type), seed=seed, resamples=resamples)
    found = _stack([resample(weights) for weights in drawn])
    bounds = {
        name: _bound(values[name], found[source], len(targets), corrected=source in MEAN_ERRORS)
        for name, source in wanted.items()
    }
    if problem_type == REGRESSION:
        return bounds
    probabilities = to_probabilities(problem_type, logits)
    for name, source in wanted.items():
        if source in FORESEEN_ERRORS:
            outlook = foresee_errors(problem_type, probabilities, source)
            bounds[name] = _reach_rare_errors(bounds[name], found[source], outlook)
        elif source == "ece":
            answers = judge_answers(problem_type, as_references(problem_type, targets), probabilities)
            bounds[name] = _reach_possible_gaps(bounds[name], *answers, seed=seed, resamples=resamples)
    return bounds


def mean_interval(sums: np.ndarray, counts: np.ndarray, *, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Return a ratio of sums with its interval, as a language model's loss over the blocks of a text.

    An increasing function of the ratio, as the perplexity, has the function of these ends for its interval.

    Args:
        sums: What each block adds above, (blocks,): its loss in nats.
        counts: What each block adds below, (blocks,), not all 0: its predicted tokens, or bytes.
        seed: Of the draws.
        resamples: How often the blocks are drawn.
    """
    columns = np.column_stack((sums, counts)).astype(np.float64)
    drawn = draw_weights(len(columns), added=0, seed=seed, resamples=resamples)
    above, below = np.concatenate([weights @ columns for weights in drawn]).T
    ratios = np.divide(above, below, out=np.full(len(below), np.nan), where=below != 0)
    total = columns.sum(axis=0)
    return _bound(float(total[0] / total[1]), ratios, len(columns), corrected=True)


def compare_paired(
    problem_type: str, logits: np.ndarray, other_logits: np.ndarray, targets: np.ndarray, *, metric: str, seed: int
) -> Comparison:
    """Return how much better the first model is by `metric`, its score minus the other's on the same rows.

    The test of a share of right rows is McNemar's in its exact form: of the rows that one model alone has right, as
    many should be either's. Any other metric is tested by the resamples that its interval comes from. `metric` is one
    that `compute_metrics` returns for these rows, or 'loss'.
    """
    check_shapes(problem_type, other_logits, targets)
    source = _source_of(problem_type, metric)
    both = [compute_metrics(problem_type, each, targets, only=(source,))[source] for each in (logits, other_logits)]
    first = build_resample(problem_type, logits, targets, names=(source,))
    second = build_resample(
        problem_type, other_logits, targets, names=(source,), right_of_added=RIGHT_OF_ADDED_TO_OTHER
    )
    drawn = draw_weights(len(targets), added=count_added(problem_type), seed=seed, resamples=RESAMPLES)
    pairs = ((first(weights)[source], second(weights)[source]) for weights in drawn)
    differences = np.concatenate([_add_gaps(mine) - _add_gaps(other) for mine, other in pairs])
    if source == "ece":  # chance adds to the error found, and once more to that of its resamples
        differences -= 2 * (differences.mean() - (both[0] - both[1]))
    if metric not in SHARES_RIGHT:
        return _compare(metric, both[0] - both[1], differences, len(targets))
    references = as_references(problem_type, targets)
    right = [_is_right(predict(problem_type, each), references) for each in (logits, other_logits)]
    interval = _bound(both[0] - both[1], differences, len(targets))
    return Comparison(metric, interval.value, interval.low, interval.high, mcnemar(*right), "exact McNemar test")


def compare_ratios(
    sums: np.ndarray, other_sums: np.ndarray, counts: np.ndarray, *, metric: str, seed: int
) -> Comparison:
    """Return how two models' ratios of sums over the same blocks differ, as their bits per byte; tested by resamples.

    The arguments are those of `mean_interval`, `other_sums` in the order of `sums`.
    """
    columns = np.column_stack((sums, other_sums, counts)).astype(np.float64)
    drawn = draw_weights(len(columns), added=0, seed=seed, resamples=RESAMPLES)
    first, second, below = np.concatenate([weights @ columns for weights in drawn]).T
    differences = np.divide(first - second, below, out=np.full(len(below), np.nan), where=below != 0)
    total = columns.sum(axis=0)
    return _compare(metric, float((total[0] - total[1]) / total[2]), differences, len(columns))


def mcnemar(right: np.ndarray, other_right: np.ndarray) -> float:
    """Return the p-value of McNemar's test in its exact form (1947) on which rows each of two models has right."""
    alone, other_alone = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    if alone + other_alone == 0:
        return 1.0
    return float(stats.binomtest(alone, alone + other_alone, 0.5).pvalue)


def _compare(metric: str, difference: float, differences: np.ndarray, rows: int) -> Comparison:
    interval = _bound(difference, differences, rows)
    p_value = 1.0 if interval.low is None else find_p_value(differences)
    return Comparison(metric, difference, interval.low, interval.high, p_value, "paired bootstrap")


def _is_right(predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
    same = predictions == references
    return same.all(axis=1) if same.ndim == 2 else same


def _add_loss(problem_type: str, values: dict[str, float]) -> dict[str, float]:
    source = _source_of(problem_type, "loss")
    return {**values, "loss": values[source]} if source in values else values


def _source_of(problem_type: str, name: str) -> str:
    """Return the name of the metric that is resampled for `name`."""
    if name != "loss":
        return name
    return "mse" if problem_type == REGRESSION else "log_loss"


def _stack(found: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def _add_gaps(values: np.ndarray) -> np.ndarray:
    """Return values (resamples,) as they are; of gaps (resamples, bins) the calibration error they add up to."""
    return np.abs(values).sum(axis=1) if values.ndim == 2 else values


def _bound(value: float, values: np.ndarray, rows: int, *, corrected: bool = False) -> Interval:
    """Return `value` with the interval its resamples give it, wide enough to hold it."""
    if values.ndim == 2:
        bounds = _bound_gaps(value, values, rows)
    else:
        bounds = find_bounds(values, rows, centre=value if corrected else None)
    if bounds is None:
        return Interval(value, None, None)
    return Interval(value, min(bounds[0], value), max(bounds[1], value))


def _reach_rare_errors(interval: Interval, means: np.ndarray, outlook: Outlook) -> Interval:
    """Return the interval with an upper end that errors too rare to be among the rows are below; see `rare_errors`."""
    if interval.high is None:
        return interval
    variance = len(outlook.means) * float(means.var())
    return replace(interval, high=max(interval.high, find_upper_end(interval.value, variance, outlook)))


def _reach_possible_gaps(
    interval: Interval, confidence: np.ndarray, outcomes: np.ndarray, *, seed: int, resamples: int
) -> Interval:
    """Return the interval of a calibration error with ends that these answers do not exclude; see `possible_gaps`."""
    if interval.low is None or interval.high is None:
        return interval
    is_chance = may_be_chance(interval.value, confidence, seed=seed, resamples=resamples)
    high = max(interval.high, find_largest_bias(confidence, outcomes))
    return replace(interval, low=0.0 if is_chance else interval.low, high=high)


def _bound_gaps(value: float, gaps: np.ndarray, rows: int) -> tuple[float, float] | None:
    """Return the ends of a calibration error's interval by the signed gaps (resamples, bins) of its bins.

    Chance makes gaps where there are none, so the error of a resample is larger than that of the rows, as that is
    larger than the truth; percentiles would move away from it. So the true gaps are taken for some part, or multiple,
    of those found, with the scatter that resamples show, and the interval holds all truths under which the error that
    was found is not among the 2.5 % largest or smallest (a test inverted: Carpenter 1999).
    """
    if rows < 2:
        return None
    centre = gaps.mean(axis=0)
    scatter, level = gaps - centre, find_level(rows)

    def find_share(end: float) -> float:
        """Return the multiple of the gaps at which `end` of the errors would be smaller than the one found."""
        low, high = 0.0, 2.0
        while high < 64 and np.quantile(np.abs(high * centre + scatter).sum(axis=1), end) < value:
            high *= 2
        for _ in range(30):
            middle = (low + high) / 2
            smaller = np.quantile(np.abs(middle * centre + scatter).sum(axis=1), end) < value
            low, high = (middle, high) if smaller else (low, middle)
        return low

    return find_share(1 - level) * value, min(1.0, find_share(level) * value)
