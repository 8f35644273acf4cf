"""A Trainer, plain or ours, that makes its steps in turns and counts what goes through them.

A turn reaches from the end of a step to the end of the next one, so loading, logging and the loop are in it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bench.turns import Turn

IGNORED = -100
ROWS, TOKENS = "rows", "tokens"


@dataclass
class Count:
    """What went into the model since the last look; tensors are added up when somebody looks."""

    unit: str
    rows: list[torch.Tensor] = field(default_factory=list)
    tokens: list[torch.Tensor] = field(default_factory=list)
    positions: int = 0
    seen_rows: int = 0
    seen_tokens: int = 0

    def add(self, inputs: dict[str, Any]) -> None:
        """Count a micro-batch: rows that have a label, tokens that are no padding."""
        ids, labels, mask = inputs["input_ids"], inputs["labels"], inputs.get("attention_mask")
        self.positions += ids.numel()
        self.rows.append((labels != IGNORED).sum() if labels.ndim == 1 else torch.tensor(len(labels)))
        self.tokens.append(mask.sum() if mask is not None and mask.ndim == 2 else torch.tensor(ids.numel()))

    def take(self) -> int:
        """Return the rows or tokens counted since this was called last."""
        rows, tokens = (sum(int(each) for each in counted) for counted in (self.rows, self.tokens))
        self.rows, self.tokens = [], []
        self.seen_rows += rows
        self.seen_tokens += tokens
        return rows if self.unit == ROWS else tokens


class Paced(TrainerCallback):
    """Makes a turn of each step and stops training after so many steps or rows."""

    def __init__(self, turn: Turn, count: Count, *, steps: int | None, rows: int | None) -> None:
        self.turn = turn
        self.count = count
        self.steps = steps
        self.rows = rows

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.turn.begin()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.turn.end(self.count.take())
        enough_steps = self.steps is not None and state.global_step >= self.steps
        if enough_steps or (self.rows is not None and self.count.seen_rows >= self.rows):
            control.should_training_stop = True
        else:
            self.turn.begin()


def pace(trainer: Trainer, turn: Turn, *, unit: str, steps: int | None = None, rows: int | None = None) -> Count:
    """Let the training of `trainer` go in turns and end after so many steps or rows; return what counts them."""
    count = Count(unit)
    count_inputs(trainer, count.add)
    trainer.add_callback(Paced(turn, count, steps=steps, rows=rows))
    return count


def count_inputs(trainer: Trainer, add: Callable[[dict[str, Any]], None]) -> None:
    """Show `add` each micro-batch before it is trained on."""
    step = trainer.training_step

    def counted(model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        add(inputs)
        return step(model, inputs, num_items_in_batch)

    trainer.training_step = counted  # type: ignore[method-assign]


def tell_padding(turn: Turn, count: Count) -> None:
    """Hand over how much of the batches was padding."""
    turn.facts["padding"] = f"{1 - count.seen_tokens / count.positions:.1%}"
