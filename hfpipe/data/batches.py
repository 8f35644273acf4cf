"""Batch plans: which rows each process sees in which micro-batch, as a pure function of (seed, epoch).

Training goes through windows: the rows of one optimizer step over all processes and micro-batches.
The rows of a window depend on the seed, the epoch and the global batch size alone, so the same global
batch cut differently (8x1, 2x4, two processes) trains on the same rows in each step. The last window
of an epoch is shorter; a process left without a row gets a filler, which carries no label and so no
weight. No row is ever repeated to even things out. A run that goes on begins at its step: neither the
batches before it are made, nor their rows asked for.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Protocol

import numpy as np

from hfpipe.data.splits import seeded_order

FILLER = -1
"""Row id that stands for 'no row': a data set answers it with a row whose labels are all ignored."""


# Above the stages of splitting and sampling, whose orders come from the same seed.
FIRST_EPOCH = 1_000


class Plan(Protocol):
    """What training asks of a plan, whatever decides how many rows a micro-batch has."""

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""
        ...

    @property
    def gradient_accumulation_steps(self) -> int:
        """Micro-batches of each process in a full window."""
        ...

    @property
    def world_size(self) -> int:
        """Processes."""
        ...

    @property
    def in_order(self) -> bool:
        """Whether rows come as they are, as those of a stream."""
        ...

    @property
    def rows_per_step(self) -> int:
        """Rows in a full window; on average, where a budget of tokens decides."""
        ...

    @property
    def rows_at_once(self) -> int:
        """Rows in the largest micro-batch of one process."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch, the same in every epoch."""
        ...

    @property
    def micro_batches_per_epoch(self) -> int:
        """Micro-batches of each process in an epoch."""
        ...

    def total_steps(self, num_train_epochs: float, max_steps: int) -> int:
        """Return the optimizer steps of a run."""
        ...

    def count_samples(self, step: int) -> int:
        """Return the rows trained on in the first `step` steps of a run."""
        ...

    def epoch_at(self, step: int) -> float:
        """Return the epochs behind `step`, the last in part by its rows."""
        ...

    def order(self, epoch: int) -> np.ndarray:
        """Return every row id once, in the order of training."""
        ...

    def window(self, epoch: int, step_in_epoch: int) -> np.ndarray:
        """Return the row ids of one optimizer step over all processes."""
        ...

    def micro_batches(self, epoch: int, rank: int, *, first: int = 0) -> Iterator[list[int]]:
        """Yield the row ids of the micro-batches of process `rank` from the `first` of the epoch on."""
        ...


@dataclass(frozen=True)
class BatchPlan:
    """How the rows of an epoch are dealt out to steps, micro-batches and processes.

    `in_order` is for rows that come as they are, as those of a stream: ids are counted, not shuffled, and never listed.
    """

    num_rows: int
    per_device_batch_size: int
    gradient_accumulation_steps: int
    world_size: int
    seed: int
    in_order: bool = False

    @property
    def rows_per_micro_batch(self) -> int:
        """Rows in one micro-batch over all processes."""
        return self.per_device_batch_size * self.world_size

    @property
    def rows_per_step(self) -> int:
        """Rows in a full window."""
        return self.rows_per_micro_batch * self.gradient_accumulation_steps

    @property
    def rows_at_once(self) -> int:
        """Rows in the largest micro-batch of one process."""
        return self.per_device_batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch, the short last one included."""
        return -(-self.num_rows // self.rows_per_step)

    @property
    def micro_batches_per_epoch(self) -> int:
        """Micro-batches of each process in an epoch; the last window has only as many as its rows need."""
        full_steps, rest = divmod(self.num_rows, self.rows_per_step)
        return full_steps * self.gradient_accumulation_steps + -(-rest // self.rows_per_micro_batch)

    def total_steps(self, num_train_epochs: float, max_steps: int) -> int:
        """Return the optimizer steps of a run; `max_steps` decides where it is above 0, as in Trainer."""
        return max_steps if max_steps > 0 else math.ceil(num_train_epochs * self.steps_per_epoch)

    def count_samples(self, step: int) -> int:
        """Return the rows trained on in the first `step` steps of a run; the last window of an epoch may be short."""
        epochs, steps = divmod(step, self.steps_per_epoch)
        return epochs * self.num_rows + steps * self.rows_per_step

    def epoch_at(self, step: int) -> float:
        """Return the epochs behind `step`, the last in part by its rows: the same for every cut of a window."""
        return self.count_samples(step) / self.num_rows

    def order(self, epoch: int) -> np.ndarray:
        """Return every row id once, shuffled by (seed, epoch) unless they keep their order."""
        if self.in_order:
            return np.arange(self.num_rows)
        return seeded_order(self.num_rows, seed=self.seed, stage=FIRST_EPOCH + epoch)

    def window(self, epoch: int, step_in_epoch: int) -> np.ndarray:
        """Return the row ids of one optimizer step over all processes."""
        start = step_in_epoch * self.rows_per_step
        return np.asarray(self._ids(epoch)[start : start + self.rows_per_step])

    def micro_batches(self, epoch: int, rank: int, *, first: int = 0) -> Iterator[list[int]]:
        """Yield the row ids of the micro-batches of process `rank` from the `first` (0 and up) of the epoch on.

        Where no row is left for the process, a micro-batch is `[FILLER]`.
        """
        order = self._ids(epoch)
        for start in range(first * self.rows_per_micro_batch, self.num_rows, self.rows_per_micro_batch):
            rows = np.asarray(order[start : start + self.rows_per_micro_batch])
            yield rows[rank :: self.world_size].tolist() or [FILLER]

    def _ids(self, epoch: int) -> "np.ndarray | range":
        return range(self.num_rows) if self.in_order else self.order(epoch)


class PlannedBatches:
    """The micro-batches of one process as a `batch_sampler` for `torch.utils.data.DataLoader`.

    Trainer goes on within an epoch by drawing the micro-batches behind it and dropping them (`skip_first_batches`).
    They are `None` here (40 ms a million, one core, 2026-11); a data set that is asked for `None` raises.
    """

    def __init__(self, plan: Plan, *, rank: int) -> None:
        self.plan = plan
        self.rank = rank
        self.epoch = 0
        self.behind = 0

    def go_to(self, step: int) -> None:
        """Choose the epoch of `step` (0 and up over the run), and the micro-batches of it that were trained on."""
        self.epoch, steps = divmod(step, self.plan.steps_per_epoch)
        self.behind = steps * self.plan.gradient_accumulation_steps

    def __iter__(self) -> Iterator[list[int] | None]:
        return chain(repeat(None, self.behind), self.plan.micro_batches(self.epoch, self.rank, first=self.behind))

    def __len__(self) -> int:
        return self.plan.micro_batches_per_epoch


def plan_evaluation(
    lengths: Sequence[int] | np.ndarray, batch_size: int, *, world_size: int, rank: int
) -> list[list[int]]:
    """Return the batches of process `rank` that together score every row once, longest rows first.

    Rows of like length share a batch, so little is padded; exact sums make the order immaterial. Every
    process gets the same number of batches, since wrapped models communicate in their forward pass.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches = [order[start : start + batch_size].tolist() for start in range(0, len(order), batch_size)]
    return share_out(batches, world_size=world_size, rank=rank)


def share_out(batches: Sequence[list[int]], *, world_size: int, rank: int) -> list[list[int]]:
    """Return the batches of process `rank`, made up with fillers to as many as every process has."""
    own = [*batches[rank::world_size]]
    return own + [[FILLER]] * (-(-len(batches) // world_size) - len(own))
