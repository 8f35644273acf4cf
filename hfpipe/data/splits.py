"""Seeded, stratified choices of rows: the validation split and the samples.

The order comes from raw 64-bit draws of Philox, whose stream numpy guarantees, and not from numpy's
`shuffle` or `permutation`, whose algorithms may change: a seed chooses the same rows on every machine.
Shares are computed in whole numbers for the same reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

_DRAWS_AT_ONCE = 1 << 20
_HEAD_BITS = 16


class Stage(IntEnum):
    """What a choice is for; each draws from a stream of its own."""

    VALIDATION_SPLIT = 1
    TRAIN_SAMPLE = 2
    VALIDATION_SAMPLE = 3
    TEST_SAMPLE = 4
    LABEL_COVER = 5


@dataclass(frozen=True)
class Strata:
    """The class of each row, 0 and up, by which shares are kept, and whether it must stay in training (None: none)."""

    classes: np.ndarray
    kept: np.ndarray | None = None

    def take(self, ids: np.ndarray) -> "Strata":
        """Return the strata of some rows, in the order of `ids`."""
        return Strata(self.classes[ids], None if self.kept is None else self.kept[ids])

    def room(self) -> np.ndarray:
        """Return how many rows of each class may be held out: all but one, and none that stays in training."""
        sizes = np.bincount(self.classes)
        free = sizes if self.kept is None else np.bincount(self.classes[~self.kept], minlength=len(sizes))
        return np.minimum(free, np.maximum(sizes - 1, 0))


def seeded_order(count: int, *, seed: int, stage: int) -> np.ndarray:
    """Return the ids 0 to `count` - 1 in an order that is a pure function of `seed` and `stage`.

    Raw draws of a counter-based generator, stably sorted: numpy's own shuffles may change between versions.
    """
    return stable_order(seeded_draws(count, seed=seed, stage=stage))


def seeded_draws(count: int, *, seed: int, stage: int) -> np.ndarray:
    """Return `count` raw draws of 64 bits, (count,) uint64, a pure function of `seed` and `stage`."""
    return np.random.Philox(key=np.array([seed, stage], dtype=np.uint64)).random_raw(count)


def first_of_order(count: int, share: int, *, seed: int, stage: int) -> np.ndarray:
    """Return the first `share` ids of `seeded_order`, ascending, without an order of all: they may be millions."""
    if not share:
        return np.empty(0, dtype=np.int64)
    counts = np.zeros(1 << _HEAD_BITS, dtype=np.int64)
    for _, heads, _ in _draw_portions(count, seed=seed, stage=stage):
        counts += np.bincount(heads, minlength=len(counts))
    highest = int(np.searchsorted(np.cumsum(counts), share))
    ids, drawn = [], []
    for begin, heads, draws in _draw_portions(count, seed=seed, stage=stage):
        low = np.flatnonzero(heads <= highest)
        ids.append(low + begin)
        drawn.append(draws[low])
    chosen = stable_order(np.concatenate(drawn))[:share]
    return np.sort(np.concatenate(ids)[chosen])


def _draw_portions(count: int, *, seed: int, stage: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield `seeded_draws` in portions: the number of the first one, the highest bits of each, and the draws."""
    generator = np.random.Philox(key=np.array([seed, stage], dtype=np.uint64))
    for begin in range(0, count, _DRAWS_AT_ONCE):
        draws = generator.random_raw(min(_DRAWS_AT_ONCE, count - begin))
        yield begin, (draws >> np.uint64(64 - _HEAD_BITS)).astype(np.int64), draws


def list_others(count: int, ids: np.ndarray) -> np.ndarray:
    """Return the ids from 0 to `count` - 1 that are not among `ids`, ascending."""
    is_other = np.ones(count, dtype=bool)
    is_other[ids] = False
    return np.flatnonzero(is_other)


def stable_order(values: np.ndarray) -> np.ndarray:
    """Return what a stable `argsort` does, in a third of the time where no two values are equal."""
    order = np.argsort(values)
    ordered = values[order]
    return order if (ordered[1:] != ordered[:-1]).all() else np.argsort(values, kind="stable")


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


def hold_out(strata: Strata, fraction: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids that stay and the ids held out, both ascending.

    Every class of two rows or more has one on each side, save where all but one must stay; a single row stays.
    """
    sizes, maximum = np.bincount(strata.classes), strata.room()
    count = len(strata.classes)
    shares = apportion(sizes, round(count * fraction), minimum=np.minimum(maximum, 1), maximum=maximum)
    if strata.kept is None and len(sizes) == 1:
        held_out = first_of_order(count, int(shares[0]), seed=seed, stage=Stage.VALIDATION_SPLIT)
    else:
        order = seeded_order(count, seed=seed, stage=Stage.VALIDATION_SPLIT)
        free = order if strata.kept is None else order[~strata.kept[order]]
        held_out = _first_of_each(strata.classes, shares, free)
    return list_others(count, held_out), held_out


def sample(strata: Strata, limit: int | None, *, seed: int, stage: Stage) -> np.ndarray:
    """Return at most `limit` ids (None: all), ascending, each class by its share and none lost where `limit` allows.

    Rows that stay in training are all among them: `limit` is at least their number.
    """
    count = len(strata.classes)
    if limit is None or limit >= count:
        return np.arange(count)
    sizes = np.bincount(strata.classes)
    kept = np.zeros(count, dtype=bool) if strata.kept is None else strata.kept
    needed = np.bincount(strata.classes[kept], minlength=len(sizes))
    present = np.maximum(needed, np.minimum(sizes, 1))
    minimum = present if int(present.sum()) <= limit else needed
    shares = apportion(sizes, limit, minimum=minimum, maximum=sizes)
    if strata.kept is None and len(sizes) == 1:
        return first_of_order(count, int(shares[0]), seed=seed, stage=stage)
    order = seeded_order(count, seed=seed, stage=stage)
    return _first_of_each(strata.classes, shares, np.concatenate([order[kept[order]], order[~kept[order]]]))


def _first_of_each(classes: np.ndarray, shares: np.ndarray, order: np.ndarray) -> np.ndarray:
    ordered = classes[order]
    chosen = [order[np.flatnonzero(ordered == index)[:share]] for index, share in enumerate(shares)]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.int64)
