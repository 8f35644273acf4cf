"""Callbacks of a run: data order, history, signals, and the guard before each update."""

import logging
import math
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.data.batches import BatchPlan
from hfpipe.errors import Problem, TrainingError
from hfpipe.records.run_directory import append_history
from hfpipe.training.checkpoints import restore_losses
from hfpipe.training.culprits import find_nonfinite_rows, name_rows

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)


class PlanEpochs(TrainerCallback):
    """Tells the batch sampler which epoch begins; Trainer reaches only samplers that accelerate wrapped."""

    def __init__(self, plan: BatchPlan) -> None:
        self.plan = plan

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Derive the epoch from the step: at the start of an epoch of a straight run, within one of a resumed run."""
        kwargs["train_dataloader"].batch_sampler.set_epoch(state.global_step // self.plan.steps_per_epoch)


class History(TrainerCallback):
    """Appends each log event to `history.jsonl`; given to the main process only.

    Trainer's summary of a session is not an event of the run: a run that was stopped has several.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write step, epoch and the values logged."""
        if logs and "train_runtime" not in logs:
            append_history(self.file, {"step": state.global_step, **logs})


class RestoreLosses(TrainerCallback):
    """Takes over what a checkpoint had summed up for the next log event."""

    def __init__(self, trainer: "PlannedTrainer", checkpoint: Path) -> None:
        self.trainer = trainer
        self.checkpoint = checkpoint

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Trainer has just set its sums to zero."""
        restore_losses(self.trainer, self.checkpoint)


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


class StopOnSignal(TrainerCallback):
    """On SIGINT or SIGTERM: finish the step, do what is due at it, save it, stop. All processes agree on the step.

    An evaluation due at that step is not left out: the run that goes on from here would never make it, and
    might choose another best checkpoint. A second signal changes nothing: the save under way is wanted.
    """

    def __init__(self, trainer: "PlannedTrainer") -> None:
        self.trainer = trainer
        self.received = 0
        self._previous: dict[int, Any] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the two signals over."""
        self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give them back."""
        self.give_back()

    def give_back(self) -> None:
        """Leave the two signals to whom they belonged before; once is enough, and a run that fails needs it too."""
        while self._previous:
            signal.signal(*self._previous.popitem())

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save and stop where any process was signalled; the last step of an epoch is left to `on_epoch_end`."""
        own = torch.tensor([self.received], device=args.device)
        received = int(self.trainer.accelerator.gather(own).max())
        if received and not control.should_training_stop:
            self.trainer.stopped_by = received
            if state.global_step % self.trainer.plan.steps_per_epoch:
                self._stop(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop after what the end of an epoch brings; nothing of that is due where the epoch was left half-way."""
        if not self.trainer.stopped_by:
            return
        if state.global_step % self.trainer.plan.steps_per_epoch:
            control.should_save = control.should_evaluate = control.should_log = False
        else:
            self._stop(state, control)

    def _stop(self, state: TrainerState, control: TrainerControl) -> None:
        logger.warning("signal %d: saving step %s, then stopping", self.trainer.stopped_by, f"{state.global_step:,}")
        control.should_save = True
        control.should_training_stop = True

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
