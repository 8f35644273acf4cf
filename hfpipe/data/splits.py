"""Seeded, stratified choices of rows: the validation split and the samples.

The order comes from raw 64-bit draws of Philox, whose stream numpy guarantees, and not from numpy's
`shuffle` or `permutation`, whose algorithms may change: a seed chooses the same rows on every machine.
Shares are computed in whole numbers for the same reason.
"""

from enum import IntEnum

import numpy as np


class Stage(IntEnum):
    """What a choice is for; each draws from a stream of its own."""

    VALIDATION_SPLIT = 1
    TRAIN_SAMPLE = 2
    VALIDATION_SAMPLE = 3
    TEST_SAMPLE = 4


def seeded_order(count: int, *, seed: int, stage: int) -> np.ndarray:
    """Return the ids 0 to `count` - 1 in an order that is a pure function of `seed` and `stage`.

    Raw draws of a counter-based generator, stably sorted: numpy's own shuffles may change between versions.
    """
    draws = np.random.Philox(key=np.array([seed, stage], dtype=np.uint64)).random_raw(count)
    return np.argsort(draws, kind="stable")


def apportion(sizes: np.ndarray, total: int, *, minimum: np.ndarray, maximum: np.ndarray) -> np.ndarray:
    """Return how many of `total` fall to each class, by size, between `minimum` and `maximum`.

    Largest remainders (Hamilton), ties to the first class. Where the bounds forbid `total`, the
    nearest sum they allow is returned.
    """
    exact = [int(size) * total for size in sizes]
    whole = max(1, int(sizes.sum()))
    shares = np.clip(np.array([value // whole for value in exact], dtype=np.int64), minimum, maximum)
    by_remainder = np.argsort([-(value % whole) for value in exact], kind="stable")
    wanted = min(max(total, int(minimum.sum())), int(maximum.sum()))
    while (missing := wanted - int(shares.sum())) != 0:
        step = 1 if missing > 0 else -1
        order = by_remainder if step > 0 else np.argsort(-shares, kind="stable")
        room = [index for index in order if minimum[index] <= shares[index] + step <= maximum[index]]
        shares[room[: abs(missing)]] += step
    return shares


def hold_out(classes: np.ndarray, fraction: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids that stay and the ids held out, both ascending.

    `classes` holds the class of each row, 0 and up. Every class keeps at least one row on each side;
    each must have two.
    """
    sizes = np.bincount(classes)
    assert (sizes[sizes > 0] >= 2).all(), "a class of one row cannot be split"
    minimum, maximum = np.minimum(sizes, 1), np.maximum(sizes - 1, 0)
    shares = apportion(sizes, round(len(classes) * fraction), minimum=minimum, maximum=maximum)
    held_out = _first_of_each(classes, shares, seeded_order(len(classes), seed=seed, stage=Stage.VALIDATION_SPLIT))
    return np.setdiff1d(np.arange(len(classes)), held_out, assume_unique=True), held_out


def sample(classes: np.ndarray, limit: int | None, *, seed: int, stage: Stage) -> np.ndarray:
    """Return at most `limit` ids (None: all), ascending, each class by its share and none lost where `limit` allows."""
    if limit is None or limit >= len(classes):
        return np.arange(len(classes))
    sizes = np.bincount(classes)
    present = np.minimum(sizes, 1)
    minimum = present if int(present.sum()) <= limit else np.zeros_like(sizes)
    shares = apportion(sizes, limit, minimum=minimum, maximum=sizes)
    return _first_of_each(classes, shares, seeded_order(len(classes), seed=seed, stage=stage))


def _first_of_each(classes: np.ndarray, shares: np.ndarray, order: np.ndarray) -> np.ndarray:
    ordered = classes[order]
    chosen = [order[np.flatnonzero(ordered == index)[:share]] for index, share in enumerate(shares)]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.int64)
