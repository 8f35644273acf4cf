"""Metrics of predicted labels for many resamples at once, from counts.

Such a metric sees nothing of a row but the cell of the confusion matrix it falls into. So drawing rows, and drawing
counts of cells from the multinomial distribution that the matrix describes, are the same thing, and a resample is
counted once for all of these metrics. Where a row has several labels these go together, so a row adds all its counts.
What is 0 divided by 0 is 0, as in the metrics themselves.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse


def find_cells(
    predictions: np.ndarray, targets: np.ndarray, *, label_count: int, right_of_added: Sequence[bool]
) -> sparse.csr_array:
    """Return the cell of each row and, below, of each added row: (rows + added, labels x labels), true label first.

    An added row is spread evenly over the cells that it could be in, the right or the wrong ones of the labels that
    occur: a label that is never predicted stays so in all resamples.
    """
    known = sparse.csr_array(
        (np.ones(len(targets)), (np.arange(len(targets)), targets * label_count + predictions)),
        shape=(len(targets), label_count**2),
    )
    spread = _spread_added(np.unique(predictions), np.unique(targets), label_count)
    return sparse.csr_array(sparse.vstack([known, *(sparse.csr_array(spread[right]) for right in right_of_added)]))


def _spread_added(predicted: np.ndarray, true: np.ndarray, label_count: int) -> Mapping[bool, np.ndarray]:
    """Return how a right and a wrong added row are spread over the cells, each (1, labels x labels)."""
    diagonal = np.eye(label_count, dtype=bool)
    by_prediction = np.isin(np.arange(label_count), predicted)[None, :]
    by_label = np.isin(np.arange(label_count), true)[:, None]
    choices = {
        True: (diagonal & by_prediction & by_label, diagonal & by_prediction),
        False: (~diagonal & by_prediction & by_label, ~diagonal & by_prediction, diagonal),
    }
    first = {right: next(cells for cells in each if cells.any()) for right, each in choices.items()}
    return {right: (cells / cells.sum()).reshape(1, -1) for right, cells in first.items()}


def score_cells(weights: np.ndarray, cells: sparse.csr_array, label_count: int) -> dict[str, np.ndarray]:
    """Return the metrics of one label a row, each (resamples,)."""
    counts = np.asarray(weights @ cells).reshape(len(weights), label_count, label_count)
    rows, true, predicted = counts.sum(axis=(1, 2)), counts.sum(axis=2), counts.sum(axis=1)
    right = np.einsum("rkk->rk", counts)
    each = {
        "precision": divide(right, predicted),
        "recall": divide(right, true),
        "f1": divide(2 * right, true + predicted),
    }
    present = true + predicted > 0
    found = {
        f"{name}_macro": divide((values * present).sum(axis=1), present.sum(axis=1)) for name, values in each.items()
    }
    found |= {f"{name}_weighted": (values * true).sum(axis=1) / rows for name, values in each.items()}
    if label_count == 2:
        found |= {name: values[:, 1] for name, values in each.items()}
    found["accuracy"] = right.sum(axis=1) / rows
    found["balanced_accuracy"] = divide((each["recall"] * (true > 0)).sum(axis=1), (true > 0).sum(axis=1))
    found["mcc"] = _correlate(right.sum(axis=1) * rows, true, predicted)
    return found


def _correlate(agreement: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return Matthews' correlation in Gorodkin's form; `agreement` is the right rows times the rows."""
    rows = true.sum(axis=1)
    spread = (rows**2 - (true**2).sum(axis=1)) * (rows**2 - (predicted**2).sum(axis=1))
    return divide(agreement - (true * predicted).sum(axis=1), np.sqrt(np.maximum(spread, 0.0)))


def find_sums(predictions: np.ndarray, targets: np.ndarray, *, right_of_added: Sequence[bool]) -> np.ndarray:
    """Return what each row, and below each added row, adds to the counts of several labels a row.

    Shape (rows + added, 3 x labels + 3): right, falsely given and missed of each label, then whether the row is all
    right, its share of wrong answers, and its F1. A wrong added row has one wrong answer, spread over the labels.
    """
    given, there = predictions.astype(np.float64), targets.astype(np.float64)
    both = given * there
    falsely, missed = given - both, there - both
    f1 = divide(2 * both.sum(axis=1), (given + there).sum(axis=1))
    wrong = (falsely + missed).mean(axis=1)
    known = np.column_stack((both, falsely, missed, wrong == 0, wrong, f1))
    added = _average_rows(given.mean(axis=0), float(given.any(axis=1).mean()))
    return np.vstack([known, *(added[right] for right in right_of_added)])


def _average_rows(given: np.ndarray, answered: float) -> Mapping[bool, np.ndarray]:
    """Return the counts of a right and a wrong row whose predictions are as the rows' are on average."""
    labels = len(given)
    none = np.zeros(labels)
    # half of the wrong answers are false alarms, half misses, where the label is given to some rows and not to others
    falsely = np.where((given > 0) & (given < 1), 0.5, given) / labels
    missed = 1 / labels - falsely
    both = np.maximum(given - falsely, 0.0)
    f1 = float(divide(2 * both.sum(), (2 * both + falsely + missed).sum()))
    return {
        True: np.concatenate((given, none, none, (1.0, 0.0, answered))),
        False: np.concatenate((both, falsely, missed, (0.0, 1 / labels, f1))),
    }


def score_sums(weights: np.ndarray, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics of several labels a row, each (resamples,)."""
    counts, rows = weights @ sums, weights.sum(axis=1)
    labels = (sums.shape[1] - 3) // 3
    right, falsely, missed = (counts[:, start : start + labels] for start in (0, labels, 2 * labels))
    given, there = right + falsely, right + missed
    parts = {"precision": (right, given), "recall": (right, there), "f1": (2 * right, given + there)}
    of_rows = (counts[:, -3:] / rows[:, None]).T
    found = dict(zip(("subset_accuracy", "hamming_loss", "f1_samples"), of_rows, strict=True))
    for name, (above, below) in parts.items():
        each = divide(above, below)
        found[f"{name}_micro"] = divide(above.sum(axis=1), below.sum(axis=1))
        found[f"{name}_macro"] = each.mean(axis=1)
        found[f"{name}_weighted"] = divide((each * there).sum(axis=1), there.sum(axis=1))
    return found


def divide(above: np.ndarray, below: np.ndarray, *, otherwise: float = 0.0) -> np.ndarray:
    """Return `above` / `below`, and `otherwise` where `below` is 0."""
    return np.divide(above, below, out=np.full(np.shape(below), otherwise), where=np.asarray(below) != 0)
