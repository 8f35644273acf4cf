"""Signals while the optimizer steps: the step is finished, what is due at it done, its state saved.

Before the first step and after the last one there is nothing to save, and `hfpipe.config.stopping` lets the process
leave at once. Refuses nothing. The one decision: from the first step to the end of a session that was stopped every
further signal is ignored, so none can damage or shorten the save.
"""

import logging
import signal
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.config.stopping import SignalWatch, current_watch, install
from hfpipe.training.checkpoints import has_used_up_patience

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)


class StopOnSignal(TrainerCallback):
    """On a signal: finish the step, do what is due at it, save it, stop. All processes agree on the step.

    An evaluation due at that step is not left out: the run that goes on from here would never make it, and
    might choose another best checkpoint. A recipe called from Python, without an entry point of ours, has its
    signals taken over for the same time.
    """

    def __init__(self, trainer: "PlannedTrainer") -> None:
        self.trainer = trainer
        self._watch: SignalWatch | None = None
        self._previous: dict[int, Any] = {}

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Have signals noted from the first step on."""
        if self._watch is None:
            own = SignalWatch()
            self._watch = current_watch() or own
            self._watch.put_off()
            self._previous = install(own) if self._watch is own else {}

    def end_steps(self) -> None:
        """Let signals end the process again, the one that came after the last step too."""
        watch, is_ours = self._watch, not self._previous
        self.give_back()
        if watch is not None and is_ours:
            watch.take_up()
        elif watch is not None and watch.received:
            signal.raise_signal(watch.received)

    def give_back(self) -> None:
        """Leave signals to whom they belonged where they were taken over; a run that fails needs it too."""
        while self._previous:
            signal.signal(*self._previous.popitem())

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save and stop where any process was signalled; the last step of an epoch is left to `on_epoch_end`."""
        assert self._watch is not None, "a step that ends has begun"
        received = self._watch.received
        if args.world_size > 1:  # a process alone need not wait for its device
            own = torch.tensor([received], device=args.device)
            received = int(self.trainer.accelerator.gather(own).max())
        if received and not control.should_training_stop:
            self.trainer.stopped_by = received
            if state.global_step % self.trainer.plan.steps_per_epoch:
                self._stop(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop after what the end of an epoch brings; nothing of that is due where the epoch was left half-way.

        Where patience was used up at that very step the run ends there, so it is due.
        """
        if not self.trainer.stopped_by:
            return
        if state.global_step % self.trainer.plan.steps_per_epoch:
            if not has_used_up_patience(self.trainer):
                control.should_save = control.should_evaluate = control.should_log = False
        else:
            self._stop(state, control)

    def _stop(self, state: TrainerState, control: TrainerControl) -> None:
        logger.warning("signal %d: saving step %s, then stopping", self.trainer.stopped_by, f"{state.global_step:,}")
        control.should_save = True
        control.should_training_stop = True
