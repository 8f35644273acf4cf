"""The label or labels that probabilities stand for: the likeliest, those of a half and more, or by thresholds.

A threshold belongs to a label: the label is given from that probability on. Of two labels the one that has a threshold
is the positive one, and the other is given below it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

THRESHOLD = 0.5
"""Of several labels one is there from this probability on, where it has no threshold of its own."""


def find_label(probabilities: np.ndarray, label_names: Sequence[str], thresholds: Mapping[str, float]) -> str:
    """Return the label of a row: the likeliest, at a tie the one that comes first, or of two labels by the threshold.

    Args:
        probabilities: Those of one row, (labels,).
        label_names: In the order of the label ids.
        thresholds: Empty, or that of one of two labels.
    """
    for name, threshold in thresholds.items():
        other = next(each for each in label_names if each != name)
        return name if probabilities[label_names.index(name)] >= threshold else other
    return label_names[int(probabilities.argmax())]


def find_labels(probabilities: np.ndarray, label_names: Sequence[str], thresholds: Mapping[str, float]) -> list[str]:
    """Return the labels of a row that may have any number of them; a label without a threshold has one of a half."""
    each = zip(label_names, probabilities, strict=True)
    return [name for name, probability in each if probability >= thresholds.get(name, THRESHOLD)]
