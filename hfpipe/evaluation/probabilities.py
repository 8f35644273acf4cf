"""Logits as probabilities, and the metrics of classifiers that judge those of rows with one label.

References are label ids (rows,), probabilities (rows, labels), each row adding up to 1. Of two labels the ranking
metrics are those of label id 1, the positive one; of more they are the unweighted mean over the labels, each against
all others. A ranking needs rows on both sides, so `find_undefined` names what a part that lacks a label leaves out.
The decision worth knowing: bins of the calibration error hold equally many rows, not equally wide ranges of confidence,
for most rows of a trained model lie above 0.9, where a bin of width 1/15 would average away what is wrong with them
(Nixon et al. 2019, Measuring Calibration in Deep Learning).
"""

from collections.abc import Callable

import numpy as np
from sklearn import metrics

from hfpipe.config.sections import MULTI_LABEL, SINGLE_LABEL

MAX_BINS = 15
ROWS_A_BIN = 10

RANKING = ("roc_auc", "roc_auc_micro", "roc_auc_macro")
RANKING_AVERAGES = ("average_precision", "average_precision_micro", "average_precision_macro")


def to_probabilities(problem_type: str, logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits, float64 (rows, labels): a softmax a row, of several labels a sigmoid each."""
    values = logits.astype(np.float64)
    if problem_type == MULTI_LABEL:
        return np.exp(-np.logaddexp(0.0, -values))
    assert problem_type == SINGLE_LABEL, "numbers have no probabilities"
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def roc_auc(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a row of the label ranks above one without it, a tie as half."""
    return _over_labels(metrics.roc_auc_score, references, probabilities)


def average_precision(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the precisions at each rank of a row of the label, averaged: the area under the precision-recall steps."""
    return _over_labels(metrics.average_precision_score, references, probabilities)


def log_loss(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean negative logarithm of the true label's probability, in nats; below 2e-16 one counts as that."""
    return float(metrics.log_loss(references, probabilities, labels=range(probabilities.shape[1])))


def brier(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean squared error of the probabilities, summed over labels (Brier 1950); of two labels, of id 1.

    So it is at most 1 for two labels and 2 for more, as scikit-learn has it.
    """
    return float(squared_errors(references, probabilities).mean())


def ece(references: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the expected calibration error: how far confidence and accuracy are apart, averaged over bins of rows.

    Confidence is the probability of the predicted label (Guo et al. 2017). See `assign_bins` for the bins.
    """
    confidence, right = judge_confidence(references, probabilities)
    return calibration_error(confidence, right)


def squared_errors(references: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return what each row adds to the Brier score, (rows,)."""
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] - references) ** 2
    return ((probabilities - np.eye(probabilities.shape[1])[references]) ** 2).sum(axis=1)


def judge_confidence(references: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest probability of each row and whether its label is the right one, both float64 (rows,)."""
    predictions = probabilities.argmax(axis=1)
    return probabilities.max(axis=1), (predictions == references).astype(np.float64)


def judge_answers(
    problem_type: str, references: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how sure each answer was and whether it came true, both float64 (answers,).

    Of one label a row the answers are the predicted labels, of several all of them, by the probability of being there.
    """
    if problem_type == SINGLE_LABEL:
        return judge_confidence(references, probabilities)
    return probabilities.ravel(), references.ravel().astype(np.float64)


def calibration_error(confidence: np.ndarray, outcomes: np.ndarray) -> float:
    """Return the absolute difference of mean confidence and mean outcome of each bin, averaged by its rows."""
    gaps = np.bincount(assign_bins(confidence), weights=confidence - outcomes)
    return float(np.abs(gaps).sum() / len(confidence))


def assign_bins(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each value, 0 and up by size, (rows,) int64.

    There are 15 bins of equally many rows, fewer where that would be under 10 rows a bin. Equal values are never
    parted, so the order of rows is without effect; where many are equal, bins differ in size and may be fewer.
    """
    count = max(1, min(MAX_BINS, len(confidence) // ROWS_A_BIN))
    ordered = np.sort(confidence)
    starts = np.unique(ordered[np.arange(1, count) * len(ordered) // count])
    # the smallest value begins the first bin, not a second one
    return np.searchsorted(starts[starts > ordered[0]], confidence, side="right")


def find_undefined(problem_type: str, targets: np.ndarray, label_count: int) -> tuple[str, ...]:
    """Return the names of metrics that `targets` do not define: rankings where a label is in no row, or in all.

    Args:
        problem_type: What the labels of a row are.
        targets: Label ids (rows,), or labels (rows, labels) of 0 and 1.
        label_count: How many labels there are.
    """
    if problem_type == SINGLE_LABEL:
        found = np.bincount(targets, minlength=label_count)
        return () if (found > 0).all() and label_count > 1 else (RANKING[0], RANKING_AVERAGES[0])
    if problem_type != MULTI_LABEL:
        return ()
    counts, rows = targets.sum(axis=0), len(targets)
    undefined: tuple[str, ...] = ()
    if not 0 < counts.sum() < targets.size:
        undefined += (RANKING[1], RANKING_AVERAGES[1])
    if not ((counts > 0) & (counts < rows)).all():
        undefined += (RANKING[2], RANKING_AVERAGES[2])
    return undefined


def ranked_labels(label_count: int) -> range:
    """Return the label ids that the ranking metrics of one label a row are the mean of."""
    return range(1, 2) if label_count == 2 else range(label_count)


def _over_labels(score: Callable[..., float], references: np.ndarray, probabilities: np.ndarray) -> float:
    ranked = ranked_labels(probabilities.shape[1])
    return float(np.mean([score(references == label, probabilities[:, label]) for label in ranked]))
