"""How many steps, rows and tokens a run goes through, by the batch plan it will follow: exact, before it starts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from transformers import TrainingArguments

from hfpipe.config import RunConfig
from hfpipe.config.sections import TrainingSettings
from hfpipe.data.batches import BatchPlan
from hfpipe.training.lengths import find_largest_batch


def find_argument(config: RunConfig, name: str) -> Any:
    """Return a `TrainingArguments` value of the run, its default where nobody set it; no arguments are built."""
    if name in config.trainer_arguments:
        return config.trainer_arguments[name]
    return next(field.default for field in fields(TrainingArguments) if field.name == name)


def keeps_best(config: RunConfig) -> bool:
    """Tell whether the run knows a best checkpoint, which is never removed."""
    is_evaluated = find_argument(config, "eval_strategy") != "no"
    return is_evaluated and find_argument(config, "metric_for_best_model") is not None


@dataclass(frozen=True)
class Schedule:
    """A batch plan and the optimizer steps taken through it; `lengths` (rows,) are the tokens of training rows.

    `window_length` is that of a full window where rows are several, all but the last of a row being full.
    """

    plan: BatchPlan
    total_steps: int
    lengths: np.ndarray
    window_length: int | None = None

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
        whole, steps = divmod(self.total_steps, self.plan.steps_per_epoch)
        begun = self.plan.order(whole)[: steps * self.plan.rows_per_step]
        return int(whole * self.lengths.sum() + self.lengths[begun].sum())

    @property
    def tokens_per_epoch(self) -> int:
        """Tokens of the training part."""
        return int(self.lengths.sum())

    def padding_share(self) -> float:
        """Return the share of positions computed in the first epoch that hold no token."""
        positions = 0
        for rank in range(self.plan.world_size):
            batches = (self.lengths[row_ids] for row_ids in self.plan.micro_batches(0, rank))
            shapes = (find_largest_batch(each, each.size, window_length=self.window_length) for each in batches)
            positions += sum(windows * tokens for windows, tokens in shapes)
        return 1 - self.tokens_per_epoch / positions

    def lines(self, *, unit: str, note: str = "") -> Iterator[str]:
        """Yield the schedule, one fact a line; `unit` is what a row is, `note` says where `lengths` are from."""
        plan = self.plan
        yield self._rows_line(unit)
        yield f"steps: {self.total_steps:,} = {plan.steps_per_epoch:,} an epoch, epochs {self.epochs:.4g}{note}"
        yield f"rows: {plan.num_rows:,} an epoch, {self.total_rows:,} in total{note}"
        mean = self.tokens_per_epoch / plan.steps_per_epoch
        counts = f"{self.tokens_per_epoch:,} an epoch, {self.total_tokens:,} in total, {mean:,.0f} a step on average"
        yield f"tokens: {counts}{note}"
        yield f"padding: {100 * self.padding_share():.1f} % of the positions computed"

    def stream_lines(self) -> Iterator[str]:
        """Yield what is known of the schedule of a stream, of which one step is planned, one fact a line."""
        yield self._rows_line("block")
        yield f"steps: {self.total_steps:,} (max_steps); how many epochs that is, is known when the stream was read"
        rows, length = self.plan.rows_per_step, int(self.lengths.max())
        tokens = f"{self.total_steps * rows * length:,} in total = {self.total_steps:,} x {rows:,} x {length:,}"
        yield f"tokens: {tokens} (steps x blocks x block_size)"

    def _rows_line(self, unit: str) -> str:
        plan = self.plan
        shape = f"{plan.per_device_batch_size:,} x {plan.gradient_accumulation_steps:,} x {plan.world_size:,}"
        return f"rows_per_step {plan.rows_per_step:,} = {shape} (rows x micro-batches x processes); a row is a {unit}"


def plan_schedule(config: RunConfig, lengths: np.ndarray, *, window_length: int | None = None) -> Schedule:
    """Return the schedule of a run over training rows of so many tokens each, (rows,), in windows or not."""
    plan = BatchPlan(
        num_rows=len(lengths),
        per_device_batch_size=find_argument(config, "per_device_train_batch_size"),
        gradient_accumulation_steps=find_argument(config, "gradient_accumulation_steps"),
        world_size=config.training.num_processes or 1,
        seed=config.training.seed,
    )
    total_steps = plan.total_steps(find_argument(config, "num_train_epochs"), find_argument(config, "max_steps"))
    return Schedule(plan, total_steps, lengths, window_length)


def count_saves(training: TrainingSettings, steps: int, *, steps_per_epoch: int) -> int:
    """Return how many checkpoints so many `steps` write; how many are kept is `save_total_limit`'s to say."""
    if training.save_strategy == "no" or steps <= 0:
        return 0
    return math.ceil(steps / (training.save_steps if training.save_strategy == "steps" else steps_per_epoch))
