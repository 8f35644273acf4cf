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
    all of them stop at the same step.
    """

    def __init__(self, trainer: "PlannedTrainer") -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check the norm over all gradients before clipping: it is finite only if each of them is."""
        # With fp16 the loss scaler meets infinite gradients as a matter of course and skips their step.
        if not args.fp16 and not math.isfinite(float(self.trainer.grad_norm)):
            raise TrainingError(self._problem(state.global_step))

    def _problem(self, step: int) -> Problem:
        trainer = self.trainer
        epoch, step_in_epoch = divmod(step, trainer.plan.steps_per_epoch)
        window = trainer.plan.window(epoch, step_in_epoch).tolist()
        culprits = find_nonfinite_rows(trainer, trainer.train_rows, window, objective=trainer.task.objective)
        finding = "their loss is not finite" if culprits else "each loss is finite, the norm of the gradient is not"
        return Problem(
            f"step {step + 1:,}",
            f"rows {name_rows(trainer.train_rows, culprits or window)}",
            f"{finding}; the update would have destroyed the weights and was not made",
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

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the two signals over."""
        self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give them back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

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
