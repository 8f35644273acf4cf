"""Callbacks of a run: data order, history, and the sums that a resumed run takes over."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import EarlyStoppingCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.data.batches import Plan
from hfpipe.records.run_directory import append_history
from hfpipe.training.agreement import Attempt, raise_in_all
from hfpipe.training.checkpoints import restore_losses

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer


class PlanEpochs(TrainerCallback):
    """Tells the batch sampler where in the run an epoch begins; Trainer reaches only those that accelerate wrapped."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go to the step: at the start of an epoch of a straight run, within one of a resumed run."""
        kwargs["train_dataloader"].batch_sampler.go_to(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count epochs by rows: Trainer counts micro-batches, so other cuts of one window would tell other epochs."""
        state.epoch = self.plan.epoch_at(state.global_step)


class SaveAtEpochEnd(TrainerCallback):
    """Puts the save of an epoch's last step, and of the run's, after what the end of the epoch logs and evaluates.

    A run that was killed in between would go on with the next epoch, and lack those events. Comes before callbacks that
    stop a run at a step of their own choice.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._is_due = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put off a save after which the epoch ends."""
        is_last = control.should_training_stop or state.global_step % self.plan.steps_per_epoch == 0
        self._is_due = control.should_save and is_last
        control.should_save = control.should_save and not is_last

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save what was put off."""
        control.should_save = control.should_save or self._is_due
        self._is_due = False


class StopWithoutGain(EarlyStoppingCallback):
    """Early stopping that, where it ends an epoch half-way, has the save wait for what the end of an epoch logs.

    Trainer evaluates after `SaveAtEpochEnd` had to decide. It makes this callback anew on a resume, behind all others.
    """

    def __init__(self, early_stopping_patience: int = 1, early_stopping_threshold: float | None = 0.0) -> None:
        super().__init__(early_stopping_patience, early_stopping_threshold)
        self._is_within_epoch = False
        self._is_due = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Know that an evaluation is that of a step."""
        self._is_within_epoch = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Put off the save after which the run ends; the end of an epoch has nothing to come."""
        super().on_evaluate(args, state, control, metrics, **kwargs)
        if self._is_within_epoch and self.early_stopping_patience_counter >= self.early_stopping_patience:
            self._is_due = control.should_save or self._is_due
            control.should_save = False

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save what was put off."""
        control.should_save = control.should_save or self._is_due
        self._is_within_epoch = self._is_due = False


class History(TrainerCallback):
    """Appends each log event to `history.jsonl`, in the main process; where that fails, all processes end.

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
        attempt = Attempt(self.file)
        with attempt:
            if logs and "train_runtime" not in logs and args.process_index == 0:
                append_history(self.file, {"step": state.global_step, **logs})
        raise_in_all(attempt.error(), args)


class RestoreLosses(TrainerCallback):
    """Takes over what a checkpoint had summed up for the next log event, and not how often it was logged and saved."""

    def __init__(self, trainer: "PlannedTrainer", checkpoint: Path) -> None:
        self.trainer = trainer
        self.checkpoint = checkpoint

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Trainer has just set its sums to zero, and its intervals to those the checkpoint was written under."""
        restore_losses(self.trainer, self.checkpoint)
        state.compute_steps(args, state.max_steps)
