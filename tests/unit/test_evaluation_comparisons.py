"""Two models on the same rows: McNemar in closed form, differences against Student's and DeLong's, consistency."""

import math

import numpy as np
import pytest
from resampled_cases import make_predictions
from scipy import stats

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation.intervals import Comparison, compare_paired, compare_ratios, mcnemar


def make_pair(rows: int, *, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the logits of a model, those of one that is `noise` worse, and the targets."""
    logits, targets = make_predictions(SINGLE_LABEL, rows, seed=seed)
    return logits, logits + noise * np.random.default_rng(seed + 1).normal(size=logits.shape), targets


@pytest.mark.parametrize(("alone", "other_alone"), [(5, 0), (9, 2), (3, 3), (0, 0), (40, 12)])
def test_mcnemar_is_a_sum_of_binomials(alone: int, other_alone: int) -> None:
    right = np.array([True] * alone + [False] * other_alone + [True] * 20 + [False] * 4)
    other = np.array([False] * alone + [True] * other_alone + [True] * 20 + [False] * 4)
    both, fewer = alone + other_alone, min(alone, other_alone)
    expected = min(1.0, 2 * sum(math.comb(both, count) for count in range(fewer + 1)) / 2**both)
    assert mcnemar(right, other) == pytest.approx(expected)


def test_accuracy_of_two_models() -> None:
    logits, other, targets = make_pair(400, noise=1.5, seed=3)
    found = compare_paired(SINGLE_LABEL, logits, other, targets, metric="accuracy", seed=1)
    right, other_right = logits.argmax(axis=1) == targets, other.argmax(axis=1) == targets
    alone, other_alone = (right & ~other_right).mean(), (other_right & ~right).mean()
    assert found.test == "exact McNemar test"
    assert found.p_value == mcnemar(right, other_right)
    assert found.difference == pytest.approx(alone - other_alone)
    # Wald's interval of a paired difference; the added rows pull it a little towards 0
    error = math.sqrt((alone + other_alone - (alone - other_alone) ** 2) / 400)
    wald = (found.difference - 1.96 * error, found.difference + 1.96 * error)
    assert (found.low, found.high) == pytest.approx(wald, abs=0.007)


def test_loss_of_two_models_is_that_of_a_paired_t_test() -> None:
    logits, targets = make_predictions(REGRESSION, 200, seed=4)
    other = logits + 0.25 * np.random.default_rng(1).normal(size=logits.shape)
    found = compare_paired(REGRESSION, logits, other, targets, metric="mse", seed=1)
    test = stats.ttest_rel((logits[:, 0] - targets) ** 2, (other[:, 0] - targets) ** 2)
    ends = test.confidence_interval()
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), abs=0.012)
    assert found.p_value == pytest.approx(test.pvalue, abs=0.02)
    assert found.test == "paired bootstrap"


def delong_error(logits: np.ndarray, other: np.ndarray, targets: np.ndarray) -> float:
    """Return the standard error of the difference of two areas under the ROC curve (DeLong et al. 1988)."""
    shares = []
    for each in (logits, other):
        margin = each[:, 1] - each[:, 0]
        above = margin[targets == 1][:, None] - margin[targets == 0][None, :]
        wins = (above > 0) + (above == 0) / 2
        shares.append((wins.mean(axis=1), wins.mean(axis=0)))
    sides = [first - second for first, second in zip(*shares, strict=True)]
    return math.sqrt(sum(side.var(ddof=1) / len(side) for side in sides))


def test_area_of_two_models_scatters_as_delong_says() -> None:
    logits, other, targets = make_pair(500, noise=1.0, seed=8)
    found = compare_paired(SINGLE_LABEL, logits, other, targets, metric="roc_auc", seed=1)
    assert found.low is not None and found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * delong_error(logits, other, targets), rel=0.1)


@pytest.mark.parametrize(
    ("problem_type", "metric"),
    [(SINGLE_LABEL, "f1_macro"), (SINGLE_LABEL, "ece"), (SINGLE_LABEL, "loss"), (MULTI_LABEL, "f1_micro"),
     (MULTI_LABEL, "subset_accuracy"), (MULTI_LABEL, "roc_auc_macro"), (REGRESSION, "spearman")],
)  # fmt: skip
def test_a_model_is_as_good_as_itself_and_the_order_turns_the_sign(problem_type: str, metric: str) -> None:
    logits, targets = make_predictions(problem_type, 80, seed=2)
    same = compare_paired(problem_type, logits, logits, targets, metric=metric, seed=1)
    assert (same.difference, same.p_value) == (0.0, 1.0)
    assert same.low is not None and same.high is not None and same.low <= 0 <= same.high
    other = logits + np.random.default_rng(1).normal(size=logits.shape)
    there = compare_paired(problem_type, logits, other, targets, metric=metric, seed=1)
    back = compare_paired(problem_type, other, logits, targets, metric=metric, seed=1)
    assert there.difference == -back.difference
    assert there.low is not None and there.high is not None and back.low is not None
    assert there.low == pytest.approx(-back.high, abs=0.03)
    assert there.p_value == pytest.approx(back.p_value, abs=0.05)


def test_interval_and_p_value_say_the_same() -> None:
    for seed in range(12):
        logits, other, targets = make_pair(60, noise=0.8, seed=seed)
        found = compare_paired(SINGLE_LABEL, logits, other, targets, metric="log_loss", seed=seed)
        assert found.low is not None and found.high is not None
        leaves_out = found.low > 0 or found.high < 0
        assert leaves_out == (found.p_value < 0.05) or 0.03 < found.p_value < 0.07


def test_bits_per_byte_of_two_models() -> None:
    rng = np.random.default_rng(5)
    counts = rng.integers(80, 120, 300).astype(np.float64)
    sums = counts + rng.normal(size=300) * 20
    worse = sums + 2 + rng.normal(size=300) * 5
    found = compare_ratios(sums, worse, counts, metric="bits_per_byte", seed=1)
    test = stats.ttest_1samp((sums - worse) / counts.mean(), 0)
    ends = test.confidence_interval()
    assert found == Comparison(
        "bits_per_byte",
        pytest.approx((sums - worse).sum() / counts.sum()),
        pytest.approx(ends.low, abs=1e-3),
        pytest.approx(ends.high, abs=1e-3),
        2 / 1001,
        "paired bootstrap",
    )


def test_a_single_row_decides_nothing() -> None:
    found = compare_paired(SINGLE_LABEL, np.eye(2)[:1], np.eye(2)[1:], np.array([0]), metric="log_loss", seed=1)
    assert (found.low, found.high, found.p_value) == (None, None, 1.0)
