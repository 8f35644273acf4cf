"""Intervals: every metric of a resample equals the metric of the drawn rows; closed forms; what is not known."""

import math

import numpy as np
import pytest
from resampled_cases import make_predictions
from scipy import stats

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation.intervals import Interval, bootstrap_intervals, mean_interval
from hfpipe.evaluation.metrics import compute_metrics, find_metric_names
from hfpipe.evaluation.resampled_scores import build_resample, count_added
from hfpipe.evaluation.resampling import draw_weights, find_bounds, find_level, find_p_value

DRAWN_BY_SEED_1 = ((0, 0, 2, 2, 1, 1), (0, 3, 0, 1, 1, 1), (1, 1, 1, 1, 0, 2))
SHAPES = [(SINGLE_LABEL, 2), (SINGLE_LABEL, 4), (MULTI_LABEL, 1), (MULTI_LABEL, 3), (REGRESSION, 1)]


@pytest.mark.parametrize(("problem_type", "labels"), SHAPES)
def test_a_resample_has_the_metrics_of_the_rows_that_were_drawn(problem_type: str, labels: int) -> None:
    logits, targets = make_predictions(problem_type, 30, seed=5, labels=labels)
    names = find_metric_names(problem_type, labels)
    resample = build_resample(problem_type, logits, targets, names=names)
    counts = np.random.default_rng(6).integers(0, 4, (8, 30))
    counts[0] = 1
    found = resample(np.pad(counts, ((0, 0), (0, count_added(problem_type)))).astype(np.float64))
    for index, each in enumerate(counts):
        rows = np.repeat(np.arange(30), each)
        expected = compute_metrics(problem_type, logits[rows], targets[rows], only=set(names) - {"ece"})
        assert {name: found[name][index] for name in expected} == pytest.approx(expected, abs=1e-9), index
    if problem_type != REGRESSION:  # the bins are those of all rows
        everything = compute_metrics(problem_type, logits, targets)
        assert np.abs(found["ece"][0]).sum() == pytest.approx(everything["ece"])


def test_draws_are_those_of_this_seed_on_every_machine() -> None:
    (drawn,) = draw_weights(6, added=0, seed=1, resamples=3)
    assert drawn.tolist() == [list(map(float, row)) for row in DRAWN_BY_SEED_1]
    for resamples, rows in ((7, 100_000), (3, 40)):
        together = np.concatenate(list(draw_weights(rows, added=4, seed=2, resamples=resamples)))
        assert together.shape == (resamples, rows + 4)
        assert (together.sum(axis=1) == rows).all()


@pytest.mark.parametrize(("right", "rows"), [(40, 40), (36, 40), (93, 100), (50, 100), (880, 1000), (0, 30)])
def test_accuracy_has_the_interval_of_wilson(right: int, rows: int) -> None:
    targets = np.arange(rows) % 2
    predictions = np.where(np.arange(rows) < right, targets, 1 - targets)
    found = bootstrap_intervals(SINGLE_LABEL, np.eye(2)[predictions], targets, names=("accuracy",), seed=3)["accuracy"]
    wilson = stats.binomtest(right, rows).proportion_ci(method="wilson")
    exact = stats.binomtest(right, rows).proportion_ci(method="exact")
    assert found.value == right / rows
    assert found.low is not None and found.high is not None
    step = 1.6 / rows + 0.004  # shares of so many rows come in steps, and 1,000 resamples scatter
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=step)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=step + 0.5 / rows)


@pytest.mark.parametrize("problem_type", [SINGLE_LABEL, MULTI_LABEL])
def test_a_few_rows_without_a_mistake_prove_little(problem_type: str) -> None:
    targets = make_predictions(problem_type, 40, seed=1)[1]
    right = 8 * (np.eye(2)[targets] if problem_type == SINGLE_LABEL else targets) - 4
    names = set(find_metric_names(problem_type, 2)) - {"log_loss", "brier", "ece", "hamming_loss", "f1_samples"}
    for name, interval in bootstrap_intervals(problem_type, right, targets, names=names, seed=1).items():
        assert interval.low is not None and interval.value == 1.0, name
        assert 0.6 < interval.low < 0.985, name
        assert interval.high == 1.0


def test_a_label_that_is_never_predicted_stays_so() -> None:
    targets = np.arange(200) % 2
    found = bootstrap_intervals(
        SINGLE_LABEL, np.tile([1.0, 0.0], (200, 1)), targets, names=find_metric_names(SINGLE_LABEL, 2), seed=1
    )
    for name, value in {"precision": 0.0, "recall": 0.0, "f1": 0.0, "mcc": 0.0, "roc_auc": 0.5}.items():
        assert found[name] == Interval(value, pytest.approx(value, abs=0.002), pytest.approx(value, abs=0.002)), name


def test_every_interval_holds_its_score_and_depends_on_the_seed_alone() -> None:
    for problem_type, labels in SHAPES:
        logits, targets = make_predictions(problem_type, 60, seed=9, labels=labels)
        names = ("loss", *find_metric_names(problem_type, labels))
        found = bootstrap_intervals(problem_type, logits, targets, names=names, seed=4, resamples=200)
        assert found == bootstrap_intervals(problem_type, logits, targets, names=names, seed=4, resamples=200)
        assert found != bootstrap_intervals(problem_type, logits, targets, names=names, seed=5, resamples=200)
        assert tuple(found) == names
        for name, each in found.items():
            assert each.low is not None and each.high is not None and each.low <= each.value <= each.high, name
        values = compute_metrics(problem_type, logits, targets)
        assert {name: found[name].value for name in values} == values
        assert found["loss"].value == values["mse" if problem_type == REGRESSION else "log_loss"]


def test_nothing_is_known_of_a_single_row_nor_of_what_resamples_lack() -> None:
    one = bootstrap_intervals(SINGLE_LABEL, np.eye(2)[:1], np.array([0]), names=("accuracy", "ece"), seed=1)
    assert one == {"accuracy": Interval(1.0, None, None), "ece": Interval(pytest.approx(1 - 0.7310586), None, None)}
    assert bootstrap_intervals(SINGLE_LABEL, np.eye(2), np.array([0, 0]), names=("roc_auc", "r2"), seed=1) == {}
    assert mean_interval(np.array([3.0]), np.array([2.0]), seed=1) == Interval(1.5, None, None)
    values = np.where(np.arange(100) < 6, np.nan, 1.0)
    assert find_bounds(values, 50) is None
    values[5] = 1.0
    assert find_bounds(values, 50) is not None


def test_percentiles_go_further_out_for_few_rows() -> None:
    assert find_level(10**6) == pytest.approx(0.025, abs=1e-5)
    # Student's t of 9 degrees of freedom, and the rows' own variance divided by 9 instead of 10
    assert find_level(10) == pytest.approx(stats.norm.cdf(-2.2621572 * math.sqrt(10 / 9)))


def test_mean_of_many_blocks_has_the_interval_of_the_delta_method() -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(50, 200, 400).astype(np.float64)
    sums = counts * 0.7 + rng.normal(size=400) * np.sqrt(counts)
    ratio = sums.sum() / counts.sum()
    error = math.sqrt(((sums - ratio * counts) ** 2).sum()) / counts.sum()
    found = mean_interval(sums, counts, seed=1, resamples=4000)
    assert found == Interval(
        ratio, pytest.approx(ratio - 1.96 * error, rel=4e-3), pytest.approx(ratio + 1.96 * error, rel=4e-3)
    )


def test_corrected_percentiles_are_those_of_an_independent_implementation() -> None:
    values = np.random.default_rng(3).exponential(size=60)
    draws = np.concatenate(list(draw_weights(60, added=0, seed=1, resamples=4000))) @ values / 60
    found = find_bounds(draws, 10**9, centre=float(values.mean()))
    expected = stats.bootstrap((values,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(1))
    ends = expected.confidence_interval
    assert found == pytest.approx((ends.low, ends.high), abs=0.03)
    assert found[0] > np.quantile(draws, 0.025) + 0.01  # percentiles alone lie lower


def test_p_value_of_differences() -> None:
    assert find_p_value(np.ones(999)) == 2 / 1000
    assert find_p_value(np.where(np.arange(999) < 49, -1.0, 1.0)) == 2 * 50 / 1000
    assert find_p_value(np.zeros(999)) == 1.0
