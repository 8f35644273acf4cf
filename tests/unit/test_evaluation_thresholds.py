"""Thresholds for each aim against trying all of them, ties and probabilities that differ in the last bit among them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfpipe.errors import ConfigError
from hfpipe.evaluation.thresholds import choose_thresholds

AIMS = ("f1", "precision_at_recall=0.8", "recall_at_precision=0.75", "cost=1:5", "cost=4:1")


def count_at(threshold: float, probabilities: np.ndarray, there: np.ndarray) -> tuple[int, int, int]:
    """Return right, falsely given and missed rows."""
    given_rows = probabilities >= threshold
    return int((given_rows & there).sum()), int((given_rows & ~there).sum()), int((~given_rows & there).sum())


def worth(aim: str, counts: tuple[int, int, int]) -> tuple[float, ...]:
    """Return what the aim is to make largest, the most important first."""
    right, falsely, missed = counts
    precision = right / (right + falsely) if right + falsely else 0.0
    recall = right / (right + missed) if right + missed else 0.0
    if aim == "f1":
        return (2 * right / (2 * right + falsely + missed) if right + falsely + missed else 0.0,)
    if aim.startswith("cost="):
        alarm, miss = map(float, aim.removeprefix("cost=").split(":"))
        return (-(alarm * falsely + miss * missed),)
    if aim.startswith("precision"):
        return (float(recall >= 0.8), precision, recall)
    return (1.0, recall, precision) if precision >= 0.75 else (0.0, precision, recall)


ROWS = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, aim=st.sampled_from(AIMS))
def test_no_threshold_serves_the_aim_better(rows: list[tuple[int, bool]], aim: str) -> None:
    probabilities, there = np.array([value / 12 for value, _ in rows]), np.array([label for _, label in rows])
    found = choose_thresholds(
        aim, np.stack((1 - probabilities, probabilities), axis=1), there.astype(int), ("no", "yes")
    )
    chosen = found.values["yes"]
    if not there.any() and not aim.startswith("cost"):
        assert chosen == 0.5
        return
    every = [0.0, *(value + 1e-6 for value in probabilities), 2.0]
    best = max(worth(aim, count_at(each, probabilities, there)) for each in every)
    assert worth(aim, count_at(chosen, probabilities, there)) == pytest.approx(best)
    right, falsely, missed = count_at(chosen, probabilities, there)
    assert found.reached["precision"] == pytest.approx(right / max(1, right + falsely))
    assert found.reached["recall"] == pytest.approx(right / max(1, right + missed))
    equal = [each for each in every if worth(aim, count_at(each, probabilities, there)) == pytest.approx(best)]
    if worth(aim, count_at(0.5, probabilities, there)) == pytest.approx(best):
        assert chosen == 0.5, equal


def test_each_label_has_its_own() -> None:
    given_rows = np.array([[0.9, 0.2], [0.7, 0.3], [0.6, 0.1], [0.2, 0.05]])
    targets = np.array([[1, 1], [1, 1], [0, 0], [0, 0]], dtype=np.float32)
    found = choose_thresholds("f1", given_rows, targets, ("a", "b"))
    assert found.aim == "f1"
    assert found.values == pytest.approx({"a": 0.65, "b": 0.15})
    assert found.reached == {f"{number}_{label}": 1.0 for label in "ab" for number in ("precision", "recall", "f1")}


def test_costs_move_the_threshold_and_are_told() -> None:
    # true probabilities: a miss that costs nine times a false alarm pays from one in ten on
    rng = np.random.default_rng(1)
    probabilities = rng.random(200_000)
    there = (rng.random(200_000) < probabilities).astype(int)
    given_rows = np.stack((1 - probabilities, probabilities), axis=1)
    found = choose_thresholds("cost=1:9", given_rows, there, ("no", "yes"))
    assert found.values["yes"] == pytest.approx(0.1, abs=0.02)
    _, falsely, missed = count_at(found.values["yes"], probabilities, there == 1)
    assert found.reached["cost"] == pytest.approx((falsely + 9 * missed) / 200_000)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.55, 0.6, 0.7, 0.8, 0.9])
def test_neighbours_in_the_last_bit_are_parted(kind: type[np.floating], value: float) -> None:
    low = kind(value)
    for _ in range(2):  # the mean of one of the two pairs is rounded down
        high = np.nextafter(low, kind(1))
        given_rows = np.array([[1 - high, high], [1 - low, low]], dtype=kind)
        threshold = choose_thresholds("f1", given_rows, np.array([1, 0]), ("no", "yes")).values["yes"]
        assert float(low) < threshold <= float(high)
        low = high


def test_a_precision_that_no_threshold_reaches_is_told() -> None:
    given_rows = np.array([[0.1, 0.9], [0.2, 0.8], [0.4, 0.6]])
    found = choose_thresholds("recall_at_precision=0.9", given_rows, np.array([0, 1, 0]), ("no", "yes"))
    assert found.reached["precision"] == 0.5


def test_more_labels_of_one_a_row_have_none() -> None:
    with pytest.raises(ConfigError, match="threshold_for: f1: thresholds are for 2 labels, or several labels a row"):
        choose_thresholds("f1", np.eye(3), np.arange(3), ("a", "b", "c"))
    with pytest.raises(ConfigError, match="threshold_for: 'f2': "):
        choose_thresholds("f2", np.eye(2), np.arange(2), ("a", "b"))
