"""Signals that end a session: the step is finished, what is due at it done, its state saved."""

import logging
import signal
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)


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
