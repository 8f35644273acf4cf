"""Callbacks of a run: data order, history, signals, and the guard before each update."""

import logging
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.data.batches import BatchPlan
from hfpipe.errors import Problem, TrainingError
from hfpipe.records.run_directory import append_history
from hfpipe.training.checkpoints import restore_losses

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

ROWS_NAMED = 8


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
    all of them stop at the same step. `find_culprits` narrows the rows of the window down.
    """

    def __init__(
        self,
        plan: BatchPlan,
        find_culprits: Callable[[Sequence[int]], Sequence[int]],
        name_row: Callable[[int], str],
    ) -> None:
        self.plan = plan
        self.find_culprits = find_culprits
        self.name_row = name_row

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check the norm over all gradients: it is finite only if each of them is."""
        if args.fp16:
            return  # the loss scaler meets infinite gradients as a matter of course and skips their step
        gradients = [parameter.grad for parameter in kwargs["model"].parameters() if parameter.grad is not None]
        if not torch.stack(torch._foreach_norm(gradients)).isfinite().all():
            raise TrainingError(self._problem(state.global_step))

    def _problem(self, step: int) -> Problem:
        epoch, step_in_epoch = divmod(step, self.plan.steps_per_epoch)
        window = self.plan.window(epoch, step_in_epoch).tolist()
        culprits = self.find_culprits(window)
        named = ", ".join(self.name_row(row) for row in list(culprits or window)[:ROWS_NAMED])
        more = len(culprits or window) - ROWS_NAMED
        finding = (
            "the loss of these rows is not finite"
            if culprits
            else "the gradient is not finite, though the loss of each row is"
        )
        return Problem(
            f"step {step + 1:,}",
            f"rows {named}" + (f" and {more:,} more" if more > 0 else ""),
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
        self.stopped_by = 0

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
            self.stopped_by = received
            if state.global_step % self.trainer.plan.steps_per_epoch:
                self._stop(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop after what the end of an epoch brings; nothing of that is due where the epoch was left half-way."""
        if not self.stopped_by:
            return
        if state.global_step % self.trainer.plan.steps_per_epoch:
            control.should_save = control.should_evaluate = control.should_log = False
        else:
            self._stop(state, control)

    def _stop(self, state: TrainerState, control: TrainerControl) -> None:
        logger.warning("signal %d: saving step %s, then stopping", self.stopped_by, f"{state.global_step:,}")
        control.should_save = True
        control.should_training_stop = True

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
