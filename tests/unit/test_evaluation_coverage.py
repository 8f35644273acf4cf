"""Coverage by simulation: how many 95 % intervals hold the truth, how wide they are, how often tests err.

Rows come from models whose true scores are known in closed form, or from very many rows. The fast set draws little and
catches a wrong formula; the slow one pins the figures of docs/evaluation.md.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation.intervals import bootstrap_intervals, compare_paired, mean_interval
from hfpipe.evaluation.metrics import compute_metrics

SEED = 20_000
FEW, FEW_RESAMPLES = 200, 300
MANY = 2_000
ROWS_OF_THE_TRUTH = 200_000

# Of 200 intervals that hold the truth with a probability of 0.95, fewer than 180 do once in 500. Of 2,000, 1,870 and
# more do but for once in a thousand; means of skewed errors come short of that (0.93 of a hundred rows), and rankings
# of few rows, to which rows are added, exceed it (0.97 to 0.99): their intervals are too wide rather than too narrow.
# So are those of nearly perfect rows (0.98 to 1), for which mistakes that are not among them are foreseen (without:
# 0.74, of calibration errors 0.91 and 0.68), and which are as wide as that takes.
FEW_HELD, MANY_HELD = (0.90, 1.0), (0.92, 1.0)
WIDEST = {"nearly perfect": 1.5, "nearly perfect, calibrated": 2.1, "nearly perfect, too sure": 1.65}

Rows = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def two_labels(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Evidence is normal about 1 or -1, logits are its true log odds: perfectly calibrated."""
    targets = (rng.random(rows) < 0.5).astype(np.int64)
    evidence = rng.normal(size=rows) + 2 * targets - 1
    return np.stack((np.zeros(rows), 2 * evidence), axis=1), targets


def nearly_perfect(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Of forty such rows one is wrong on average, and of four in ten samples of them none."""
    targets = (rng.random(rows) < 0.5).astype(np.int64)
    evidence = rng.normal(size=rows) + 4 * targets - 2
    return np.stack((np.zeros(rows), 4 * evidence), axis=1), targets


def overconfident(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    logits, targets = two_labels(rng, rows)
    return 3 * logits, targets


def too_sure(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """As nearly perfect, and foreseeing next to no mistake."""
    logits, targets = nearly_perfect(rng, rows)
    return 3 * logits, targets


def three_labels(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    targets = rng.choice(3, rows, p=(0.5, 0.3, 0.2))
    return rng.normal(size=(rows, 3)) + 1.5 * np.eye(3)[targets], targets


def several_labels(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels go together in a row, as topics do."""
    shared = rng.normal(size=(rows, 1))
    targets = (rng.normal(size=(rows, 4)) + shared > 1).astype(np.float32)
    return rng.normal(size=(rows, 4)) + 2 * targets - 1.2 + 0.3 * shared, targets


def numbers(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    targets = rng.normal(size=rows)
    return (0.8 * targets + rng.normal(size=rows) / 2 + 0.2)[:, None], targets


ACCURACY_OF_TWO = {"accuracy": stats.norm.cdf(1), "roc_auc": stats.norm.cdf(math.sqrt(2))}


@dataclass(frozen=True)
class Case:
    """Rows of a problem, the metrics whose intervals are looked at, and those of their truths in closed form."""

    problem_type: str
    make: Rows
    rows: int
    names: tuple[str, ...]
    known: Mapping[str, float]


CASES = {
    "two labels": Case(
        SINGLE_LABEL,
        two_labels,
        100,
        ("accuracy", "f1", "mcc", "roc_auc", "average_precision", "log_loss", "brier"),
        ACCURACY_OF_TWO,
    ),
    "nearly perfect": Case(SINGLE_LABEL, nearly_perfect, 40, ("log_loss", "brier"), {}),
    "nearly perfect, calibrated": Case(SINGLE_LABEL, nearly_perfect, 40, ("ece",), {"ece": 0.0}),
    "nearly perfect, too sure": Case(SINGLE_LABEL, too_sure, 40, ("ece",), {}),
    "overconfident": Case(SINGLE_LABEL, overconfident, 200, ("ece", "log_loss", "accuracy"), ACCURACY_OF_TWO),
    "three labels": Case(SINGLE_LABEL, three_labels, 150, ("f1_macro", "balanced_accuracy", "roc_auc", "brier"), {}),
    "several labels": Case(MULTI_LABEL, several_labels, 100, ("f1_micro", "f1_macro", "subset_accuracy"), {}),
    "numbers": Case(REGRESSION, numbers, 200, ("rmse", "mae", "pearson", "spearman", "median_absolute_error"),
                    {"rmse": math.sqrt(0.33), "pearson": 0.8 / math.sqrt(0.89)}),
}  # fmt: skip


def simulate(case: Case, count: int, resamples: int) -> dict[str, tuple[float, float]]:
    """Return by metric the share of intervals that hold the truth, and their width by that of the scores' scatter."""
    logits, targets = case.make(np.random.default_rng(SEED), ROWS_OF_THE_TRUTH)
    unknown = set(case.names) - case.known.keys()
    truth = {**compute_metrics(case.problem_type, logits, targets, only=unknown), **case.known}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in case.names}
    for seed in range(count):
        logits, targets = case.make(np.random.default_rng(SEED + 1 + seed), case.rows)
        drawn = bootstrap_intervals(
            case.problem_type, logits, targets, names=case.names, seed=seed, resamples=resamples
        )
        for name, each in drawn.items():
            assert each.low is not None and each.high is not None
            found[name].append((each.value, each.low, each.high))
    shares = {}
    for name, rows in found.items():
        values, low, high = np.array(rows).T
        width = float((high - low).mean() / (2 * stats.norm.ppf(0.975) * values.std()))
        shares[name] = float(((low <= truth[name]) & (truth[name] <= high)).mean()), width
    return shares


@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("two labels", ("accuracy", "f1", "roc_auc", "log_loss")),
        ("nearly perfect", ("log_loss", "brier")),
        ("nearly perfect, calibrated", ("ece",)),
        ("nearly perfect, too sure", ("ece",)),
        ("overconfident", ("ece",)),
        ("several labels", ("f1_micro",)),
        ("numbers", ("rmse", "pearson")),
    ],
)
def test_intervals_hold_the_truth_and_are_no_wider_than_need_be(case: str, names: tuple[str, ...]) -> None:
    found = simulate(replace(CASES[case], names=names), FEW, FEW_RESAMPLES)
    assert {name: held for name, (held, _) in found.items() if not FEW_HELD[0] <= held <= FEW_HELD[1]} == {}
    assert {name: width for name, (_, width) in found.items() if not 0.8 < width < WIDEST.get(case, 1.4)} == {}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_truth_nineteen_times_in_twenty(case: str) -> None:
    found = simulate(CASES[case], MANY, 1_000)
    assert {name: held for name, (held, _) in found.items() if not MANY_HELD[0] <= held <= MANY_HELD[1]} == {}
    assert {name: width for name, (_, width) in found.items() if not 0.9 < width < WIDEST.get(case, 1.35)} == {}


def test_no_calibration_error_is_found_where_there_is_none() -> None:
    held = 0
    for seed in range(60):
        logits, targets = two_labels(np.random.default_rng(SEED + seed), 500)
        found = bootstrap_intervals(SINGLE_LABEL, logits, targets, names=("ece",), seed=seed, resamples=300)["ece"]
        assert found.value > 0  # chance alone
        held += found.low == 0
    assert held >= 53  # 0.975 of 60 is at most 52 once in 10,000


def hold_ratio(count: int) -> float:
    """Return the share of intervals that hold the loss per byte of texts whose blocks differ in size and loss."""
    held = 0
    for seed in range(count):
        rng = np.random.default_rng(SEED + seed)
        sizes = rng.integers(300, 600, 60).astype(np.float64)
        losses = sizes * rng.gamma(20, 0.8 / 20, 60)  # 0.8 nats a byte
        interval = mean_interval(losses, sizes, seed=seed, resamples=500)
        assert interval.low is not None and interval.high is not None
        held += interval.low <= 0.8 <= interval.high
    return held / count


def test_loss_per_byte_is_held() -> None:
    assert FEW_HELD[0] <= hold_ratio(FEW) <= 0.99


@pytest.mark.slow
def test_loss_per_byte_is_held_nineteen_times_in_twenty() -> None:
    assert 0.935 <= hold_ratio(MANY) <= 0.965


def reject(count: int, metric: str) -> float:
    """Return the share of tests that tell two models apart that are equally good, each wrong in its own way."""
    rejected = 0
    for seed in range(count):
        rng = np.random.default_rng(SEED + seed)
        logits, targets = two_labels(rng, 100)
        first, second = (logits + rng.normal(size=logits.shape) for _ in range(2))
        rejected += compare_paired(SINGLE_LABEL, first, second, targets, metric=metric, seed=seed).p_value < 0.05
    return rejected / count


# 0.05 of 100 is at most 13 but for once in a thousand
@pytest.mark.parametrize("metric", ["accuracy", "f1", "log_loss"])
def test_equal_models_are_rarely_told_apart(metric: str) -> None:
    assert reject(100, metric) <= 0.13


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "at_most"), [("accuracy", 0.065), ("f1", 0.065), ("roc_auc", 0.065), ("log_loss", 0.065), ("ece", 0.11)]
)
def test_equal_models_are_told_apart_once_in_twenty_at_most(metric: str, at_most: float) -> None:
    assert reject(MANY, metric) <= at_most
