"""The one Trainer subclass: each override delegates to a plain function that works without a Trainer.

Trainer keeps the loop, accelerate the processes and the precision. What is replaced: how items are
counted and losses summed, which rows a step sees, how an evaluation adds up, and where and how
checkpoints are written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import EvalLoopOutput

from hfpipe.config.decays import Decay
from hfpipe.inference.forward import run_model
from hfpipe.models.compute import count_token_cost
from hfpipe.models.fused_head import FusedHead
from hfpipe.models.windows import MEAN
from hfpipe.records.run_directory import CHECKPOINTS
from hfpipe.training.checkpoints import write_checkpoint
from hfpipe.training.datasets import Batch, Rows
from hfpipe.training.decay import build_decay
from hfpipe.training.evaluation_loop import Outcome, has_finite_score, run_evaluation
from hfpipe.training.finite_weights import check_weights
from hfpipe.training.fused_loss import run_fused
from hfpipe.training.loaders import build_evaluation_loader, build_plan, build_train_loader
from hfpipe.training.numerics import Numerics, check_loss
from hfpipe.training.objectives import Objective
from hfpipe.training.sharding import finish_preparation, prepare_sharding
from hfpipe.training.state import (
    load_optimizer_and_scheduler,
    load_random_state,
    load_scaler,
    save_optimizer_and_scheduler,
    save_random_state,
    save_scaler,
)
from hfpipe.training.streaming import raise_together
from hfpipe.training.throughput import Throughput
from hfpipe.training.weighting import find_step_items
from hfpipe.training.weights import load_weights, save_weights


@dataclass(frozen=True)
class Task:
    """What a kind of run brings to the trainer.

    Evaluations measure `evaluation_objective`, without smoothing or weights, so that losses of different
    runs compare. `score` turns what they gathered into metrics; with `keep_predictions` that includes the
    logits of every row, which a language model could not hold. `window_pooling` makes one row of a text's windows.
    `max_tokens_per_batch` makes batches of `LabelledRows` by token positions rather than rows, with `padding_free` by
    those that hold a token.
    """

    objective: Objective
    evaluation_objective: Objective
    score: Callable[[Outcome], dict[str, float]]
    keep_predictions: bool
    window_pooling: str = MEAN
    max_tokens_per_batch: int | None = None
    padding_free: bool = False


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
        self.train_rows = train_rows
        self.tokenizer = tokenizer
        budget = task.max_tokens_per_batch
        self.plan = build_plan(train_rows, args, max_tokens_per_batch=budget, padding_free=task.padding_free)
        self.step_items = find_step_items(train_rows, self.plan, task.objective)
        self.grad_norm: torch.Tensor | float | None = 0.0
        self.numerics = Numerics()
        self.computing_parameters = model.num_parameters(exclude_embeddings=True)
        self.token_cost = count_token_cost(model)
        self.throughput = Throughput(self)
        self.fused_head: FusedHead | None = None  # where losses are computed without logits
        self.decay: Decay | None = None  # the schedule, where it is none of transformers
        self.fingerprint = ""  # of the run's settings, for its checkpoints
        self.stopped_by = 0  # the signal that ends this session before its last step
        super().__init__(
            model=model,
            args=args,
            train_dataset=cast("Dataset[Batch]", train_rows),
            eval_dataset=cast("Dataset[Batch] | None", validation_rows),
            processing_class=tokenizer,
            compute_loss_func=self._mean_loss,
            callbacks=list(callbacks),
        )
        for callback in (ProgressCallback, PrinterCallback):
            self.remove_callback(callback)
        # The objective has the count; passed on to the model it would reach attention functions as an unknown argument.
        self.model_accepts_loss_kwargs = False
        prepare_sharding(self, model)

    @property
    def network(self) -> PreTrainedModel:
        """The model without what accelerate or torch.compile wrapped around it."""
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    @property
    def run_directory(self) -> Path:
        """Where everything of the run is written."""
        return Path(str(self.args.output_dir))

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints lie."""
        return self.run_directory / CHECKPOINTS

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return Trainer's loss; where rows are windows, their logits are pooled before it is taken."""
        labels = inputs["labels"]
        run = cast("Any", lambda **own: self.run_for_loss(model, own, labels, objective=self.task.objective))
        return super().compute_loss(run, inputs, return_outputs, num_items_in_batch)

    def run_for_loss(
        self, model: Any, inputs: Mapping[str, torch.Tensor], labels: torch.Tensor, *, objective: Objective
    ) -> Any:
        """Return what `objective` takes the loss of: the model's outputs, or the losses that its fused head gives."""
        if self.fused_head is not None:
            return run_fused(self.fused_head, model, inputs, labels=labels, objective=objective)
        return run_model(model, inputs, rows=len(labels), pooling=self.task.window_pooling)

    @property
    def _copies_ahead(self) -> bool:
        """Whether what goes to the device need not wait for what it still computes; other devices have had bugs."""
        return self.args.device.type == "cuda"

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return a batch on the device, in its own types: DeepSpeed's would round labels that are numbers."""
        device, ahead = self.args.device, self._copies_ahead
        return {name: tensor.to(device, non_blocking=ahead) for name, tensor in inputs.items()}

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Return Trainer's loss of a micro-batch, and add it to that of its window."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.numerics.window_loss = self.numerics.window_loss + loss
        return loss

    def _mean_loss(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the share of the window's mean; Trainer multiplies by the processes that DDP averages over."""
        items = self.task.objective.count(labels) if num_items_in_batch is None else num_items_in_batch
        loss = self.task.objective.loss_sum(outputs, labels) / items
        if self.is_deepspeed_enabled:
            check_loss(self, loss)  # the update is part of backward there
        return loss

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, torch.Tensor]], device: torch.device) -> Any:
        self.throughput.count(batch_samples)
        own = sum((self.task.objective.count(batch["labels"]) for batch in batch_samples), torch.zeros(()))
        raise_together(self)
        items = self.accelerator.gather(own.to(device, non_blocking=self._copies_ahead)[None]).sum()
        return self.numerics.weigh(items, self.step_items)

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> Any:
        """Keep the norm for the guard: clipping by an infinite one has already set every gradient to zero."""
        self.grad_norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        return self.grad_norm

    def floating_point_ops(self, inputs: Any) -> int:
        """Return Trainer's estimate, by the parameters as counted while they were whole: ZeRO-3 empties them."""
        return 6 * int(inputs["input_ids"].numel()) * self.computing_parameters

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """Return the schedule: hfpipe's own where the run names one, else Trainer's."""
        if self.decay is not None and self.lr_scheduler is None:
            self.lr_scheduler = build_decay(self, num_training_steps, optimizer)
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    def get_train_dataloader(self) -> DataLoader:
        """Return the loader over the batch plan; accelerate would deal the rows out anew, and repeat some."""
        return build_train_loader(self.train_rows, self.plan, self.args)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Return the loader of this process's share of the rows to score."""
        rows, budget = cast("Rows", eval_dataset or self.eval_dataset), self.task.max_tokens_per_batch
        return build_evaluation_loader(rows, self.args, max_tokens_per_batch=budget)

    def get_total_train_batch_size(self, args: TrainingArguments) -> int:
        """Return the rows of a step, by which Trainer tells the pace of a run of so many steps."""
        return self.plan.rows_per_step

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the loss as a mean over items where windows differ in them."""
        super().log(self.numerics.shares.correct(logs), start_time)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Return exact metrics: sums over counts, the same at any batch size and number of processes."""
        return run_evaluation(self, dataloader, prefix=metric_key_prefix)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.checkpoints)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Tell whether this is the best model so far: never by a score that is no number, or with such weights."""
        check_weights(self)
        return has_finite_score(metrics, self.args) and super()._determine_best_metric(metrics, trial)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        check_weights(self)
        write_checkpoint(self)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """Load every parameter; Trainer leaves out those that the file has under other names."""
        load_weights(self.network, Path(resume_from_checkpoint))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        save_weights(self, Path(output_dir) if output_dir else self.run_directory, state_dict)

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        # Trainer would ask DeepSpeed for a checkpoint of its own, with pickles.
        usual = None if self.is_deepspeed_enabled else resume_from_checkpoint
        prepared = super()._prepare_for_training(max_steps, train_dataloader, usual)
        finish_preparation(self, resume_from_checkpoint)
        return prepared

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        save_optimizer_and_scheduler(self, Path(output_dir))

    def _save_scaler(self, output_dir: str) -> None:
        save_scaler(self, Path(output_dir))

    def _save_rng_state(self, output_dir: str) -> None:
        save_random_state(self, Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_optimizer_and_scheduler(self, Path(checkpoint))

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_scaler(self, Path(checkpoint))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_random_state(self, Path(checkpoint))
