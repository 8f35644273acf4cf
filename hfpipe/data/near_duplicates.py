"""Texts that are nearly the same: MinHash finds candidates, and only pairs of a high true Jaccard similarity count.

A text is the set of its runs of five characters, after case, width and everything but letters and digits are evened
out; so "Great movie!!" and "great movie" are the same. Refuses nothing but a machine without the package datasketch,
whose index keeps Python sets, gigabytes of them for a million rows; here the bands are sorted instead.
"""

import importlib.util
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from tqdm.auto import tqdm

from hfpipe.data.progress import progress_options
from hfpipe.data.text_store import digest_text
from hfpipe.errors import ConfigError, Problem

THRESHOLD = 0.8
RUN_LENGTH = 5

# Pairs at the threshold share a band with probability 1 - (1 - 0.8^7)^20 = 0.991, those at 0.3 with 0.004.
_BANDS, _ROWS_OF_A_BAND = 20, 7
_SEED = 1
# A band that thousands share (one form letter) is not compared pair by pair.
_COMPARED_AT_MOST = 20
_HASHES_PER_CALL = 512
_KEPT_SETS = 4_096
_SIGNS = re.compile(r"[\W_]+")
_ASCII_SIGNS = {code: " " for code in range(128) if not chr(code).isalnum()}
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

ShingleSets = Callable[[int], np.ndarray]


def check_datasketch() -> None:
    """Return when near-duplicates can be looked for.

    Raises:
        ConfigError: If the package datasketch is not installed.
    """
    if importlib.util.find_spec("datasketch") is None:
        rule = "they need the package datasketch, which is not installed"
        raise ConfigError(Problem("near-duplicates", "", rule, "pip install 'hfpipe[inspect]'"))


def find_near_duplicates(texts: Sequence[str], *, threshold: float = THRESHOLD) -> list[list[int]]:
    """Return groups of rows, each ascending: every row has a true similarity of `threshold` to another of its group.

    Texts equal character by character count as their first row alone; texts without letters and digits are left out.

    Raises:
        ConfigError: If the package datasketch is not installed.
    """
    check_datasketch()
    firsts, same = _gather(texts)

    @lru_cache(maxsize=_KEPT_SETS)
    def shingles_of(index: int) -> np.ndarray:
        return shingle(texts[firsts[index]])

    groups = _Groups(len(firsts))
    keys = _band_keys(texts, firsts)
    with tqdm(total=_BANDS, desc="comparing texts", unit="band", **progress_options()) as bar:
        unlike: set[tuple[int, int]] = set()
        for band in range(_BANDS):
            for members in _equal_keys(keys[:, band]):
                _join_alike(members, groups, unlike, shingles_of=shingles_of, threshold=threshold)
            bar.update()
    return _list_groups(groups, firsts, same)


def similarity(text: str, other: str) -> float:
    """Return the Jaccard similarity of two texts, from 0 to 1."""
    return _jaccard(shingle(text), shingle(other))


def even_out(text: str) -> str:
    """Return `text` in lower case, its characters in their plain width, its letters and digits with spaces between."""
    if text.isascii():
        return " ".join(text.lower().translate(_ASCII_SIGNS).split())
    return _SIGNS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def shingle(text: str) -> np.ndarray:
    """Return the distinct 64-bit hashes of the runs of five characters of a text, sorted; none of signs alone."""
    return np.unique(_hash_runs(even_out(text)))


def _hash_runs(evened: str) -> np.ndarray:
    """Return a hash for each run of characters; a shorter text is one run."""
    if not evened:
        return np.empty(0, dtype=np.uint64)
    points = np.frombuffer(evened.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    count = max(len(points) - RUN_LENGTH + 1, 1)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(min(RUN_LENGTH, len(points))):
        # polynomial hashing modulo 2^64, the high bits folded in so that they spread
        hashes = (hashes ^ (hashes >> np.uint64(29))) * _FACTOR + points[offset : offset + count]
    return hashes * _FACTOR


def _gather(texts: Sequence[str]) -> tuple[list[int], dict[int, list[int]]]:
    """Return the first rows of texts that differ once evened out, and for each the rows of other equal spellings."""
    firsts: list[int] = []
    by_evened: dict[bytes, int] = {}
    spelled: set[bytes] = set()
    same: dict[int, list[int]] = {}
    for row, text in enumerate(texts):
        spelling = digest_text(text.encode("utf-8", "surrogatepass"))
        if spelling in spelled:
            continue
        spelled.add(spelling)
        evened = even_out(text)
        if not evened:
            continue
        first = by_evened.setdefault(digest_text(evened.encode("utf-8", "surrogatepass")), row)
        if first == row:
            firsts.append(row)
        else:
            same.setdefault(first, []).append(row)
    return firsts, same


def _band_keys(texts: Sequence[str], rows: Sequence[int]) -> np.ndarray:
    """Return a key of 64 bits for each band of each row's signature, (rows, bands)."""
    from datasketch import MinHash

    weights = np.random.Generator(np.random.Philox(_SEED)).integers(1, 2**63, _ROWS_OF_A_BAND, dtype=np.uint64)
    weights |= np.uint64(1)
    factors, offsets = MinHash(num_perm=_BANDS * _ROWS_OF_A_BAND, seed=_SEED, scheme="affine32").permutations
    keys = np.empty((len(rows), _BANDS), dtype=np.uint64)
    for index, row in enumerate(tqdm(rows, desc="sketching texts", unit="text", **progress_options())):
        hashes = (_hash_runs(even_out(texts[row])) >> np.uint64(32)).astype(np.uint32)
        bands = _sketch(hashes, factors, offsets).astype(np.uint64).reshape(_BANDS, _ROWS_OF_A_BAND)
        keys[index] = (bands * weights).sum(axis=1, dtype=np.uint64)
    return keys


def _sketch(hashes: np.ndarray, factors: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the least of all `hashes` (runs,) under each of the permutations (permutations,), as MinHash has it.

    The package takes each hash through Python; arrays as large as a processor's cache are three times as fast.
    """
    mixed = hashes ^ (hashes >> np.uint32(16))
    # the finalizer of MurmurHash3
    for factor, shift in ((0x85EBCA6B, 13), (0xC2B2AE35, 16)):
        mixed = mixed * np.uint32(factor)
        mixed ^= mixed >> np.uint32(shift)
    least = np.full(len(factors), 2**32 - 1, dtype=np.uint32)
    for start in range(0, len(mixed), _HASHES_PER_CALL):
        permuted = np.multiply.outer(factors, mixed[start : start + _HASHES_PER_CALL])
        permuted += offsets[:, None]
        np.minimum(least, permuted.min(axis=1), out=least)
    return least


def _equal_keys(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indices, ascending, that share a key, for each key that several have."""
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    bounds = np.concatenate([[0], ends, [len(keys)]])
    for run in np.flatnonzero(np.diff(bounds) > 1):
        yield order[bounds[run] : bounds[run + 1]]


def _join_alike(
    members: np.ndarray,
    groups: "_Groups",
    unlike: set[tuple[int, int]],
    *,
    shingles_of: ShingleSets,
    threshold: float,
) -> None:
    """Join each member to the first of the earlier ones that it is alike."""
    indices = members.tolist()
    for position, index in enumerate(indices):
        for other in indices[: min(position, _COMPARED_AT_MOST)]:
            if groups.find(index) == groups.find(other):
                break
            if (other, index) in unlike:
                continue
            if _jaccard(shingles_of(index), shingles_of(other)) >= threshold:
                groups.join(index, other)
                break
            unlike.add((other, index))


def _jaccard(some: np.ndarray, others: np.ndarray) -> float:
    if not len(some) or not len(others):
        return 0.0
    both = len(np.intersect1d(some, others, assume_unique=True))
    return both / (len(some) + len(others) - both)


class _Groups:
    """Disjoint sets of indices, each known by its smallest."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def find(self, index: int) -> int:
        """Return the smallest index of the set."""
        while self._parents[index] != index:
            self._parents[index] = self._parents[self._parents[index]]
            index = self._parents[index]
        return index

    def join(self, index: int, other: int) -> None:
        """Make one set of two."""
        smaller, larger = sorted((self.find(index), self.find(other)))
        self._parents[larger] = smaller


def _list_groups(groups: _Groups, firsts: Sequence[int], same: dict[int, list[int]]) -> list[list[int]]:
    gathered: dict[int, list[int]] = {}
    for index, row in enumerate(firsts):
        gathered.setdefault(groups.find(index), []).extend([row, *same.get(row, ())])
    return sorted(sorted(rows) for rows in gathered.values() if len(rows) > 1)
