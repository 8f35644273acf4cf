"""Batch plans: every row once, the same windows for every cut, fillers at uneven ends, and a cursor to go on from."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, cast

import numpy as np
import pytest
from accelerate import skip_first_batches
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from hfpipe.data.batches import FILLER, BatchPlan, PlannedBatches, plan_evaluation
from hfpipe.data.splits import stable_order


def make_plan(rows: int, batch: int, micro_batches: int, world: int) -> BatchPlan:
    return BatchPlan(rows, batch, micro_batches, world, seed=7)


plans = st.builds(
    make_plan,
    rows=st.integers(1, 60),
    batch=st.integers(1, 5),
    micro_batches=st.integers(1, 4),
    world=st.integers(1, 4),
)


@given(plans, st.integers(0, 5))
def test_an_epoch_holds_every_row_once(plan: BatchPlan, epoch: int) -> None:
    batches = [list(plan.micro_batches(epoch, rank)) for rank in range(plan.world_size)]
    seen = [row for own in batches for batch in own for row in batch if row != FILLER]
    assert sorted(seen) == list(range(plan.num_rows))
    assert {len(own) for own in batches} == {plan.micro_batches_per_epoch}
    assert len(PlannedBatches(plan, rank=0)) == plan.micro_batches_per_epoch


@given(plans, st.integers(0, 3))
def test_windows_are_what_the_processes_see_together(plan: BatchPlan, epoch: int) -> None:
    batches = [list(plan.micro_batches(epoch, rank)) for rank in range(plan.world_size)]
    for step in range(plan.steps_per_epoch):
        start = step * plan.gradient_accumulation_steps
        micro = [own[start : start + plan.gradient_accumulation_steps] for own in batches]
        rows = [row for own in micro for batch in own for row in batch if row != FILLER]
        assert sorted(rows) == sorted(plan.window(epoch, step).tolist())


def test_equal_global_batches_have_equal_windows() -> None:
    cuts = [make_plan(21, 8, 1, 1), make_plan(21, 2, 4, 1), make_plan(21, 4, 1, 2), make_plan(21, 1, 4, 2)]
    windows = [[plan.window(1, step).tolist() for step in range(plan.steps_per_epoch)] for plan in cuts]
    assert [len(window) for window in windows[0]] == [8, 8, 5]
    assert all(other == windows[0] for other in windows)


def test_the_short_last_window_gives_a_process_a_filler() -> None:
    plan = make_plan(5, 2, 1, 2)
    last = [list(plan.micro_batches(0, rank))[-1] for rank in range(2)]
    assert len(last[0]) == 1
    assert last[1] == [FILLER]


def test_epochs_and_seeds_shuffle_differently() -> None:
    plan = make_plan(50, 4, 1, 1)
    assert plan.order(0).tolist() != plan.order(1).tolist()
    assert plan.order(0).tolist() != BatchPlan(50, 4, 1, 1, seed=8).order(0).tolist()
    # other versions of numpy must give the same order, or a resumed run would see other rows
    assert BatchPlan(8, 1, 1, 1, seed=42).order(0).tolist() == ORDER_OF_SEED_42


ORDER_OF_SEED_42 = [2, 3, 7, 5, 0, 6, 4, 1]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 6), st.integers(1, 3))
def test_an_evaluation_scores_every_row_once(lengths: list[int], batch_size: int, world: int) -> None:
    shares = [plan_evaluation(lengths, batch_size, world_size=world, rank=rank) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    rows = [row for share in shares for batch in share for row in batch if row != FILLER]
    assert sorted(rows) == list(range(len(lengths)))
    first = [lengths[row] for row in shares[0][0]]
    assert first == sorted(lengths, reverse=True)[: len(first)]


# going on


@given(plans, st.integers(0, 40))
def test_the_cursor_counts_the_rows_of_the_windows_before_it(plan: BatchPlan, step: int) -> None:
    windows = [plan.window(*divmod(each, plan.steps_per_epoch)) for each in range(step)]
    assert plan.count_samples(step) == sum(map(len, windows))
    assert plan.count_samples(plan.steps_per_epoch) == plan.num_rows
    assert plan.epoch_at(step * plan.steps_per_epoch) == step


def test_the_cursor_and_the_epoch_of_a_step_by_hand() -> None:
    plan = make_plan(21, 2, 4, 1)
    assert [plan.count_samples(step) for step in range(8)] == [0, 8, 16, 21, 29, 37, 42, 50]
    assert [plan.epoch_at(step) for step in (1, 2, 3, 4)] == [8 / 21, 16 / 21, 1.0, 29 / 21]


@dataclass(frozen=True)
class Ids:
    """Rows whose content is their id; `asked` keeps every micro-batch that was asked for."""

    asked: list[list[int]] = field(default_factory=list)

    def __getitems__(self, row_ids: list[int]) -> list[int]:
        self.asked.append(list(row_ids))
        return self.asked[-1]


def go_on(plan: BatchPlan, rank: int, *, steps: range, workers: int = 0) -> Iterator[list[list[int]]]:
    """Yield the micro-batches of each step as Trainer's loop draws them when it goes on at the first of `steps`."""
    done = steps.start
    while done < steps.stop:
        batches = PlannedBatches(plan, rank=rank)
        batches.go_to(done)
        loader: DataLoader[Any] = DataLoader(
            cast("Any", Ids()), batch_sampler=cast("Any", batches), collate_fn=list, num_workers=workers
        )
        behind = done % plan.steps_per_epoch * plan.gradient_accumulation_steps
        left = iter(skip_first_batches(loader, behind) if behind else loader)
        for _ in range(min(plan.steps_per_epoch - done % plan.steps_per_epoch, steps.stop - done)):
            yield list(islice(left, plan.gradient_accumulation_steps))
            done += 1


cuts_of_twelve = st.sampled_from([(b, m, w) for b in (1, 2, 3, 4, 6, 12) for m in (1, 2, 3, 4) for w in (1, 2, 3, 4)])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 50), st.lists(cuts_of_twelve.filter(lambda cut: math.prod(cut) == 12), min_size=2, max_size=4))
def test_sessions_of_other_cuts_go_on_where_the_one_before_stood(rows: int, cuts: list[tuple[int, int, int]]) -> None:
    plans = [make_plan(rows, *cut) for cut in cuts]
    last = 3 * plans[0].steps_per_epoch
    stops = [last * number // len(cuts) for number in range(len(cuts) + 1)]
    seen: list[list[int]] = []
    for plan, *ends in zip(plans, stops, stops[1:], strict=False):
        ranks = [list(go_on(plan, rank, steps=range(*ends))) for rank in range(plan.world_size)]
        for own in zip(*ranks, strict=True):
            seen.append(sorted(row for step in own for batch in step for row in batch if row != FILLER))
    straight = [plans[0].window(*divmod(step, plans[0].steps_per_epoch)) for step in range(last)]
    assert seen == [sorted(window.tolist()) for window in straight]
    assert sorted(chain.from_iterable(seen)) == sorted([*range(rows)] * 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing_when_a_run_goes_on(workers: int) -> None:
    plan = make_plan(29, 2, 2, 1)
    found = list(go_on(plan, 0, steps=range(5, 20), workers=workers))
    micro_batches = [list(plan.micro_batches(epoch, 0)) for epoch in range(3)]
    steps = [own[start : start + 2] for own in micro_batches for start in range(0, len(own), 2)]
    assert found == steps[5:20]


@dataclass(frozen=True)
class CountedPlan(BatchPlan):
    """A plan that tells how often an order is drawn, and which micro-batches are made."""

    drawn: list[int] = field(default_factory=list)
    made: list[list[int]] = field(default_factory=list)

    def micro_batches(self, epoch: int, rank: int, *, first: int = 0) -> Iterator[list[int]]:
        for micro_batch in super().micro_batches(epoch, rank, first=first):
            self.made.append(micro_batch)
            yield micro_batch

    def order(self, epoch: int) -> np.ndarray:
        self.drawn.append(epoch)
        return super().order(epoch)


def test_a_million_batches_are_passed_without_a_row_or_a_second_order() -> None:
    plan, rows = CountedPlan(1_000_003, 1, 2, 1, seed=7), Ids()
    started = time.monotonic()
    batches = PlannedBatches(plan, rank=0)
    batches.go_to(500_000)
    loader: DataLoader[Any] = DataLoader(cast("Any", rows), batch_sampler=cast("Any", batches), collate_fn=list)
    found = list(skip_first_batches(loader, 1_000_000))
    # measured 0.1 s on one core
    assert time.monotonic() - started < 3.0
    assert plan.drawn == [0]
    assert found == rows.asked == plan.made == [[row] for row in BatchPlan.order(plan, 0)[-3:].tolist()]


def test_a_batch_behind_the_run_cannot_be_taken_for_rows() -> None:
    batches = PlannedBatches(make_plan(9, 3, 1, 1), rank=0)
    batches.go_to(1)
    loader: DataLoader[Any] = DataLoader(cast("Any", Ids()), batch_sampler=cast("Any", batches), collate_fn=list)
    with pytest.raises(TypeError):
        next(iter(loader))


@given(st.lists(st.integers(0, 5), max_size=30))
def test_equal_draws_keep_their_order(draws: list[int]) -> None:
    values = np.array(draws, dtype=np.uint64)
    assert stable_order(values).tolist() == np.argsort(values, kind="stable").tolist()
