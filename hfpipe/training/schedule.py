"""How many steps, rows and tokens a run goes through, by the batch plan it will follow: exact, before it starts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from transformers import TrainingArguments

from hfpipe.config import RunConfig
from hfpipe.config.sections import FINETUNE, TrainingSettings
from hfpipe.data.batches import FILLER, BatchPlan, Plan
from hfpipe.data.token_batches import TokenBatchPlan
from hfpipe.data.tokens import find_length_rule
from hfpipe.training.datasets import Rows
from hfpipe.training.lengths import count_positions, find_largest_batch


def find_argument(config: RunConfig, name: str) -> Any:
    """Return a `TrainingArguments` value of the run, its default where nobody set it; no arguments are built."""
    if name in config.trainer_arguments:
        return config.trainer_arguments[name]
    return next(field.default for field in fields(TrainingArguments) if field.name == name)


def keeps_best(config: RunConfig) -> bool:
    """Tell whether the run knows a best checkpoint, which is never removed."""
    is_evaluated = find_argument(config, "eval_strategy") != "no"
    return is_evaluated and find_argument(config, "metric_for_best_model") is not None


def find_window_length(config: RunConfig) -> int | None:
    """Return the tokens of a full window where a text may be several; None where it is one."""
    is_windowed = config.recipe == FINETUNE and find_length_rule(config.data).is_windowed
    return config.data.max_seq_length if is_windowed else None


def measure_padding(plan: Plan, lengths: np.ndarray, *, window_length: int | None) -> float:
    """Return the share of positions in the batches of the first epoch that hold no token; fillers count as none."""
    positions = 0
    for rank in range(plan.world_size):
        batches = (lengths[row_ids] for row_ids in plan.micro_batches(0, rank) if row_ids != [FILLER])
        shapes = (find_largest_batch(each, each.size, window_length=window_length) for each in batches)
        positions += sum(windows * tokens for windows, tokens in shapes)
    return 1 - int(lengths.sum()) / positions


def describe_steps(plan: Plan, rows: Rows, *, window_length: int | None) -> str:
    """Return what a step consists of and how many an epoch has, in a line; of a budget of tokens the padding too."""
    counts = f"{plan.gradient_accumulation_steps:,} micro-batches x {plan.world_size:,} processes"
    steps = f"{plan.steps_per_epoch:,} steps an epoch"
    if not isinstance(plan, TokenBatchPlan):
        return f"rows_per_step {plan.rows_per_step:,} = {plan.rows_at_once:,} rows x {counts}; {steps}"
    size = f"{plan.tokens_per_step:,} = {plan.max_tokens_per_batch:,} positions x {counts}"
    mean = f"{plan.mean_rows_per_step:,.1f} rows on average"
    if plan.padding_free:
        return f"tokens_per_step {size}, padding not counted, {mean}; {steps}"
    padding = 100 * measure_padding(plan, rows.lengths, window_length=window_length)
    return f"tokens_per_step {size}, {mean}; {steps}, padding {padding:.1f} %"


@dataclass(frozen=True)
class Schedule:
    """A batch plan and the optimizer steps taken through it; `lengths` (rows,) are the tokens of training rows.

    `window_length` is that of a full window where rows are several, all but the last of a row being full.
    `padding_free` says that layers leave padding out.
    """

    plan: Plan
    total_steps: int
    lengths: np.ndarray
    window_length: int | None = None
    padding_free: bool = False

    @property
    def epochs(self) -> float:
        """Passes through the training part."""
        return self.total_steps / self.plan.steps_per_epoch

    @property
    def total_rows(self) -> int:
        """Rows trained on, each counted in every epoch."""
        return self.plan.count_samples(self.total_steps)

    @property
    def total_tokens(self) -> int:
        """Tokens trained on, padding not counted."""
        whole = self.total_steps // self.plan.steps_per_epoch
        begun = self.plan.order(whole)[: self.total_rows - whole * self.plan.num_rows]
        return int(whole * self.lengths.sum() + self.lengths[begun].sum())

    @property
    def tokens_per_epoch(self) -> int:
        """Tokens of the training part."""
        return int(self.lengths.sum())

    @cached_property
    def padding_share(self) -> float:
        """The share of positions in the batches of the first epoch that hold no token."""
        return measure_padding(self.plan, self.lengths, window_length=self.window_length)

    def lines(self, *, unit: str, note: str = "") -> Iterator[str]:
        """Yield the schedule, one fact a line; `unit` is what a row is, `note` says where `lengths` are from."""
        plan = self.plan
        yield self._rows_line(unit)
        yield f"steps: {self.total_steps:,} = {plan.steps_per_epoch:,} an epoch, epochs {self.epochs:.4g}{note}"
        yield f"rows: {plan.num_rows:,} an epoch, {self.total_rows:,} in total{note}"
        mean = self.tokens_per_epoch / plan.steps_per_epoch
        counts = f"{self.tokens_per_epoch:,} an epoch, {self.total_tokens:,} in total, {mean:,.0f} a step on average"
        yield f"tokens: {counts}{note}"
        if self.padding_free:
            yield "padding: none in the layers (padding_free)"
        else:
            yield f"padding: {100 * self.padding_share:.1f} % of the positions computed"

    def stream_lines(self) -> Iterator[str]:
        """Yield what is known of the schedule of a stream, of which one step is planned, one fact a line."""
        yield self._rows_line("block")
        yield f"steps: {self.total_steps:,} (max_steps); how many epochs that is, is known when the stream was read"
        rows, length = self.plan.rows_per_step, int(self.lengths.max())
        tokens = f"{self.total_steps * rows * length:,} in total = {self.total_steps:,} x {rows:,} x {length:,}"
        yield f"tokens: {tokens} (steps x blocks x block_size)"

    def _rows_line(self, unit: str) -> str:
        plan = self.plan
        counts = f"{plan.gradient_accumulation_steps:,} x {plan.world_size:,}"
        if isinstance(plan, TokenBatchPlan):
            factors = f"{plan.max_tokens_per_batch:,} x {counts} (positions x micro-batches x processes)"
            mean = f"{plan.mean_rows_per_step:,.1f} rows on average"
            return f"tokens_per_step {plan.tokens_per_step:,} = {factors}, {mean}; a row is a {unit}"
        factors = f"{plan.rows_at_once:,} x {counts} (rows x micro-batches x processes)"
        return f"rows_per_step {plan.rows_per_step:,} = {factors}; a row is a {unit}"


def plan_schedule(
    config: RunConfig, lengths: np.ndarray, *, window_length: int | None = None, padding_free: bool = False
) -> Schedule:
    """Return the schedule of a run over training rows of so many tokens each, (rows,), in windows or not."""
    positions = lengths if padding_free else count_positions(lengths, window_length)
    plan = _plan(config, positions, padding_free=padding_free)
    total_steps = plan.total_steps(find_argument(config, "num_train_epochs"), find_argument(config, "max_steps"))
    return Schedule(plan, total_steps, lengths, window_length, padding_free)


def _plan(config: RunConfig, positions: np.ndarray, *, padding_free: bool) -> Plan:
    budget, seed = config.training.max_tokens_per_batch, config.training.seed
    micro_batches, processes = find_argument(config, "gradient_accumulation_steps"), config.training.num_processes or 1
    if budget is not None:
        return TokenBatchPlan(positions, budget, micro_batches, processes, seed, padding_free)
    return BatchPlan(
        len(positions), find_argument(config, "per_device_train_batch_size"), micro_batches, processes, seed
    )


def count_saves(training: TrainingSettings, steps: int, *, steps_per_epoch: int) -> int:
    """Return how many checkpoints so many `steps` write; how many are kept is `save_total_limit`'s to say."""
    if training.save_strategy == "no" or steps <= 0:
        return 0
    return math.ceil(steps / (training.save_steps if training.save_strategy == "steps" else steps_per_epoch))
