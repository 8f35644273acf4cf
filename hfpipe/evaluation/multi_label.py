"""Metrics of classifiers whose rows have any number of labels, each one function computed by scikit-learn.

References and predictions are (rows, labels) of 0 and 1; probabilities, which the ranking and calibration metrics at
the end take for predictions, are (rows, labels) between. Where a metric is 0 divided by 0, as the F1 of a label that
is in neither, it counts as 0, scikit-learn's own choice. Of a single label scikit-learn would take the two columns for
two classes, so it is shown an empty second one, which is left out of every mean.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics

from hfpipe.evaluation.probabilities import calibration_error


def subset_accuracy(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the share of rows that have exactly the right labels."""
    return float((references == predictions).all(axis=1).mean())


def hamming_loss(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the share of wrong answers over all rows and labels."""
    return float((references != predictions).mean())


def precision_micro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the precision over all answers of all rows."""
    return _average(metrics.precision_score, references, predictions, "micro")


def recall_micro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the recall over all labels of all rows."""
    return _average(metrics.recall_score, references, predictions, "micro")


def f1_micro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the F1 over all answers of all rows."""
    return _average(metrics.f1_score, references, predictions, "micro")


def precision_macro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the unweighted mean of the labels' precisions; a label never predicted has 0."""
    return _average(metrics.precision_score, references, predictions, "macro")


def recall_macro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the unweighted mean of the labels' recalls; a label no row has counts as 0."""
    return _average(metrics.recall_score, references, predictions, "macro")


def f1_macro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the unweighted mean of the labels' F1."""
    return _average(metrics.f1_score, references, predictions, "macro")


def precision_weighted(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean of the labels' precisions, weighted by the rows that have them."""
    return _average(metrics.precision_score, references, predictions, "weighted")


def recall_weighted(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean of the labels' recalls, weighted by the rows that have them; the same as the micro recall."""
    return _average(metrics.recall_score, references, predictions, "weighted")


def f1_weighted(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean of the labels' F1, weighted by the rows that have them."""
    return _average(metrics.f1_score, references, predictions, "weighted")


def f1_samples(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean of the rows' F1; a row without labels that is given none has 0."""
    return _average(metrics.f1_score, references, predictions, "samples")


def _average(score: Callable[..., Any], references: np.ndarray, predictions: np.ndarray, average: str) -> float:
    labels = range(references.shape[1])
    if references.shape[1] == 1:
        references, predictions = (np.pad(each, ((0, 0), (0, 1))) for each in (references, predictions))
    return float(score(references, predictions, labels=labels, average=average, zero_division=0.0))


def roc_auc_micro(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return how often a label that is there ranks above one that is not, over all rows and labels, a tie as half."""
    return float(metrics.roc_auc_score(references.ravel(), probabilities.ravel()))


def roc_auc_macro(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the unweighted mean of the labels' areas under the ROC curve."""
    return _over_labels(metrics.roc_auc_score, references, probabilities)


def average_precision_micro(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the average precision of one ranking of all rows and labels."""
    return float(metrics.average_precision_score(references.ravel(), probabilities.ravel()))


def average_precision_macro(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the unweighted mean of the labels' average precisions."""
    return _over_labels(metrics.average_precision_score, references, probabilities)


def log_loss(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean over rows and labels of the negative logarithm of what was right, in nats."""
    return float(metrics.log_loss(references.ravel(), _both_sides(probabilities), labels=(0, 1)))


def brier(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean squared error of the probabilities over all rows and labels."""
    return float(((probabilities - references) ** 2).mean())


def ece(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the expected calibration error of all answers: how far probability and share of labels are apart."""
    return calibration_error(probabilities.ravel(), references.ravel())


def _both_sides(probabilities: np.ndarray) -> np.ndarray:
    """Return the probabilities of 'not there' and 'there' of each answer, (rows x labels, 2)."""
    return np.stack((1 - probabilities.ravel(), probabilities.ravel()), axis=1)


def _over_labels(score: Callable[..., float], references: np.ndarray, probabilities: np.ndarray) -> float:
    return float(np.mean([score(true, ranked) for true, ranked in zip(references.T, probabilities.T, strict=True)]))
