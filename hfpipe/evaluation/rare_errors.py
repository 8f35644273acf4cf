"""The upper end of the interval of a mean error that rows without a large error would put too low.

Resamples of forty rows that are all right hold no mistake, though one in forty might come, and a mistake is most of a
log loss or Brier score. How large it would be the model itself says, by its probabilities. So the end is that of
Wilson's interval (1927), carried over to means: the largest mean under which the one found is not among the smallest
2.5 %, the scatter being what it would be there: in proportion to the mean, as of errors that are few and of one size.
The decision worth knowing: the size is that of the errors found, with ten rows as the model foresees them beside them.
Few rows take it from the model, hundreds from the rows, so a model that is wrong about itself has its say only where
there is no better. By simulation in `tests/unit/test_evaluation_coverage.py`; nothing is foreseen of numbers.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from hfpipe.config.sections import MULTI_LABEL
from hfpipe.evaluation.resampling import LEVEL

FORESEEN_ROWS = 10
_EPSILON = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Outlook:
    """The errors that a model foresees: mean and variance of each row's, (rows,), and the largest there can be."""

    means: np.ndarray
    variances: np.ndarray
    largest: float


def foresee_errors(problem_type: str, probabilities: np.ndarray, metric: str) -> Outlook:
    """Return what `metric`, 'log_loss' or 'brier', of each row would be if labels came as the probabilities say.

    `probabilities` are (rows, labels), those of `to_probabilities`. Several labels of a row are taken for independent.
    """
    if problem_type == MULTI_LABEL:
        means, variances = _foresee(np.stack((1 - probabilities, probabilities), axis=-1), metric)
        labels = probabilities.shape[1]
        return Outlook(means.mean(axis=1), variances.sum(axis=1) / labels**2, _find_largest(metric, 2))
    return Outlook(*_foresee(probabilities, metric), _find_largest(metric, probabilities.shape[1]))


def find_upper_end(value: float, variance: float, outlook: Outlook) -> float:
    """Return the largest mean that the rows leave possible; they have the mean `value`, and a `variance` by row."""
    rows = len(outlook.means)
    foreseen = outlook.variances.mean() + outlook.means.var()
    weight = rows * value + FORESEEN_ROWS * outlook.means.mean()
    if rows < 2 or weight <= 0:
        return value
    size = (rows * variance + FORESEEN_ROWS * foreseen) / weight
    reach = size * stats.t.ppf(1 - LEVEL, rows - 1) ** 2 / rows
    return float(min(value + reach / 2 + np.sqrt(value * reach + reach**2 / 4), outlook.largest))


def _foresee(probabilities: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of the error over the labels, the last axis, each coming with its probability."""
    if metric == "log_loss":
        errors = -np.log(np.maximum(probabilities, _EPSILON))
    elif probabilities.shape[-1] == 2:
        errors = (1 - probabilities) ** 2
    else:
        errors = (probabilities**2).sum(axis=-1, keepdims=True) - 2 * probabilities + 1
    means = (probabilities * errors).sum(axis=-1)
    return means, (probabilities * (errors - means[..., None]) ** 2).sum(axis=-1)


def _find_largest(metric: str, labels: int) -> float:
    if metric == "log_loss":
        return float(-np.log(_EPSILON))
    return 1.0 if labels == 2 else 2.0
