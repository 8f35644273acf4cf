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
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.errors import ConfigError
from hfpipe.evaluation.metrics import (
    BINARY,
    CLASSIFICATION,
    LANGUAGE_MODEL,
    ClassScore,
    classification_metrics,
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
    found = classification_metrics(one_hot(PREDICTIONS, 2), np.array(REFERENCES))
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
    found = classification_metrics(one_hot([0, 1, 2, 2], 3), np.array([0, 1, 2, 1]))
    assert set(found) == set(CLASSIFICATION)
    assert found["accuracy"] == 0.75
    assert found["precision_macro"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert found["recall_macro"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found["f1_macro"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert found["f1_weighted"] == pytest.approx((1 + 2 * 2 / 3 + 2 / 3) / 4)


def test_class_only_predicted_counts_as_zero_and_class_in_neither_does_not_count() -> None:
    found = classification_metrics(one_hot([0, 1], 4), np.array([0, 0]))
    assert found["recall_macro"] == pytest.approx((1 / 2 + 0) / 2)
    assert found["precision_macro"] == pytest.approx((1 + 0) / 2)
    assert found["balanced_accuracy"] == 0.5  # classes of the references only
    assert found["f1_macro"] == pytest.approx((2 / 3 + 0) / 2)


def test_constant_answers() -> None:
    found = classification_metrics(one_hot([0, 0, 0], 2), np.array([0, 0, 0]))
    assert found["accuracy"] == 1.0
    assert found["mcc"] == 0.0
    assert (found["precision"], found["recall"], found["f1"]) == (0.0, 0.0, 0.0)


def test_one_row_and_ties_take_the_lowest_label() -> None:
    found = classification_metrics(np.zeros((1, 3), dtype=np.float32), np.array([0]))
    assert found["accuracy"] == 1.0


def test_empty_and_misshapen_are_our_own_mistakes() -> None:
    with pytest.raises(AssertionError, match="no metric is defined on no rows"):
        classification_metrics(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    with pytest.raises(AssertionError, match="one row of scores for every label id"):
        classification_metrics(np.zeros((2, 2)), np.zeros(3, dtype=np.int64))


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_equal_to_scikit_learn(rows: list[tuple[int, int]]) -> None:
    references, predictions = (np.array(column) for column in zip(*rows, strict=True))
    found = classification_metrics(one_hot(predictions.tolist(), 4), references)
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
    classification_metrics(one_hot(PREDICTIONS, 2), np.array(REFERENCES))
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
    assert find_metric_names(2) == (*CLASSIFICATION, *BINARY)
    assert find_metric_names(3) == tuple(CLASSIFICATION)
    assert tuple(language_model_metrics(1.0, 1, 1)) == LANGUAGE_MODEL


def test_metrics_to_choose_the_best_model_by_are_those_computed() -> None:
    assert METRICS[FINETUNE] == ("loss", *CLASSIFICATION, *BINARY)  # the loss is the objective's
    assert METRICS[PRETRAIN] == LANGUAGE_MODEL


def test_table_by_class() -> None:
    table = per_class_table(one_hot([0, 1, 1], 3), np.array([0, 0, 1]), label_names=("bad", "good", "odd"))
    assert table == (
        ClassScore("bad", precision=1.0, recall=0.5, f1=pytest.approx(2 / 3), support=2),
        ClassScore("good", precision=0.5, recall=1.0, f1=pytest.approx(2 / 3), support=1),
        ClassScore("odd", precision=0.0, recall=0.0, f1=0.0, support=0),
    )


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
