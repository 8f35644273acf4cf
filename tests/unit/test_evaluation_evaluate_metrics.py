"""Metrics as offline objects of evaluate, each with the value of the function it is made of."""

from pathlib import Path

import evaluate
import numpy as np
import pytest

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.errors import ConfigError
from hfpipe.evaluation.evaluate_metrics import load_metric
from hfpipe.evaluation.metrics import PROBABILITY_METRICS, compute_metrics, predict
from hfpipe.evaluation.probabilities import to_probabilities

# Rows of three labels, each of which is in some rows and not in others.
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=np.float32)
LOGITS = np.array([[0.0, -1, -1], [2, -2, -1], [1, 3, 1], [-1, -1, -9]], dtype=np.float32)


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
    compute_metrics(SINGLE_LABEL, LOGITS[:, :2], np.array([0, 1, 0, 1]))
    assert (np.random.get_state()[1] == before).all()
    assert list(tmp_path.iterdir()) == []


def test_unknown_metric() -> None:
    with pytest.raises(ConfigError) as caught:
        load_metric("acuracy")
    assert str(caught.value) == (
        "the configuration has 1 problem:\n  - metric: 'acuracy': no such metric; there are accuracy, "
        "balanced_accuracy, precision_macro, recall_macro, f1_macro, precision_weighted, recall_weighted, f1_weighted, "
        "mcc, precision, recall, f1, roc_auc, average_precision, log_loss, brier, ece"
    )


@pytest.mark.parametrize("problem_type", [SINGLE_LABEL, MULTI_LABEL, REGRESSION])
def test_every_metric_is_offered_as_one_of_evaluate(problem_type: str) -> None:
    logits = {MULTI_LABEL: LOGITS, REGRESSION: LOGITS[:, :1]}.get(problem_type, LOGITS[:, :2])
    targets = {MULTI_LABEL: LABELS, REGRESSION: LABELS[:, 0]}.get(problem_type, np.array([0, 1, 0, 0]))
    predicted = predict(problem_type, logits)
    judged = PROBABILITY_METRICS[problem_type]
    for name, value in compute_metrics(problem_type, logits, targets).items():
        metric = load_metric(name, problem_type)
        predictions = to_probabilities(problem_type, logits) if name in judged else predicted
        assert isinstance(metric, evaluate.Metric)
        for row in range(len(targets)):
            reference = targets[row].astype(int) if problem_type == MULTI_LABEL else targets[row]
            metric.add(prediction=predictions[row], reference=reference)
        assert metric.compute() == pytest.approx({name: value})
