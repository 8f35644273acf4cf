"""Metrics of probabilities by hand, against scikit-learn, and left out where the rows do not define them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation import multi_label, probabilities
from hfpipe.evaluation.metrics import compute_metrics
from hfpipe.evaluation.probabilities import assign_bins, find_undefined, to_probabilities

# The positive label's probability and the labels of six rows; the pair of 0.4 is a tie of both labels.
POSITIVE = np.array([0.9, 0.8, 0.4, 0.4, 0.3, 0.1])
LABELS = np.array([1, 0, 1, 0, 1, 0])
GIVEN = np.stack((1 - POSITIVE, POSITIVE), axis=1)


def test_ranking_of_two_labels_by_hand() -> None:
    # of 9 pairs the positive row ranks above in 3 + 1 + 1, and beside the other in one
    assert probabilities.roc_auc(LABELS, GIVEN) == pytest.approx(5.5 / 9)
    # precision at each place where positive rows stand: 1 of 1, 2 of 4 (a place of two), 3 of 5
    assert probabilities.average_precision(LABELS, GIVEN) == pytest.approx((1 / 1 + 2 / 4 + 3 / 5) / 3)


def test_losses_of_two_labels_by_hand() -> None:
    chosen = [0.9, 0.2, 0.4, 0.6, 0.3, 0.9]
    assert probabilities.log_loss(LABELS, GIVEN) == pytest.approx(-sum(map(math.log, chosen)) / 6)
    assert probabilities.brier(LABELS, GIVEN) == pytest.approx(sum((1 - each) ** 2 for each in chosen) / 6)
    # six rows are one bin: mean confidence 0.75 (0.9 0.8 0.6 0.6 0.7 0.9), three of six are right
    assert probabilities.ece(LABELS, GIVEN) == pytest.approx(0.75 - 3 / 6)


def test_more_labels_are_each_against_the_rest() -> None:
    references = np.array([0, 1, 2, 1, 0])
    given = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4], [0.6, 0.3, 0.1], [0.4, 0.4, 0.2]])
    expected = sklearn_metrics.roc_auc_score(references, given, multi_class="ovr", average="macro")
    assert probabilities.roc_auc(references, given) == pytest.approx(expected)
    once = np.eye(3)[references]
    expected = sklearn_metrics.average_precision_score(once, given, average="macro")
    assert probabilities.average_precision(references, given) == pytest.approx(expected)
    assert probabilities.brier(references, given) == pytest.approx(((given - once) ** 2).sum() / 5)


def test_several_labels_by_scikit_learn() -> None:
    references = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
    given = np.array([[0.9, 0.2, 0.5], [0.4, 0.5, 0.5], [0.3, 0.8, 0.1], [0.2, 0.1, 0.6]])
    for average in ("micro", "macro"):
        for name in ("roc_auc", "average_precision"):
            expected = getattr(sklearn_metrics, f"{name}_score")(references, given, average=average)
            assert getattr(multi_label, f"{name}_{average}")(references, given) == pytest.approx(expected)
    right = np.where(references == 1, given, 1 - given)
    assert multi_label.log_loss(references, given) == pytest.approx(-np.log(right).mean())
    assert multi_label.brier(references, given) == pytest.approx(((1 - right) ** 2).mean())
    assert multi_label.ece(references, given) == pytest.approx(abs(given.mean() - references.mean()))  # one bin


@settings(max_examples=25, deadline=None)
@given(data=st.data(), labels=st.integers(2, 4), rows=st.integers(4, 30))
def test_equal_to_scikit_learn(data: st.DataObject, labels: int, rows: int) -> None:
    logits = np.array(data.draw(st.lists(st.integers(-4, 4), min_size=rows * labels, max_size=rows * labels)))
    logits = logits.reshape(rows, labels).astype(np.float32)
    targets = np.array(data.draw(st.lists(st.integers(0, labels - 1), min_size=rows, max_size=rows)))
    targets[:labels] = np.arange(labels)
    found, given = compute_metrics(SINGLE_LABEL, logits, targets), to_probabilities(SINGLE_LABEL, logits)
    assert given == pytest.approx(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    assert found["log_loss"] == pytest.approx(sklearn_metrics.log_loss(targets, given))
    if labels == 2:
        assert found["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(targets, given[:, 1]))
        assert found["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(targets, given[:, 1]))
    else:
        assert found["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(targets, given, multi_class="ovr"))


def test_probabilities_of_logits_beyond_the_range_of_exp() -> None:
    assert to_probabilities(SINGLE_LABEL, np.array([[1000.0, 0.0]])).tolist() == [[1.0, 0.0]]
    assert to_probabilities(MULTI_LABEL, np.array([[1000.0, -1000.0, 0.0]])).tolist() == [[1.0, 0.0, 0.5]]


def test_calibration_error_of_bins_by_hand() -> None:
    # 40 rows: four bins of ten, confidence 0.6 0.7 0.8 0.9, of which 6 5 8 10 are right
    confidence, right = np.repeat([0.6, 0.7, 0.8, 0.9], 10), [6, 5, 8, 10]
    outcomes = np.concatenate([np.arange(10) < count for count in right]).astype(np.float64)
    assert np.bincount(assign_bins(confidence)).tolist() == [10, 10, 10, 10]
    assert probabilities.calibration_error(confidence, outcomes) == pytest.approx((0 + 0.2 + 0 + 0.1) / 4)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.integers(0, 40), min_size=1, max_size=400))
def test_bins_rise_and_never_part_equal_values(values: list[int]) -> None:
    confidence = np.array(values) / 40
    bins = assign_bins(confidence)
    assert len(np.unique(bins)) == bins.max() + 1 <= max(1, min(15, len(values) // 10))
    order = np.argsort(confidence, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert len({(value, each) for value, each in zip(values, bins.tolist(), strict=True)}) == len(set(values))
    distinct = assign_bins(np.arange(len(values)) / 1000)
    assert np.ptp(np.bincount(distinct)) <= 1


def test_what_rows_do_not_define_is_left_out() -> None:
    logits = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    ranking = {"roc_auc", "average_precision"}
    assert ranking <= compute_metrics(SINGLE_LABEL, logits, np.array([0, 1, 2])).keys()
    assert ranking.isdisjoint(compute_metrics(SINGLE_LABEL, logits, np.array([0, 1, 1])))
    assert find_undefined(SINGLE_LABEL, np.array([0, 1, 1]), 3) == ("roc_auc", "average_precision")
    nothing, everything = np.zeros((3, 3), dtype=np.int8), np.ones((3, 3), dtype=np.int8)
    of_all = {"roc_auc_micro", "roc_auc_macro", "average_precision_micro", "average_precision_macro"}
    for targets in (nothing, everything):
        assert set(find_undefined(MULTI_LABEL, targets, 3)) == of_all
        assert of_all.isdisjoint(compute_metrics(MULTI_LABEL, logits, targets))
    nothing[0, 0] = 1
    assert set(find_undefined(MULTI_LABEL, nothing, 3)) == {"roc_auc_macro", "average_precision_macro"}
    assert find_undefined(REGRESSION, np.zeros(3), 1) == ()


def test_logits_that_are_not_finite_have_no_probabilities() -> None:
    found = compute_metrics(SINGLE_LABEL, np.array([[np.nan, 0], [0, np.inf]]), np.array([0, 1]))
    assert "accuracy" in found
    assert {"roc_auc", "average_precision", "log_loss", "brier", "ece"}.isdisjoint(found)
