"""Probabilities that mean what they say: a temperature fitted on validation rows.

Logits divided by one number above 0 keep their order, so no prediction changes, only how sure it is (Guo et al. 2017,
On Calibration of Modern Neural Networks). The number is where the log loss of the validation rows is lowest. The loss
is convex in 1 / temperature, so there is one such place, found where its slope is 0. Numbers that are predicted have no
probabilities and get none. The decision worth knowing: where every validation row is right, a lower temperature is
always better, down to certainty; that many rows do not show so much, so the temperature stays 1.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.evaluation.metrics import PROBABILITY_METRICS, as_references, check_shapes
from hfpipe.evaluation.probabilities import to_probabilities

LOWEST, HIGHEST = 0.01, 100.0
"""Temperatures between which the best is looked for."""


@dataclass(frozen=True)
class Calibration:
    """The temperature logits are divided by, and log loss and calibration error of the `rows` it was fitted on.

    It is 1 where none between 0.01 and 100 is better than all lower ones, and 100 where flatter is always better: the
    logits then say nothing of the labels.
    """

    temperature: float
    rows: int
    log_loss_before: float
    log_loss_after: float
    ece_before: float
    ece_after: float


def fit_temperature(problem_type: str, logits: np.ndarray, targets: np.ndarray) -> Calibration:
    """Return the temperature at which these rows, not of numbers and with finite logits, have the lowest log loss.

    Several labels a row share one temperature. The rows should be those of validation: of rows that were trained on the
    logits are surer than on any others.
    """
    check_shapes(problem_type, logits, targets)
    assert problem_type != REGRESSION and np.isfinite(logits).all(), (
        "numbers have no probabilities, nor what is infinite"
    )
    references, values = as_references(problem_type, targets), logits.astype(np.float64)
    temperature = _find_temperature(problem_type, values, references)
    before, after = (_judge(problem_type, each, references) for each in (values, values / temperature))
    return Calibration(temperature, len(targets), before[0], after[0], before[1], after[1])


def apply_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return the logits divided by the temperature, in their own type."""
    return (logits / temperature).astype(logits.dtype)


def _find_temperature(problem_type: str, logits: np.ndarray, references: np.ndarray) -> float:
    """Return the temperature where the slope of the log loss over 1 / temperature is 0; it rises throughout."""
    there = references if problem_type == MULTI_LABEL else np.eye(logits.shape[1])[references]

    def slope(sharpness: float) -> float:
        probabilities = to_probabilities(problem_type, sharpness * logits)
        return float(((probabilities - there) * logits).sum() / len(logits))

    flattest, sharpest = slope(1 / HIGHEST), slope(1 / LOWEST)
    if sharpest <= 0:  # also where all logits are equal, and no temperature changes anything
        return 1.0
    if flattest >= 0:
        return HIGHEST
    return 1 / float(optimize.brentq(slope, 1 / HIGHEST, 1 / LOWEST, xtol=1e-10))


def _judge(problem_type: str, logits: np.ndarray, references: np.ndarray) -> tuple[float, float]:
    probabilities, scores = to_probabilities(problem_type, logits), PROBABILITY_METRICS[problem_type]
    return scores["log_loss"](references, probabilities), scores["ece"](references, probabilities)
