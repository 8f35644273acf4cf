"""Rows whose texts are equal, character by character; where rows have two texts, both.

Within the training part the first of equal rows stays; equal texts with different labels all go,
for no label of theirs can be trusted. Rows of other parts are never touched here.
"""

from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from hfpipe.data.text_store import StoredTexts

ROWS_AT_ONCE = 1 << 17
_MOST_PASSES = 64


def first_with_text(texts: Sequence[Hashable]) -> np.ndarray:
    """Return for each row the id of the first row with the same text, or the same two texts."""
    if isinstance(texts, StoredTexts):
        firsts = np.empty(len(texts), dtype=np.int64)
        for rows, found in _group_stored([texts]):
            firsts[rows] = found
        return firsts
    first: dict[Hashable, int] = {}
    return np.fromiter((first.setdefault(text, row) for row, text in enumerate(texts)), np.int64, len(texts))


def find_repeats(texts: Sequence[Hashable], labels: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of rows whose text has other labels too, and of rows that repeat an earlier one.

    No row is in both. `labels` may be empty: then nothing conflicts.
    """
    if isinstance(texts, StoredTexts) and not labels:
        repeating = [rows[firsts != rows] for rows, firsts in _group_stored([texts])]
        return np.empty(0, dtype=np.int64), _ascending(repeating)
    first = first_with_text(texts)
    rows = np.arange(len(texts))
    conflicting_groups = {int(first[row]) for row, label in enumerate(labels) if label != labels[int(first[row])]}
    is_conflicting = np.isin(first, np.fromiter(conflicting_groups, np.int64, len(conflicting_groups)))
    return rows[is_conflicting], rows[(first != rows) & ~is_conflicting]


def find_shared(texts: Sequence[Hashable], others: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """Return the ids of rows whose text stands in one of `others`."""
    if not isinstance(texts, StoredTexts):
        among = {text for other in others for text in other}
        return np.array([row for row, text in enumerate(texts) if text in among], dtype=np.int64)
    shared = []
    stored = [other for other in others if isinstance(other, StoredTexts)]
    assert len(stored) == len(others), "documents of all parts are stored, or none"
    for rows, firsts in _group_stored([texts, *stored]) if stored else ():
        is_own = rows < len(texts)
        shared.append(rows[is_own & np.isin(firsts, firsts[~is_own])])
    return _ascending(shared)


def _group_stored(parts: Sequence[StoredTexts]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows, numbered through all `parts`, and the first row that is equal to each; every row in one portion.

    A portion has all rows whose digests begin alike, ascending. Digests are read anew for each, which takes less time
    than to sort them and keeps them out of memory.
    """
    total = sum(map(len, parts))
    passes = min(-(-total // ROWS_AT_ONCE), _MOST_PASSES)
    for number in range(passes):
        rows, digests = _select_digests(parts, number, passes)
        yield rows, rows[number_texts(digests)]


def _select_digests(parts: Sequence[StoredTexts], number: int, passes: int) -> tuple[np.ndarray, np.ndarray]:
    begin = 0
    rows, chosen = [], []
    for digests in (portion for part in parts for portion in part.digests()):
        # of 24 bits, so that the product has room
        own = np.flatnonzero((digests[:, 0] >> np.uint64(40)) * np.uint64(passes) >> np.uint64(24) == number)
        rows.append(own + begin)
        chosen.append(digests[own])
        begin += len(digests)
    return np.concatenate(rows), np.concatenate(chosen)


def number_texts(digests: np.ndarray) -> np.ndarray:
    """Return for each text the number of the first one that is equal to it, (texts,) int64."""
    if not len(digests):
        return np.empty(0, dtype=np.int64)
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: of equal texts the first comes first
    ordered = digests[order]
    begins = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    firsts = order[begins][np.cumsum(begins) - 1]
    numbers = np.empty(len(digests), dtype=np.int64)
    numbers[order] = firsts
    return numbers


def _ascending(portions: Sequence[np.ndarray]) -> np.ndarray:
    return np.sort(np.concatenate([*portions, np.empty(0, dtype=np.int64)]))
