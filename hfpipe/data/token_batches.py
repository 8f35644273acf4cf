"""Micro-batches by a budget of token positions: as many rows as fit, dealt out anew in every epoch.

Rows are ordered by length and cut into strata. In every epoch each stratum is shuffled and dealt into micro-batches,
which are shuffled in turn. What a stratum is depends on what padding costs. Where padded positions are computed, a
micro-batch is filled from one stratum of rows whose lengths are close; strata are as wide as `PADDING_AT_MOST` allows:
the wider, the more rows a row may meet. Where they are not (`padding_free`), a stratum has as many rows as there are
micro-batches, and each gets one row of every stratum: all are alike in rows, in tokens, and in lengths.

The decision worth knowing: what is cut depends on lengths alone, and chance only chooses which rows fill it. So every
epoch has the same number of micro-batches of the same sizes, and Trainer's schedule is exact. A row over the budget is
refused by the configuration, before there are rows.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from hfpipe.data.batches import FILLER, FIRST_EPOCH, share_out
from hfpipe.data.splits import seeded_draws, stable_order

PADDING_AT_MOST = 0.025
"""Share of positions that hold no token, were every row of a stratum beside its longest one; what comes out is less.

Of few rows of scattered lengths it may be more: a micro-batch is filled first.
"""

PADDED_AT_MOST = 4
"""Budgets that a micro-batch may have of positions with its padding: embeddings and head see that, layers do not."""

# shares by which the mean of a stratum may be below its longest row, the widest first
_TOLERANCES = (*(2 ** (-half / 2) for half in range(1, 16)), 0.0)


@dataclass(frozen=True)
class Strata:
    """Rows in order of length, longest first, and how they are dealt.

    `row_ids` (rows,) and `numbers` (rows,), the stratum of each, are in that order. `places` (rows,) has each place of
    it once, micro-batch by micro-batch: micro-batch b is filled from `places[starts[b]:starts[b + 1]]`.
    """

    row_ids: np.ndarray
    numbers: np.ndarray
    places: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True)
class _Epoch:
    """Row ids in the order of training, and where each micro-batch begins, (micro-batches + 1,)."""

    order: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True, eq=False)
class TokenBatchPlan:
    """How the rows of an epoch are dealt out by a budget; a pure function of what it is made of, and the epoch.

    `positions` (rows,) are the token positions each row takes by itself: its length, or its windows times the longest.
    `padding_free` says that a micro-batch computes the sum of them, rather than its rows times the most of them.
    """

    positions: np.ndarray
    max_tokens_per_batch: int
    gradient_accumulation_steps: int
    world_size: int
    seed: int
    padding_free: bool = False

    @cached_property
    def strata(self) -> Strata:
        """How the rows are cut in every epoch."""
        find = find_even_strata if self.padding_free else find_strata
        return find(self.positions, self.max_tokens_per_batch)

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""
        return len(self.positions)

    @property
    def in_order(self) -> bool:
        """Whether rows come as they are: no."""
        return False

    @property
    def global_micro_batches(self) -> int:
        """Micro-batches in an epoch over all processes, fillers not counted."""
        return len(self.strata.starts) - 1

    @property
    def micro_batches_per_step(self) -> int:
        """Micro-batches in a full window over all processes."""
        return self.gradient_accumulation_steps * self.world_size

    @property
    def tokens_per_step(self) -> int:
        """Positions that a full window may have."""
        return self.max_tokens_per_batch * self.micro_batches_per_step

    @property
    def mean_rows_per_step(self) -> float:
        """Rows in a full window on average; all rows where an epoch is one short window."""
        return self.num_rows * min(self.micro_batches_per_step / self.global_micro_batches, 1)

    @property
    def rows_per_step(self) -> int:
        """Rows in a full window on average, in whole ones."""
        return round(self.mean_rows_per_step)

    @property
    def rows_at_once(self) -> int:
        """Rows in the largest micro-batch of one process."""
        return int(np.diff(self.strata.starts).max())

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch, the short last one included."""
        return -(-self.global_micro_batches // self.micro_batches_per_step)

    @property
    def micro_batches_per_epoch(self) -> int:
        """Micro-batches of each process in an epoch; the last window has only as many as there are left."""
        return -(-self.global_micro_batches // self.world_size)

    def total_steps(self, num_train_epochs: float, max_steps: int) -> int:
        """Return the optimizer steps of a run; `max_steps` decides where it is above 0, as in Trainer."""
        return max_steps if max_steps > 0 else math.ceil(num_train_epochs * self.steps_per_epoch)

    def count_samples(self, step: int) -> int:
        """Return the rows trained on in the first `step` steps of a run; windows differ in rows."""
        epochs, steps = divmod(step, self.steps_per_epoch)
        begun = int(self._epoch(epochs).starts[steps * self.micro_batches_per_step]) if steps else 0
        return epochs * self.num_rows + begun

    def epoch_at(self, step: int) -> float:
        """Return the epochs behind `step`, the last in part by its rows: the same for every cut of a window."""
        return self.count_samples(step) / self.num_rows

    def order(self, epoch: int) -> np.ndarray:
        """Return every row id once, in the order of training."""
        return self._epoch(epoch).order

    def window(self, epoch: int, step_in_epoch: int) -> np.ndarray:
        """Return the row ids of one optimizer step over all processes."""
        drawn, first = self._epoch(epoch), step_in_epoch * self.micro_batches_per_step
        last = min(first + self.micro_batches_per_step, self.global_micro_batches)
        return drawn.order[drawn.starts[first] : drawn.starts[last]]

    def micro_batches(self, epoch: int, rank: int, *, first: int = 0) -> Iterator[list[int]]:
        """Yield the row ids of the micro-batches of process `rank` from the `first` (0 and up) of the epoch on.

        Where none is left for the process, a micro-batch is `[FILLER]`.
        """
        drawn = self._epoch(epoch)
        for own in range(first, self.micro_batches_per_epoch):
            number = own * self.world_size + rank
            is_there = number < self.global_micro_batches
            yield drawn.order[drawn.starts[number] : drawn.starts[number + 1]].tolist() if is_there else [FILLER]

    @cached_property
    def _epoch(self) -> Callable[[int], _Epoch]:
        """How an epoch is drawn; the last one is kept, for every step asks where it stands in it."""
        return lru_cache(maxsize=1)(self._draw)

    def _draw(self, epoch: int) -> _Epoch:
        strata, batches = self.strata, self.global_micro_batches
        draws = seeded_draws(self.num_rows + 2 * batches, seed=self.seed, stage=FIRST_EPOCH + epoch)
        of_rows, of_batches, of_places = np.split(draws, [self.num_rows, self.num_rows + batches])
        row_ids = strata.row_ids[np.lexsort((of_rows, strata.numbers))]
        sequence = _deal(of_batches, of_places, per_step=self.micro_batches_per_step)
        sizes = np.diff(strata.starts)[sequence]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        taken = np.repeat(strata.starts[sequence] - starts[:-1], sizes) + np.arange(self.num_rows)
        return _Epoch(row_ids[strata.places[taken]], starts)


def find_strata(positions: np.ndarray, max_tokens_per_batch: int) -> Strata:
    """Return the widest strata whose padding is at most `PADDING_AT_MOST`; the narrowest where none are."""
    row_ids = np.argsort(-positions, kind="stable")
    ordered = positions[row_ids]
    totals = np.concatenate(([0], np.cumsum(ordered)))
    bounds: list[tuple[int, int]] = []
    for tolerance in _TOLERANCES:
        bounds = list(_cut(ordered, totals, max_tokens_per_batch, tolerance=tolerance))
        computed = sum(int(ordered[start]) * (stop - start) for start, stop in bounds)
        if 1 - totals[-1] / computed <= PADDING_AT_MOST:
            break
    sizes = [stop - start for start, stop in bounds]
    starts = [np.arange(start, stop, max_tokens_per_batch // ordered[start]) for start, stop in bounds]
    numbers, places = np.repeat(np.arange(len(bounds)), sizes), np.arange(len(ordered))
    return Strata(row_ids, numbers, places, np.append(np.concatenate(starts), len(ordered)))


def find_even_strata(positions: np.ndarray, max_tokens_per_batch: int) -> Strata:
    """Return strata of as many rows as there are micro-batches; these are as few as never exceed the budget.

    The most a micro-batch can have is the longest row of each stratum, at most one longest row more than the mean. Rows
    times the longest of all stay within `PADDED_AT_MOST` budgets: many short rows beside a long one are dealt to more.
    """
    row_ids = np.argsort(-positions, kind="stable")
    ordered = positions[row_ids]

    def suffices(count: int) -> bool:
        rows = -(-len(ordered) // count)
        is_padded_little = rows * ordered[0] <= PADDED_AT_MOST * max_tokens_per_batch
        return bool(is_padded_little and ordered[::count].sum() <= max_tokens_per_batch)

    counts = range(1, len(ordered) + 1)
    batches = counts[bisect_left(counts, True, key=suffices)]
    numbers, dealt = np.divmod(np.arange(len(ordered)), batches)
    places = np.argsort(dealt, kind="stable")
    sizes = np.bincount(dealt, minlength=batches)
    return Strata(row_ids, numbers, places, np.concatenate(([0], np.cumsum(sizes))))


def plan_evaluation_by_tokens(
    positions: np.ndarray, max_tokens_per_batch: int, *, world_size: int, rank: int
) -> list[list[int]]:
    """Return what `plan_evaluation` does, batches filled to the budget; nothing is left to chance."""
    row_ids = np.argsort(-positions, kind="stable")
    batches, start = [], 0
    while start < len(row_ids):
        stop = start + max(max_tokens_per_batch // int(positions[row_ids[start]]), 1)
        batches.append(row_ids[start:stop].tolist())
        start = stop
    return share_out(batches, world_size=world_size, rank=rank)


def _cut(
    ordered: np.ndarray, totals: np.ndarray, max_tokens_per_batch: int, *, tolerance: float
) -> Iterator[tuple[int, int]]:
    """Yield start and stop of strata of whole micro-batches; the last one may be a part of one.

    A stratum goes on while the mean of its rows is at most the share `tolerance` below its longest; `totals` are the
    running sums of `ordered`. The mean of what falls only falls, so the end is found by halving.
    """
    start = 0
    while start < len(ordered):
        longest, begun = int(ordered[start]), int(totals[start])
        least = (1 - tolerance) * longest
        left = range(1, len(ordered) - start + 1)
        like = bisect_left(left, True, key=lambda rows: int(totals[start + rows]) - begun < least * rows)
        at_once = max_tokens_per_batch // longest
        stop = min(start + max(like // at_once, 1) * at_once, len(ordered))
        yield start, stop
        start = stop


def _deal(of_batches: np.ndarray, of_places: np.ndarray, *, per_step: int) -> np.ndarray:
    """Return the numbers of the micro-batches, which go by length, in the order of training.

    Those of the short last window are drawn from all. The others are cut into `per_step` groups by length, and each
    step gets one of every group, in an order of its own: so steps are alike, and processes too.
    """
    shuffled = stable_order(of_batches)
    left = len(shuffled) % per_step
    groups = np.sort(shuffled[left:]).reshape(per_step, -1)
    steps = np.take_along_axis(groups, np.argsort(of_batches[groups], axis=1, kind="stable"), axis=1).T
    steps = np.take_along_axis(steps, np.argsort(of_places[steps], axis=1, kind="stable"), axis=1)
    return np.concatenate((steps.ravel(), shuffled[:left]))
