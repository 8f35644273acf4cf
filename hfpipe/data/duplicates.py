"""Rows whose texts are equal, character by character; where rows have two texts, both.

Within the training part the first of equal rows stays; equal texts with different labels all go,
for no label of theirs can be trusted. Rows of other parts are never touched here.
"""

from collections.abc import Hashable, Sequence, Set

import numpy as np

from hfpipe.data.text_store import StoredTexts, number_texts


def first_with_text(texts: Sequence[Hashable]) -> np.ndarray:
    """Return for each row the id of the first row with the same text, or the same two texts."""
    if isinstance(texts, StoredTexts):
        return number_texts(texts.digests)
    first: dict[Hashable, int] = {}
    return np.fromiter((first.setdefault(text, row) for row, text in enumerate(texts)), np.int64, len(texts))


def find_repeats(texts: Sequence[Hashable], labels: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of rows whose text has other labels too, and of rows that repeat an earlier one.

    No row is in both. `labels` may be empty: then nothing conflicts.
    """
    first = first_with_text(texts)
    rows = np.arange(len(texts))
    conflicting_groups = {int(first[row]) for row, label in enumerate(labels) if label != labels[int(first[row])]}
    is_conflicting = np.isin(first, np.fromiter(conflicting_groups, np.int64, len(conflicting_groups)))
    return rows[is_conflicting], rows[(first != rows) & ~is_conflicting]


def find_texts_of(texts: Sequence[Hashable], others: Set[Hashable]) -> np.ndarray:
    """Return the ids of rows whose text is among `others`."""
    return np.array([row for row, text in enumerate(texts) if text in others], dtype=np.int64)


def find_shared(texts: Sequence[Hashable], others: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """Return the ids of rows whose text stands in one of `others`."""
    if isinstance(texts, StoredTexts):
        stored = [texts, *(other for other in others if isinstance(other, StoredTexts))]
        numbers = number_texts(np.concatenate([each.digests for each in stored]))
        return np.flatnonzero(np.isin(numbers[: len(texts)], numbers[len(texts) :]))
    return find_texts_of(texts, {text for other in others for text in other})
