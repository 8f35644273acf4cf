"""Callbacks of a run: data order, history, and the sums that a resumed run takes over."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.data.batches import BatchPlan
from hfpipe.records.run_directory import append_history
from hfpipe.training.checkpoints import restore_losses

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer


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
