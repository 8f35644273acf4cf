"""Metrics of classifiers whose rows have one label, of the label ids alone, each one function computed by scikit-learn.

The decision worth knowing: averages are scikit-learn's defaults with `zero_division=0`, so a class that is in
neither references nor predictions does not count, and one that is only predicted counts as 0.
"""

import numpy as np
from sklearn import metrics


def accuracy(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the share of rows whose label is right."""
    return float(metrics.accuracy_score(references, predictions))


def balanced_accuracy(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean recall of the classes that occur in the references.

    This is `balanced_accuracy_score` by its definition; that function warns of predicted classes
    without references, which small validation parts make an everyday thing.
    """
    present = np.unique(references)
    return float(metrics.recall_score(references, predictions, labels=present, average="macro", zero_division=0.0))


def precision_macro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the unweighted mean of the classes' precisions; a class never predicted has 0."""
    return float(metrics.precision_score(references, predictions, average="macro", zero_division=0.0))


def recall_macro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the unweighted mean of the classes' recalls; a class that is only predicted has 0."""
    return float(metrics.recall_score(references, predictions, average="macro", zero_division=0.0))


def f1_macro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the unweighted mean of the classes' F1."""
    return float(metrics.f1_score(references, predictions, average="macro", zero_division=0.0))


def precision_weighted(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean of the classes' precisions, weighted by their rows in the references."""
    return float(metrics.precision_score(references, predictions, average="weighted", zero_division=0.0))


def recall_weighted(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean of the classes' recalls, weighted by their rows in the references; the same as accuracy."""
    return float(metrics.recall_score(references, predictions, average="weighted", zero_division=0.0))


def f1_weighted(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean of the classes' F1, weighted by their rows in the references."""
    return float(metrics.f1_score(references, predictions, average="weighted", zero_division=0.0))


def mcc(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return Matthews' correlation coefficient (its generalisation by Gorodkin, 2004, for several classes).

    It is 0 where references or predictions are constant, since no correlation is defined there.
    """
    if len(np.union1d(references, predictions)) == 1:
        return 0.0  # what scikit-learn returns, after a warning
    return float(metrics.matthews_corrcoef(references, predictions))


def precision(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the precision of label id 1 of two labels."""
    return float(metrics.precision_score(references, predictions, pos_label=1, zero_division=0.0))


def recall(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the recall of label id 1 of two labels."""
    return float(metrics.recall_score(references, predictions, pos_label=1, zero_division=0.0))


def f1(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the F1 of label id 1 of two labels."""
    return float(metrics.f1_score(references, predictions, pos_label=1, zero_division=0.0))
