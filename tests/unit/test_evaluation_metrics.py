"""Metrics against values worked out by hand and against scikit-learn's own calls."""

import math
from pathlib import Path

import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from hfpipe.config.plan import METRICS
from hfpipe.config.sections import MULTI_LABEL, PRETRAIN, REGRESSION, SINGLE_LABEL
from hfpipe.errors import ConfigError
from hfpipe.evaluation.metrics import (
    BINARY,
    CLASSIFICATION,
    LANGUAGE_MODEL,
    MULTI_LABEL_METRICS,
    REGRESSION_METRICS,
    ClassScore,
    compute_metrics,
    find_metric_names,
    language_model_metrics,
    load_metric,
    per_class_table,
)


def one_hot(predictions: list[int], labels: int) -> np.ndarray:
    return np.eye(labels, dtype=np.float32)[predictions]


# Confusion of the two-label example: 3 true positives, 1 false positive, 2 false negatives, 4 true negatives.
REFERENCES = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
PREDICTIONS = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]


def test_two_labels_by_hand() -> None:
    found = compute_metrics(SINGLE_LABEL, one_hot(PREDICTIONS, 2), np.array(REFERENCES))
    f1_of_0, f1_of_1 = 2 * 4 / (2 * 4 + 2 + 1), 2 * 3 / (2 * 3 + 1 + 2)
    assert found == pytest.approx(
        {
            "accuracy": 7 / 10,
            "balanced_accuracy": (3 / 5 + 4 / 5) / 2,
            "precision_macro": (3 / 4 + 4 / 6) / 2,
            "recall_macro": (3 / 5 + 4 / 5) / 2,
            "f1_macro": (f1_of_0 + f1_of_1) / 2,
            "f1_weighted": (5 * f1_of_0 + 5 * f1_of_1) / 10,
            "mcc": (3 * 4 - 1 * 2) / math.sqrt((3 + 1) * (3 + 2) * (4 + 1) * (4 + 2)),
            "precision": 3 / 4,
            "recall": 3 / 5,
            "f1": f1_of_1,
        }
    )


def test_three_labels_have_no_positive_one() -> None:
    found = compute_metrics(SINGLE_LABEL, one_hot([0, 1, 2, 2], 3), np.array([0, 1, 2, 1]))
    assert set(found) == set(CLASSIFICATION)
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


def test_a_metric_is_an_evaluate_metric_that_takes_batches() -> None:
    metric = load_metric("accuracy")
    assert isinstance(metric, evaluate.Metric)
    assert metric.description == "Return the share of rows whose label is right."
    metric.add_batch(predictions=[0, 1], references=[0, 0])
    metric.add_batch(predictions=[1, 1], references=[1, 1])
    assert metric.compute() == {"accuracy": 0.75}
    combined = evaluate.combine([load_metric("accuracy"), load_metric("mcc")])
    assert combined.compute(predictions=[0, 1], references=[0, 1]) == {"accuracy": 1.0, "mcc": 1.0}


def test_metrics_leave_no_files_and_no_trace_in_the_random_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = np.random.get_state()[1].copy()
    compute_metrics(SINGLE_LABEL, one_hot(PREDICTIONS, 2), np.array(REFERENCES))
    assert (np.random.get_state()[1] == before).all()
    assert list(tmp_path.iterdir()) == []


def test_unknown_metric() -> None:
    with pytest.raises(ConfigError) as caught:
        load_metric("acuracy")
    assert str(caught.value) == (
        "the configuration has 1 problem:\n  - metric: 'acuracy': no such metric; there are accuracy, "
        "balanced_accuracy, precision_macro, recall_macro, f1_macro, f1_weighted, mcc, precision, recall, f1"
    )


def test_names_are_those_computed() -> None:
    assert find_metric_names(SINGLE_LABEL, 2) == (*CLASSIFICATION, *BINARY)
    assert find_metric_names(SINGLE_LABEL, 3) == tuple(CLASSIFICATION)
    for problem_type, count in ((SINGLE_LABEL, 2), (MULTI_LABEL, 2), (MULTI_LABEL, 5), (REGRESSION, 1)):
        targets = np.zeros((1, count) if problem_type == MULTI_LABEL else 1)
        found = compute_metrics(problem_type, np.zeros((1, count)), targets)
        assert tuple(found) == find_metric_names(problem_type, count)
    assert tuple(language_model_metrics(1.0, 1, 1)) == LANGUAGE_MODEL


def test_metrics_to_choose_the_best_model_by_are_those_computed() -> None:
    assert METRICS[SINGLE_LABEL] == ("loss", *CLASSIFICATION, *BINARY)  # the loss is the objective's
    assert METRICS[MULTI_LABEL] == ("loss", *MULTI_LABEL_METRICS)
    assert METRICS[REGRESSION] == ("loss", *REGRESSION_METRICS)
    assert METRICS[PRETRAIN] == LANGUAGE_MODEL


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
    assert found == pytest.approx(
        {
            "subset_accuracy": 2 / 4,
            "hamming_loss": 3 / 12,
            "precision_micro": 3 / 5,
            "recall_micro": 3 / 4,
            "f1_micro": 2 * 3 / (2 * 3 + 2 + 1),
            "precision_macro": (2 / 3 + 1 + 0) / 3,
            "recall_macro": (1 + 1 / 2 + 0) / 3,
            "f1_macro": (f1_of_first + f1_of_second + 0) / 3,
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


@pytest.mark.parametrize("problem_type", [SINGLE_LABEL, MULTI_LABEL, REGRESSION])
def test_every_metric_is_offered_as_one_of_evaluate(problem_type: str) -> None:
    logits = {MULTI_LABEL: LOGITS, REGRESSION: LOGITS[:, :1]}.get(problem_type, one_hot([0, 1, 1, 0], 2))
    targets = {MULTI_LABEL: LABELS, REGRESSION: LABELS[:, 0]}.get(problem_type, np.array([0, 1, 0, 0]))
    predictions = {MULTI_LABEL: LOGITS >= 0, REGRESSION: LOGITS[:, 0]}.get(problem_type, logits.argmax(axis=1))
    for name, value in compute_metrics(problem_type, logits, targets).items():
        metric = load_metric(name, problem_type)
        assert isinstance(metric, evaluate.Metric)
        for row in range(len(targets)):
            reference = targets[row].astype(int) if problem_type == MULTI_LABEL else targets[row]
            prediction = predictions[row].astype(int) if problem_type == MULTI_LABEL else predictions[row]
            metric.add(prediction=prediction, reference=reference)
        assert metric.compute() == pytest.approx({name: value})


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
