"""Metrics against values worked out by hand and against scikit-learn's own calls."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from hfpipe.config.plan import METRICS
from hfpipe.config.sections import MULTI_LABEL, PRETRAIN, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation.language_metrics import language_model_metrics
from hfpipe.evaluation.metrics import (
    BINARY,
    CLASSIFICATION,
    PREDICTION_METRICS,
    PROBABILITY_METRICS,
    ClassScore,
    compute_metrics,
    find_metric_names,
    per_class_table,
)


def of_predictions(found: dict[str, float], problem_type: str) -> dict[str, float]:
    """Return the metrics that judge predicted labels; test_evaluation_probabilities.py has the others."""
    assert found.keys() <= PREDICTION_METRICS[problem_type].keys() | PROBABILITY_METRICS[problem_type].keys()
    return {name: value for name, value in found.items() if name in PREDICTION_METRICS[problem_type]}


def one_hot(predictions: list[int], labels: int) -> np.ndarray:
    return np.eye(labels, dtype=np.float32)[predictions]


# Confusion of the two-label example: 3 true positives, 1 false positive, 2 false negatives, 4 true negatives.
REFERENCES = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
PREDICTIONS = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]


def test_two_labels_by_hand() -> None:
    found = compute_metrics(SINGLE_LABEL, one_hot(PREDICTIONS, 2), np.array(REFERENCES))
    f1_of_0, f1_of_1 = 2 * 4 / (2 * 4 + 2 + 1), 2 * 3 / (2 * 3 + 1 + 2)
    assert of_predictions(found, SINGLE_LABEL) == pytest.approx(
        {
            "accuracy": 7 / 10,
            "balanced_accuracy": (3 / 5 + 4 / 5) / 2,
            "precision_macro": (3 / 4 + 4 / 6) / 2,
            "recall_macro": (3 / 5 + 4 / 5) / 2,
            "f1_macro": (f1_of_0 + f1_of_1) / 2,
            "precision_weighted": (5 * 3 / 4 + 5 * 4 / 6) / 10,
            "recall_weighted": 7 / 10,
            "f1_weighted": (5 * f1_of_0 + 5 * f1_of_1) / 10,
            "mcc": (3 * 4 - 1 * 2) / math.sqrt((3 + 1) * (3 + 2) * (4 + 1) * (4 + 2)),
            "precision": 3 / 4,
            "recall": 3 / 5,
            "f1": f1_of_1,
        }
    )


def test_three_labels_have_no_positive_one() -> None:
    found = compute_metrics(SINGLE_LABEL, one_hot([0, 1, 2, 2], 3), np.array([0, 1, 2, 1]))
    assert set(of_predictions(found, SINGLE_LABEL)) == set(CLASSIFICATION)
    assert found["accuracy"] == 0.75
    assert found["precision_macro"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert found["recall_macro"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found["f1_macro"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert found["f1_weighted"] == pytest.approx((1 + 2 * 2 / 3 + 2 / 3) / 4)


def test_class_only_predicted_counts_as_zero_and_class_in_neither_does_not_count() -> None:
    found = compute_metrics(SINGLE_LABEL, one_hot([0, 1], 4), np.array([0, 0]))
    assert found["recall_macro"] == pytest.approx((1 / 2 + 0) / 2)
    assert found["precision_macro"] == pytest.approx((1 + 0) / 2)
    assert found["balanced_accuracy"] == 0.5  # classes of the references only
    assert found["f1_macro"] == pytest.approx((2 / 3 + 0) / 2)


def test_constant_answers() -> None:
    found = compute_metrics(SINGLE_LABEL, one_hot([0, 0, 0], 2), np.array([0, 0, 0]))
    assert found["accuracy"] == 1.0
    assert found["mcc"] == 0.0
    assert (found["precision"], found["recall"], found["f1"]) == (0.0, 0.0, 0.0)


def test_one_row_and_ties_take_the_lowest_label() -> None:
    found = compute_metrics(SINGLE_LABEL, np.zeros((1, 3), dtype=np.float32), np.array([0]))
    assert found["accuracy"] == 1.0


def test_empty_and_misshapen_are_our_own_mistakes() -> None:
    with pytest.raises(AssertionError, match="no metric is defined on no rows"):
        compute_metrics(SINGLE_LABEL, np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    with pytest.raises(AssertionError, match="one row of scores for every row of targets"):
        compute_metrics(SINGLE_LABEL, np.zeros((2, 2)), np.zeros(3, dtype=np.int64))


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_equal_to_scikit_learn(rows: list[tuple[int, int]]) -> None:
    references, predictions = (np.array(column) for column in zip(*rows, strict=True))
    found = compute_metrics(SINGLE_LABEL, one_hot(predictions.tolist(), 4), references)
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(references, predictions),
        "precision_macro": sklearn_metrics.precision_score(references, predictions, average="macro", zero_division=0),
        "recall_macro": sklearn_metrics.recall_score(references, predictions, average="macro", zero_division=0),
        "f1_macro": sklearn_metrics.f1_score(references, predictions, average="macro", zero_division=0),
        "f1_weighted": sklearn_metrics.f1_score(references, predictions, average="weighted", zero_division=0),
    }
    # Where these do not hold scikit-learn's two functions warn; the values are those of the tests by hand.
    several = len(set(predictions) | set(references)) > 1
    if several and set(predictions) <= set(references):
        expected["balanced_accuracy"] = sklearn_metrics.balanced_accuracy_score(references, predictions)
    if several:
        expected["mcc"] = sklearn_metrics.matthews_corrcoef(references, predictions)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_names_are_those_computed() -> None:
    judged = tuple(PROBABILITY_METRICS[SINGLE_LABEL])
    assert find_metric_names(SINGLE_LABEL, 2) == (*CLASSIFICATION, *BINARY, *judged)
    assert find_metric_names(SINGLE_LABEL, 3) == (*CLASSIFICATION, *judged)
    for problem_type, count in ((SINGLE_LABEL, 2), (SINGLE_LABEL, 3), (MULTI_LABEL, 2), (MULTI_LABEL, 5)):
        targets = np.arange(count) if problem_type == SINGLE_LABEL else np.eye(count)
        found = compute_metrics(problem_type, np.zeros((count, count)), targets)
        assert tuple(found) == find_metric_names(problem_type, count)
    assert tuple(compute_metrics(REGRESSION, np.zeros((1, 1)), np.zeros(1))) == find_metric_names(REGRESSION, 1)
    assert tuple(language_model_metrics(1.0, 1, 1)) == METRICS[PRETRAIN]


def test_only_those_asked_for_are_computed() -> None:
    logits, targets = one_hot(PREDICTIONS, 2), np.array(REFERENCES)
    everything = compute_metrics(SINGLE_LABEL, logits, targets)
    assert compute_metrics(SINGLE_LABEL, logits, targets, only=("ece", "accuracy", "perplexity")) == {
        "accuracy": everything["accuracy"],
        "ece": everything["ece"],
    }


def test_metrics_to_choose_the_best_model_by_are_those_computed() -> None:
    for problem_type in (SINGLE_LABEL, MULTI_LABEL, REGRESSION):  # the loss is the objective's
        known = (*PREDICTION_METRICS[problem_type], *PROBABILITY_METRICS[problem_type])
        assert METRICS[problem_type] == ("loss", *known)


def test_table_by_class() -> None:
    scores, label_ids = one_hot([0, 1, 1], 3), np.array([0, 0, 1])
    table = per_class_table(SINGLE_LABEL, scores, label_ids, label_names=("bad", "good", "odd"))
    assert table == (
        ClassScore("bad", precision=1.0, recall=0.5, f1=pytest.approx(2 / 3), support=2),
        ClassScore("good", precision=0.5, recall=1.0, f1=pytest.approx(2 / 3), support=1),
        ClassScore("odd", precision=0.0, recall=0.0, f1=0.0, support=0),
    )


# Rows of three labels; the third label is in no row, and the last row has none.
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32)
LOGITS = np.array([[0.0, -1, -1], [2, -2, -1], [1, 3, 1], [-1, -1, -9]], dtype=np.float32)


def test_several_labels_by_hand() -> None:
    # answers 100, 100, 111, 000: a logit of 0 is a probability of one half, which is enough
    found = compute_metrics(MULTI_LABEL, LOGITS, LABELS)
    f1_of_first, f1_of_second = 2 * 2 / (2 * 2 + 1), 2 * 1 / (2 * 1 + 1)
    assert of_predictions(found, MULTI_LABEL) == pytest.approx(
        {
            "subset_accuracy": 2 / 4,
            "hamming_loss": 3 / 12,
            "precision_micro": 3 / 5,
            "recall_micro": 3 / 4,
            "f1_micro": 2 * 3 / (2 * 3 + 2 + 1),
            "precision_macro": (2 / 3 + 1 + 0) / 3,
            "recall_macro": (1 + 1 / 2 + 0) / 3,
            "f1_macro": (f1_of_first + f1_of_second + 0) / 3,
            "precision_weighted": (2 * 2 / 3 + 2 * 1) / 4,
            "recall_weighted": 3 / 4,
            "f1_weighted": (2 * f1_of_first + 2 * f1_of_second) / 4,
            "f1_samples": (1 + 2 / 3 + 1 / 2 + 0) / 4,
        }
    )


def test_a_single_label_that_may_be_there_is_no_class_against_another() -> None:
    found = compute_metrics(MULTI_LABEL, LOGITS[:, :1], LABELS[:, :1])
    assert found["f1_macro"] == found["f1_micro"] == found["f1_weighted"] == pytest.approx(2 * 2 / (2 * 2 + 1))
    assert found["precision_macro"] == pytest.approx(2 / 3)
    assert found["f1_samples"] == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert found["subset_accuracy"] == pytest.approx(3 / 4)


def test_table_by_label_where_there_are_several() -> None:
    table = per_class_table(MULTI_LABEL, LOGITS, LABELS, label_names=("a", "b", "c"))
    assert table == (
        ClassScore("a", precision=pytest.approx(2 / 3), recall=1.0, f1=pytest.approx(4 / 5), support=2),
        ClassScore("b", precision=1.0, recall=0.5, f1=pytest.approx(2 / 3), support=2),
        ClassScore("c", precision=0.0, recall=0.0, f1=0.0, support=0),
    )


def test_numbers_by_hand() -> None:
    found = compute_metrics(REGRESSION, np.array([[1.0], [2], [6], [5]]), np.array([1.0, 3, 5, 7]))
    # errors 0, -1, 1, -2; variance about the mean of 4: 9 + 1 + 1 + 9; ranks 1 2 4 3
    covariance, variance = (-3 * -2.5) + (-1 * -1.5) + (1 * 2.5) + (3 * 1.5), 2.5**2 + 1.5**2 + 2.5**2 + 1.5**2
    assert found == pytest.approx(
        {
            "mse": 6 / 4,
            "rmse": math.sqrt(6 / 4),
            "mae": 4 / 4,
            "median_absolute_error": (1 + 1) / 2,
            "r2": 1 - 6 / 20,
            "pearson": covariance / math.sqrt(20 * variance),
            "spearman": 1 - 6 * 2 / (4 * 15),
        }
    )


@pytest.mark.parametrize(
    ("predictions", "references", "r2"),
    [([2.0, 2, 2], [1.0, 2, 3], 0.0), ([1.0, 2, 3], [2.0, 2, 2], 0.0), ([2.0, 2], [2.0, 2], 1.0), ([3.0], [2.0], 0.0)],
)
def test_correlations_with_constants_are_defined(predictions: list[float], references: list[float], r2: float) -> None:
    found = compute_metrics(REGRESSION, np.array(predictions)[:, None], np.array(references))
    assert (found["pearson"], found["spearman"], found["r2"]) == (0.0, 0.0, r2)


def test_predictions_that_hardly_differ_are_no_warning() -> None:
    predictions = np.array([[1.0], [1.0 + 1e-15], [1.0]])
    assert 0 <= compute_metrics(REGRESSION, predictions, np.array([1.0, 3, 2]))["spearman"] <= 1


def test_language_model_by_hand() -> None:
    # 4 tokens of 8 bytes, each as unlikely as 1 in 16: 4 bits a token, 16 bits over 8 bytes.
    found = language_model_metrics(4 * math.log(16), 4, 8)
    assert found == pytest.approx({"loss": math.log(16), "perplexity": 16.0, "bits_per_byte": 2.0})


def test_language_model_at_the_edges() -> None:
    assert language_model_metrics(0.0, 3, 5) == {"loss": 0.0, "perplexity": 1.0, "bits_per_byte": 0.0}
    assert language_model_metrics(1e6, 1, 1)["perplexity"] == math.inf
    assert math.isnan(language_model_metrics(math.nan, 1, 1)["perplexity"])
    with pytest.raises(AssertionError, match="an empty text has no loss"):
        language_model_metrics(0.0, 0, 1)
