"""Calibration errors of few rows: what chance makes where there is none, and how far off the rows leave possible."""

import math

import numpy as np
import pytest

from hfpipe.config.sections import MULTI_LABEL, SINGLE_LABEL
from hfpipe.evaluation.intervals import Interval, bootstrap_intervals
from hfpipe.evaluation.possible_gaps import find_chance_errors, find_largest_bias, may_be_chance

DRAWS = 4_000
Z = 1.959964


def test_errors_that_chance_makes_are_those_of_tosses() -> None:
    # two answers in one bin: both, one or none of them true, 9, 6 and 1 of 16 times; a quarter off, or three
    errors = find_chance_errors(np.full(2, 0.75), seed=1, resamples=DRAWS)
    assert errors.shape == (DRAWS,)
    assert set(errors) == {0.25, 0.75}
    assert (errors == 0.75).mean() == pytest.approx(1 / 16, abs=0.015)  # four standard errors
    assert errors.tolist() == find_chance_errors(np.full(2, 0.75), seed=1, resamples=DRAWS).tolist()
    # two bins of ten, in any order: their errors do not cancel
    apart = np.tile([0.0, 0.5], 10)
    halves = find_chance_errors(apart, seed=1, resamples=DRAWS) * 20  # how far from 5 of 10 tosses
    assert set(halves) <= {0, 1, 2, 3, 4, 5}
    assert (halves == 0).mean() == pytest.approx(math.comb(10, 5) / 2**10, abs=0.03)


def test_the_largest_bias_is_that_of_wilsons_interval() -> None:
    # all of 40 are true: at least 40 in 40 + z**2
    sure = find_largest_bias(np.full(40, 0.98), np.ones(40))
    assert sure == pytest.approx(0.98 - 40 / (40 + Z**2), abs=1e-6)
    assert find_largest_bias(np.full(40, 0.02), np.zeros(40)) == pytest.approx(sure)
    # one half of 4: 1/2 -+ z/2 * sqrt(1/4 * 4 + z**2/4) / (4 + z**2), further from what is below the middle
    reach = Z * math.sqrt(1 + Z**2 / 4) / (4 + Z**2)
    assert find_largest_bias(np.full(4, 0.4), np.array([0.0, 1.0, 1.0, 0.0])) == pytest.approx(0.1 + reach)
    assert find_largest_bias(np.full(20, 0.4), np.arange(20) % 2.0) == 0  # ten of either kind


def interval_of_forty(confidence: float) -> Interval:
    """Return that of the calibration error of 40 answers that are all right, and all as sure."""
    logits = np.array([[math.log(confidence / (1 - confidence)), 0.0]])
    rows = np.repeat(logits, 40, axis=0)
    return bootstrap_intervals(SINGLE_LABEL, rows, np.zeros(40, dtype=np.int64), names=("ece",), seed=1)["ece"]


def test_forty_rows_without_a_mistake_do_not_show_what_the_error_is() -> None:
    # none of 40 is wrong 45 times in 100 where one in 50 is; but once in 7,500 where one in 5 is
    assert interval_of_forty(0.98) == Interval(
        pytest.approx(0.02), 0.0, pytest.approx(0.98 - 40 / (40 + Z**2), abs=1e-6)
    )
    assert not may_be_chance(0.2, np.full(40, 0.8), seed=1, resamples=DRAWS)
    assert interval_of_forty(0.8) == Interval(pytest.approx(0.2), pytest.approx(0.2), pytest.approx(0.2))


def test_answers_of_several_labels_count_one_by_one() -> None:
    logits, targets = np.zeros((9, 2)), np.tile([1.0, 0.0], (9, 1)).astype(np.float32)
    found = bootstrap_intervals(MULTI_LABEL, logits, targets, names=("ece",), seed=1)["ece"]
    reach = Z * math.sqrt(4.5 + Z**2 / 4) / (18 + Z**2)  # of 9 in 18, about one half
    assert found == Interval(0.0, 0.0, pytest.approx(reach))
