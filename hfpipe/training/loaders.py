"""Data loaders over batch plans.

The loaders have a random generator of their own: torch's loaders draw a seed from the global one each
time they are iterated, and an evaluation more or less would change the dropout of every later step.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import TrainingArguments

from hfpipe.data.batches import FILLER, BatchPlan, Plan, PlannedBatches, plan_evaluation
from hfpipe.data.token_batches import TokenBatchPlan, plan_evaluation_by_tokens
from hfpipe.training.datasets import Batch, LabelledRows, Rows
from hfpipe.training.forks import find_context
from hfpipe.training.mixed_rows import rows_by_source
from hfpipe.training.streaming import StreamedBlocks
from hfpipe.training.workers import NotedRows, QuietLoader, start_worker


def build_plan(
    rows: Rows, args: TrainingArguments, *, max_tokens_per_batch: int | None = None, padding_free: bool = False
) -> Plan:
    """Return the batch plan of a training run; the world is the one that really started.

    `padding_free` says that what is to fit into `max_tokens_per_batch` are tokens alone.
    """
    if max_tokens_per_batch is not None:
        assert isinstance(rows, LabelledRows), "the setting is one of fine-tuning"
        steps, processes = args.gradient_accumulation_steps, args.world_size
        positions = rows.lengths if padding_free else rows.positions
        return TokenBatchPlan(positions, max_tokens_per_batch, steps, processes, args.seed, padding_free)
    return BatchPlan(
        num_rows=len(rows),
        per_device_batch_size=args.per_device_train_batch_size,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        world_size=args.world_size,
        seed=args.seed,
        in_order=isinstance(rows, StreamedBlocks),
    )


def build_train_loader(rows: Rows, plan: Plan, args: TrainingArguments) -> DataLoader:
    """Return the loader of this process's micro-batches; its `batch_sampler` is a `PlannedBatches`."""
    return _loader(rows, PlannedBatches(plan, rank=args.process_index), args, rows_at_once=plan.rows_at_once)


def build_evaluation_loader(
    rows: Rows, args: TrainingArguments, *, max_tokens_per_batch: int | None = None
) -> DataLoader:
    """Return the loader of this process's share of an evaluation; its `batch_sampler` is a list of row ids.

    A batch is filled to `max_tokens_per_batch` positions, where that is given, else with rows.
    """

    def plan(own: np.ndarray) -> list[list[int]]:
        world_size, rank = args.world_size, args.process_index
        if max_tokens_per_batch is None or not isinstance(rows, LabelledRows):
            return plan_evaluation(rows.lengths[own], args.per_device_eval_batch_size, world_size=world_size, rank=rank)
        return plan_evaluation_by_tokens(rows.positions[own], max_tokens_per_batch, world_size=world_size, rank=rank)

    # a batch is of one source, so that its loss is known by source
    batches = [
        [int(own[row_id]) if row_id != FILLER else FILLER for row_id in batch]
        for own in rows_by_source(rows)
        for batch in plan(own)
    ]
    return _loader(rows, batches, args, rows_at_once=max(map(len, batches)))


def _loader(
    rows: Rows, batches: PlannedBatches | list[list[int]], args: TrainingArguments, *, rows_at_once: int
) -> DataLoader:
    workers = args.dataloader_num_workers
    return QuietLoader(
        cast("Dataset[Batch]", NotedRows(rows, workers=workers, rows_at_once=rows_at_once) if workers else rows),
        # the micro-batches behind a run that goes on are None; Trainer drops them
        batch_sampler=cast("Iterable[list[int]]", batches),
        collate_fn=cast("Callable[[list[Any]], Any]", _already_collated),
        num_workers=workers,
        worker_init_fn=start_worker,
        # refused without workers; Trainer sets it by itself on some hardware
        multiprocessing_context=find_context(args.dataloader_multiprocessing_context) if workers else None,
        prefetch_factor=args.dataloader_prefetch_factor,
        persistent_workers=args.dataloader_persistent_workers,
        pin_memory=args.dataloader_pin_memory and args.device.type == "cuda",
        generator=torch.Generator().manual_seed(args.seed),
    )


def _already_collated(batch: Batch) -> Batch:
    return batch
