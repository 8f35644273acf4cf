"""Errors that are too rare to be among the rows: what a model foresees of them, and where an interval then ends."""

import math

import numpy as np
import pytest
from scipy import stats

from hfpipe.config.sections import MULTI_LABEL, SINGLE_LABEL
from hfpipe.evaluation.intervals import bootstrap_intervals
from hfpipe.evaluation.rare_errors import Outlook, find_upper_end, foresee_errors

P = np.array([[0.9, 0.1]])


def test_errors_are_foreseen_as_the_probabilities_say() -> None:
    brier = foresee_errors(SINGLE_LABEL, P, "brier")
    # 0.01 nine times in ten, else 0.81
    assert (brier.means.tolist(), brier.variances.tolist()) == ([pytest.approx(0.09)], [pytest.approx(0.0576)])
    losses = foresee_errors(SINGLE_LABEL, P, "log_loss")
    mean = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    square = 0.9 * math.log(0.9) ** 2 + 0.1 * math.log(0.1) ** 2
    assert losses.means[0] == pytest.approx(mean)
    assert losses.variances[0] == pytest.approx(square - mean**2)
    # of three labels all differences count: the right one 0.5 gives 0.25 + 0.09 + 0.04
    three = foresee_errors(SINGLE_LABEL, np.array([[0.5, 0.3, 0.2]]), "brier")
    assert three.means[0] == pytest.approx(0.5 * 0.38 + 0.3 * 0.78 + 0.2 * 0.98)
    assert (brier.largest, three.largest) == (1.0, 2.0)


def test_labels_of_a_row_are_foreseen_each_by_itself() -> None:
    several = foresee_errors(MULTI_LABEL, np.array([[0.1, 0.5]]), "brier")
    assert several.means[0] == pytest.approx((0.09 + 0.25) / 2)
    assert several.variances[0] == pytest.approx(0.0576 / 4)


def test_the_end_is_where_the_mean_found_would_be_among_the_smallest() -> None:
    outlook = Outlook(np.full(40, 0.1), np.full(40, 0.4), 36.0)
    end = find_upper_end(0.02, 0.001, outlook)
    size = (40 * 0.001 + 10 * 0.4) / (40 * 0.02 + 10 * 0.1)
    # in proportion to the mean, the scatter there is size * end
    assert (end - 0.02) / math.sqrt(size * end / 40) == pytest.approx(stats.t.ppf(0.975, 39))
    assert find_upper_end(0.02, 0.001, Outlook(outlook.means, outlook.variances, 0.1)) == 0.1
    certain = Outlook(np.zeros(40), np.zeros(40), 36.0)
    assert find_upper_end(0.0, 0.0, certain) == 0.0
    assert find_upper_end(0.3, 0.0, Outlook(np.ones(1), np.ones(1), 36.0)) == 0.3


@pytest.mark.parametrize("metric", ["loss", "log_loss", "brier"])
def test_forty_rows_without_a_mistake_prove_little(metric: str) -> None:
    targets = np.arange(40) % 2
    logits = np.stack([np.zeros(40), np.where(targets == 1, 4.0, -4.0)], axis=1)
    few = bootstrap_intervals(SINGLE_LABEL, logits, targets, names=(metric,), seed=1)[metric]
    assert few.high is not None and few.high > 4 * few.value
    many = bootstrap_intervals(SINGLE_LABEL, np.tile(logits, (100, 1)), np.tile(targets, 100), names=(metric,), seed=1)[
        metric
    ]
    assert many.high is not None and many.high < 2 * many.value
