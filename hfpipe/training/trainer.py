"""The one Trainer subclass: each override delegates to a plain function that works without a Trainer.

Trainer keeps the loop, accelerate the processes and the precision. What is replaced: how items are
counted and losses summed, which rows a step sees, how an evaluation adds up, and where and how
checkpoints are written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import EvalLoopOutput

from hfpipe.records.run_directory import CHECKPOINTS
from hfpipe.training.checkpoints import save_weights, write_checkpoint
from hfpipe.training.datasets import Rows
from hfpipe.training.evaluation_loop import Outcome, run_evaluation
from hfpipe.training.loaders import build_evaluation_loader, build_plan, build_train_loader
from hfpipe.training.objectives import Objective


@dataclass(frozen=True)
class Task:
    """What a kind of run brings to the trainer.

    Evaluations measure `evaluation_objective`, without smoothing or weights, so that losses of different
    runs compare. `score` turns what they gathered into metrics; with `keep_predictions` that includes the
    logits of every row, which a language model could not hold.
    """

    objective: Objective
    evaluation_objective: Objective
    score: Callable[[Outcome], dict[str, float]]
    keep_predictions: bool


class PlannedTrainer(Trainer):
    """A Trainer whose windows, losses, evaluations and checkpoints are exact."""

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        *,
        task: Task,
        train_rows: Rows,
        validation_rows: Rows | None,
        tokenizer: PreTrainedTokenizerBase,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self.task = task
        self.plan = build_plan(train_rows, args)
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_rows,
            eval_dataset=validation_rows,
            processing_class=tokenizer,
            compute_loss_func=self._mean_loss,
            callbacks=list(callbacks),
        )
        # The objective has the count; passed on to the model it would reach attention functions as an unknown argument.
        self.model_accepts_loss_kwargs = False

    def _mean_loss(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the share of the window's mean; Trainer multiplies by the processes that DDP averages over."""
        items = self.task.objective.count(labels) if num_items_in_batch is None else num_items_in_batch
        return self.task.objective.loss_sum(outputs, labels) / items

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, torch.Tensor]], device: torch.device) -> Any:
        own = sum((self.task.objective.count(batch["labels"]) for batch in batch_samples), torch.zeros(()))
        return self.accelerator.gather(own.to(device)[None]).sum()

    def get_train_dataloader(self) -> DataLoader:
        """Return the loader over the batch plan; accelerate would deal the rows out anew, and repeat some."""
        return build_train_loader(self.train_dataset, self.plan, self.args)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Return the loader of this process's share of the rows to score."""
        return build_evaluation_loader(self.eval_dataset if eval_dataset is None else eval_dataset, self.args)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Return exact metrics: sums over counts, the same at any batch size and number of processes."""
        return run_evaluation(self, dataloader, description=description, prefix=metric_key_prefix)

    def _get_output_dir(self, trial: Any) -> str:
        return str(Path(self.args.output_dir, CHECKPOINTS))

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        write_checkpoint(self)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        save_weights(self, Path(output_dir or self.args.output_dir), state_dict)
