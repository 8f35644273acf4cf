"""Temperatures against what the logits were made with, a search by hand and a second optimiser; degenerate rows."""

import numpy as np
import pytest
from resampled_cases import make_predictions
from scipy import optimize

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation.calibration import HIGHEST, Calibration, apply_temperature, fit_temperature
from hfpipe.evaluation.metrics import compute_metrics


def make_overconfident(problem_type: str, temperature: float, *, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are true once they are divided by `temperature`, and labels drawn by them."""
    rng = np.random.default_rng(11)
    true = 1.5 * rng.normal(size=(rows, 3))
    if problem_type == MULTI_LABEL:
        return temperature * true, (rng.random((rows, 3)) < 1 / (1 + np.exp(-true))).astype(np.float32)
    return temperature * true, (true + rng.gumbel(size=(rows, 3))).argmax(axis=1)  # a draw from the softmax


@pytest.mark.parametrize("problem_type", [SINGLE_LABEL, MULTI_LABEL])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_the_temperature_logits_were_made_with_is_found(problem_type: str, temperature: float) -> None:
    logits, targets = make_overconfident(problem_type, temperature, rows=20_000)
    found = fit_temperature(problem_type, logits, targets)
    assert found.temperature == pytest.approx(temperature, rel=0.03)
    assert found.rows == 20_000
    assert found.ece_after < 0.01
    if temperature != 1.0:
        assert found.log_loss_after < found.log_loss_before
        assert found.ece_after < found.ece_before / 4


@pytest.mark.parametrize("problem_type", [SINGLE_LABEL, MULTI_LABEL])
def test_no_other_temperature_has_a_lower_log_loss(problem_type: str) -> None:
    logits, targets = make_predictions(problem_type, 50, seed=3, labels=3)

    def loss(temperature: float) -> float:
        return compute_metrics(problem_type, logits / temperature, targets, only=("log_loss",))["log_loss"]

    found = fit_temperature(problem_type, logits, targets)
    second = optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-7})
    assert found.temperature == pytest.approx(second.x, rel=1e-3)
    assert found.log_loss_after == pytest.approx(loss(found.temperature))
    assert all(found.log_loss_after <= loss(each) + 1e-12 for each in np.geomspace(0.02, 50, 60))


def test_predictions_stay_and_the_type_too() -> None:
    logits = make_predictions(SINGLE_LABEL, 50, seed=3, labels=3)[0].astype(np.float32)
    cooled = apply_temperature(logits, 1.7)
    assert cooled.dtype == np.float32
    assert (cooled.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert cooled == pytest.approx(logits / 1.7)


def test_rows_that_are_all_right_give_no_temperature() -> None:
    targets = np.arange(20) % 2
    found = fit_temperature(SINGLE_LABEL, 2 * np.eye(2)[targets], targets)
    assert found == Calibration(1.0, 20, *2 * (found.log_loss_before,), *2 * (found.ece_before,))
    assert fit_temperature(SINGLE_LABEL, np.zeros((20, 2)), targets).temperature == 1.0  # nothing to divide


def test_logits_that_are_worse_than_none_are_flattened() -> None:
    targets = np.arange(20) % 2
    found = fit_temperature(SINGLE_LABEL, 2 * np.eye(2)[1 - targets], targets)
    assert found.temperature == HIGHEST
    assert found.log_loss_after == pytest.approx(np.log(2), abs=0.02)


def test_numbers_have_none() -> None:
    with pytest.raises(AssertionError, match="numbers have no probabilities"):
        fit_temperature(REGRESSION, np.zeros((2, 1)), np.zeros(2))
