"""Confident learning's rule for labels that are likely wrong.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal of Artificial
Intelligence Research 70 (2021), section 3: the confident joint counts rows that reach a label's mean confidence, scaled
to the rows there are it says how many of one label should have another, and so many of them go by the largest margin
("prune by noise rate"). Probabilities must be out of fold.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Doubts:
    """Rows whose label is likely wrong, the least confident first: their ids, and the label that is likelier."""

    rows: np.ndarray
    likelier: np.ndarray


def count_jointly(probabilities: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the confident joint (given, true): rows of each label by the likeliest label they are sure enough of.

    Sure enough is a probability of at least the mean that rows of the label have of it. `probabilities` are (rows,
    classes), `given` (rows,) class ids of which each has a row.
    """
    classes = probabilities.shape[1]
    thresholds = np.array([probabilities[given == label, label].mean() for label in range(classes)])
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    sure = confident.max(axis=1) >= 0
    joint = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(joint, (given[sure], confident.argmax(axis=1)[sure]), 1)
    return joint


def doubt_labels(probabilities: np.ndarray, given: np.ndarray) -> Doubts:
    """Return the rows to be doubted, ranked by self-confidence, each with the likeliest label.

    `probabilities` (rows, classes) of models that have not seen the row; `given` (rows,) class ids of which each has a
    row. A row whose own label is the likeliest is never doubted.
    """
    joint = count_jointly(probabilities, given)
    own = probabilities[np.arange(len(given)), given]
    doubted = np.zeros(len(given), dtype=bool)
    for label, counts in enumerate(joint):
        rows = np.flatnonzero(given == label)
        scaled = np.rint(counts / max(counts.sum(), 1) * len(rows)).astype(np.int64)
        for other in np.flatnonzero(scaled):
            if other != label:
                margins = probabilities[rows, other] - own[rows]
                chosen = np.argsort(-margins, kind="stable")[: scaled[other]]
                doubted[rows[chosen[margins[chosen] > 0]]] = True
    found = np.flatnonzero(doubted)
    ranked = found[np.argsort(own[found], kind="stable")]
    return Doubts(ranked, probabilities[ranked].argmax(axis=1))
