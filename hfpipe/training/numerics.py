"""Numbers that are not finite, found before the update they would spoil."""

import math
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.errors import Problem, TrainingError
from hfpipe.training.culprits import find_nonfinite_rows, name_rows

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer


class FiniteGuard(TrainerCallback):
    """Stops the run before an update with a gradient that is not finite, while the weights are still good.

    A loss that is not finite makes such a gradient, and DDP has summed it over all processes by then, so
    all of them stop at the same step. DeepSpeed updates within backward: there `check_loss` has looked before, and
    what is left is a gradient that is not finite though the losses are.
    """

    def __init__(self, trainer: "PlannedTrainer") -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check the norm over all gradients before clipping: it is finite only if each of them is."""
        # With fp16 the loss scaler meets infinite gradients as a matter of course and skips their step.
        norm = self.trainer.grad_norm
        # DeepSpeed has no norm before its first update, and in some places -1 for one that is not finite
        if args.fp16 or norm is None or (math.isfinite(norm) and norm >= 0):
            return
        is_updated = self.trainer.is_deepspeed_enabled and not self.trainer.accelerator.optimizer_step_was_skipped
        raise TrainingError(_describe_step(self.trainer, is_updated=is_updated))


def check_loss(trainer: "PlannedTrainer", loss: torch.Tensor) -> None:
    """Raise in all processes where the loss of one is not finite, before there is a gradient of it.

    Raises:
        TrainingError: If so; the weights are those before the update.
    """
    finite = loss.detach().isfinite().to(torch.int64)[None]
    # as above, fp16 is left to the loss scaler
    if not trainer.args.fp16 and not int(trainer.accelerator.gather(finite).min()):
        raise TrainingError(_describe_step(trainer, is_updated=False))


def _describe_step(trainer: "PlannedTrainer", *, is_updated: bool) -> Problem:
    """Return what is wrong with the present step, whose update was made or not."""
    step, rows = trainer.state.global_step, trainer.train_rows
    window = trainer.plan.window(*divmod(step, trainer.plan.steps_per_epoch)).tolist()
    # with weights that are destroyed no row has a finite loss
    culprits = [] if is_updated else find_nonfinite_rows(trainer, rows, window, objective=trainer.task.objective)
    finding = "their loss is not finite" if culprits else "each loss is finite, the norm of the gradient is not"
    outcome = "would have destroyed the weights and was not made"
    if is_updated:
        outcome = "was made before that was known, so the weights are lost; those of the checkpoints are good"
    return Problem(
        f"step {step + 1:,}",
        f"rows {name_rows(rows, culprits or window)}",
        f"{finding}; the update {outcome}",
        "look at these rows, lower learning_rate, or train in float32 (bf16: false)",
    )
