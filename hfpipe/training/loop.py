"""Training to the end, and scoring: Trainer's loop with the callbacks of a run around it."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from transformers import TrainerCallback, TrainerState

from hfpipe.config.sections import TrainingSettings
from hfpipe.errors import CheckpointError, HfpipeError, Stopped
from hfpipe.records.publication import rotate
from hfpipe.records.resumption import STATE_FILE
from hfpipe.records.run_directory import HISTORY_FILE, read_json
from hfpipe.training.callbacks import History, PlanEpochs, RestoreLosses, SaveAtEpochEnd, StopWithoutGain
from hfpipe.training.checkpoints import (
    PROGRESS_FILE,
    is_last_of_run,
    mean_unlogged_loss,
)
from hfpipe.training.continuations import Continuations
from hfpipe.training.cursor import check_order
from hfpipe.training.datasets import Rows
from hfpipe.training.evaluation_loop import Outcome
from hfpipe.training.mixture_log import SourceCounts
from hfpipe.training.numerics import FiniteGuard
from hfpipe.training.progress import ProgressBars
from hfpipe.training.pushing import PushSaves
from hfpipe.training.recording import end, record_training_time
from hfpipe.training.session import Session
from hfpipe.training.signals import StopOnSignal
from hfpipe.training.state import seed_process
from hfpipe.training.step_profile import TRACE_FILE, ProfileSteps
from hfpipe.training.stream_log import StreamCounts
from hfpipe.training.trainer import PlannedTrainer
from hfpipe.training.weights import load_best_weights
from hfpipe.training.workers import FollowedWorkers

logger = logging.getLogger(__name__)


def train(session: Session, trainer: PlannedTrainer) -> dict[str, float]:
    """Train to the end and return `train_loss` and the session's pace; the best weights are in the model then.

    Raises:
        CheckpointError: If the rows are not in the order the run began with.
        Stopped: If a signal ended the session after its state was saved.
        TrainingError: If a loss or gradient was not finite; the weights are those before the update.
    """
    stop = StopOnSignal(trainer)
    # behind Trainer's first one, which decides that there is an event, and before those that tell trackers of it
    trainer.callback_handler.callbacks.insert(1, trainer.throughput)
    for callback in _callbacks(session, trainer, stop):
        trainer.add_callback(callback)
    seed_process(session.config.training.seed, session.args.process_index)
    try:
        check_order(session, trainer.plan)
        metrics = _take_over(trainer, session) if _has_ended(session, trainer) else _run_loop(trainer, session)
        if trainer.stopped_by:
            end(session, "stopped", trainer.state.global_step)
            raise Stopped(trainer.stopped_by, trainer.state.global_step)
        stop.end_steps()
        record_training_time(session, metrics.get("train_runtime"), steps=trainer.state.global_step)
        _tell_early_end(trainer, session.config.training)
        if session.config.training.load_best_model_at_end:
            load_best_weights(trainer)
    except HfpipeError:
        # where nothing can be written, that is what is to be told
        with suppress(CheckpointError):
            end(session, "failed", trainer.state.global_step)
        raise
    finally:
        stop.give_back()
    return metrics


def score(trainer: PlannedTrainer, rows: Rows, *, prefix: str) -> dict[str, float]:
    """Return the exact metrics of `rows` under `prefix`, without a log event: the history is of training alone."""
    metrics = trainer.task.score(gather_outcome(trainer, rows, prefix=prefix))
    return {f"{prefix}_{name}": value for name, value in metrics.items()}


def gather_outcome(trainer: PlannedTrainer, rows: Rows, *, prefix: str) -> Outcome:
    """Return what the model says of `rows`, the same in all processes; `prefix` names the evaluation in messages.

    Raises:
        TrainingError: If the loss is not finite.
    """
    loader = trainer.get_eval_dataloader(rows)
    with FollowedWorkers(trainer):
        output = trainer.evaluation_loop(loader, description=prefix, metric_key_prefix=prefix)
    trainer.callback_handler.on_predict(trainer.args, trainer.state, trainer.control, output.metrics or {})
    return cast("Outcome", output.predictions)


def _tell_early_end(trainer: PlannedTrainer, training: TrainingSettings) -> None:
    """Say why steps are missing, where patience was used up before the last of them."""
    state, patience = trainer.state, training.early_stopping_patience
    if patience is not None and state.global_step < state.max_steps:
        logger.info(
            "stopped early at step %s of %s: %s did not improve in %s",
            *(f"{state.global_step:,}", f"{state.max_steps:,}", trainer.args.metric_for_best_model),
            "1 evaluation" if patience == 1 else f"{patience:,} evaluations",
        )


def _run_loop(trainer: PlannedTrainer, session: Session) -> dict[str, float]:
    with FollowedWorkers(trainer):
        output = trainer.train(resume_from_checkpoint=str(session.checkpoint) if session.checkpoint else None)
    # Trainer has added this process's share of the last losses to the total; their mean over processes belongs there.
    total = trainer._total_loss_scalar - trainer._tr_loss.item() + mean_unlogged_loss(trainer)
    pace = trainer.throughput.summarise()
    return {**output.metrics, **pace, "train_loss": total / _count_updates(trainer)}


def _has_ended(session: Session, trainer: PlannedTrainer) -> bool:
    """Tell whether only what follows training is left to do: the session before was killed in between."""
    if session.checkpoint is None:
        return False
    total_steps = trainer.plan.total_steps(session.args.num_train_epochs, session.args.max_steps)
    return is_last_of_run(session.checkpoint, total_steps)


def _take_over(trainer: PlannedTrainer, session: Session) -> dict[str, float]:
    """Take weights and state of the last checkpoint without a step."""
    assert session.checkpoint is not None
    trainer._load_from_checkpoint(str(session.checkpoint))
    trainer.state = TrainerState.load_from_json(str(session.checkpoint / STATE_FILE))
    progress = read_json(session.checkpoint / PROGRESS_FILE)
    unlogged = sum(progress["since_last_log"]) / len(progress["since_last_log"])
    trainer.numerics.restore(progress["numerics"])
    if session.is_main:
        # the kill may have come between the last save and its rotation, and no other save follows
        rotate(trainer.checkpoints, keep=session.args.save_total_limit, best_step=trainer.state.best_global_step)
    # what Trainer's loop returns beside the pace of a session
    reached = {"total_flos": trainer.state.total_flos, "epoch": trainer.state.epoch or 0.0}
    return {**reached, "train_loss": (progress["total"] + unlogged) / _count_updates(trainer)}


def _count_updates(trainer: PlannedTrainer) -> float:
    """Return the steps whose losses are in the sum, those that were not skipped, each by its share of items."""
    updates = max(trainer.state.global_step - trainer.numerics.skipped_steps, 1)
    return updates * trainer.numerics.shares.mean


def _callbacks(session: Session, trainer: PlannedTrainer, stop: StopOnSignal) -> Sequence[TrainerCallback]:
    training = session.config.training
    callbacks: list[TrainerCallback] = [
        PlanEpochs(trainer.plan),
        SaveAtEpochEnd(trainer.plan),
        FiniteGuard(trainer, training.nonfinite_policy, watch_loss=training.watch_loss),
    ]
    if session.config.data.streaming:
        callbacks.append(StreamCounts(trainer, session))
    if session.config.data.dataset_mixture:
        callbacks.append(SourceCounts(trainer))
    if session.is_main:
        callbacks.append(ProgressBars())
    callbacks.append(History(session.directory / HISTORY_FILE))
    if session.config.evaluation.sample_prompts:
        callbacks.append(Continuations(trainer, session.config.evaluation))
    if session.config.profiled is not None:
        callbacks.append(ProfileSteps(trainer, session.config.profiled, session.directory / TRACE_FILE))
    if session.pusher is not None:
        callbacks.append(PushSaves(trainer, session.pusher))
    if session.checkpoint:
        callbacks.append(RestoreLosses(trainer, session.checkpoint))
    if training.early_stopping_patience is not None:
        callbacks.append(StopWithoutGain(training.early_stopping_patience, training.early_stopping_threshold))
    # The last one: it lets what the others decided for the end of a step stand.
    return [*callbacks, stop]
