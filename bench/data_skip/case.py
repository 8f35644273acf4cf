"""Measures each number of batches."""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any, cast

import torch
from accelerate import skip_first_batches
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from bench.report import Report, Table
from hfpipe.data.batches import BatchPlan, PlannedBatches

SEED = 42
BATCHES_AFTER = 2
ROUNDS = 3


class Ids:
    """Rows whose content is their id, so many of them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, row_ids: list[int]) -> list[int]:
        """Return what was asked for."""
        return list(row_ids)


def plain_loader(batches: int, rows: int) -> DataLoader[Any]:
    """Return a loader as plain Trainer has it: a seeded random sampler, in batches."""
    ids = Ids((batches + BATCHES_AFTER) * rows)
    shuffled = RandomSampler(cast("Any", ids), generator=torch.Generator().manual_seed(SEED))
    return DataLoader(cast("Any", ids), batch_sampler=BatchSampler(shuffled, rows, drop_last=False), collate_fn=list)


def planned_loader(batches: int, rows: int) -> DataLoader[Any]:
    """Return a loader over a batch plan that goes on behind so many batches."""
    ids = Ids((batches + BATCHES_AFTER) * rows)
    planned = PlannedBatches(BatchPlan(len(ids), rows, 1, 1, seed=SEED), rank=0)
    planned.go_to(batches)
    return DataLoader(cast("Any", ids), batch_sampler=cast("Any", planned), collate_fn=list)


def seconds_to_first_batch(build: Callable[[int, int], DataLoader[Any]], batches: int, rows: int, rounds: int) -> float:
    """Return the processor time from a loader to the batch behind those skipped, the least of a few rounds."""
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        first = next(iter(skip_first_batches(build(batches, rows), batches)))
        spent.append(time.process_time() - started)
        assert len(first) == rows
    return min(spent)


def add_options(parser: ArgumentParser) -> None:
    """Add sizes."""
    parser.add_argument("--batches", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rows", type=int, default=8, help="rows of a batch")


def run(options: Namespace) -> Report:
    """Return the seconds of both sides for each number of batches."""
    found = {}
    for batches in [1_000] if options.quick else options.batches:
        found[batches] = {
            name: seconds_to_first_batch(build, batches, options.rows, options.rounds or ROUNDS)
            for name, build in (("plain", plain_loader), ("ours", planned_loader))
        }
    rows = [[f"{batches:,}", f"{each['plain']:.3f}", f"{each['ours']:.3f}"] for batches, each in found.items()]
    columns = ["batches skipped", "plain Trainer, CPU s", "hfpipe, CPU s"]
    title = f"To the first batch of {options.rows} rows behind those skipped, the least of {options.rounds or ROUNDS}"
    return Report([Table(title, columns, rows)], {str(batches): each for batches, each in found.items()})
