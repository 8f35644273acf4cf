"""Training to the end, and scoring: Trainer's loop with the callbacks of a run around it."""

import random
from collections.abc import Sequence

import numpy as np
import torch
from transformers import EarlyStoppingCallback, TrainerCallback

from hfpipe.errors import HfpipeError, Stopped
from hfpipe.records.run_directory import HISTORY_FILE
from hfpipe.training.callbacks import FiniteGuard, History, PlanEpochs, RestoreLosses, StopOnSignal
from hfpipe.training.checkpoints import load_best_weights
from hfpipe.training.datasets import Rows
from hfpipe.training.progress import ProgressBars
from hfpipe.training.recording import end
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer


def train(session: Session, trainer: PlannedTrainer) -> dict[str, float]:
    """Train to the end and return `train_loss` and the session's pace; the best weights are in the model then.

    Raises:
        Stopped: If a signal ended the session after its state was saved.
        TrainingError: If a loss or gradient was not finite; the weights are those before the update.
    """
    stop = StopOnSignal(trainer)
    for callback in _callbacks(session, trainer):
        trainer.add_callback(callback)
    trainer.add_callback(stop)
    _seed_process(session.config.training.seed, session.args.process_index)
    resume_from = str(session.checkpoint) if session.checkpoint else None
    try:
        output = trainer.train(resume_from_checkpoint=resume_from)
    except HfpipeError:
        end(session, "failed", trainer.state.global_step)
        raise
    if stop.stopped_by and trainer.state.global_step < trainer.state.max_steps:
        end(session, "stopped", trainer.state.global_step)
        raise Stopped(stop.stopped_by, trainer.state.global_step)
    if session.config.training.load_best_model_at_end:
        load_best_weights(trainer)
    whole_run_loss = trainer._total_loss_scalar / max(trainer.state.global_step, 1)
    return {**output.metrics, "train_loss": whole_run_loss}


def score(trainer: PlannedTrainer, rows: Rows, *, prefix: str) -> dict[str, float]:
    """Return the exact metrics of `rows` under `prefix`, without a log event: the history is of training alone."""
    loader = trainer.get_eval_dataloader(rows)
    metrics = trainer.evaluation_loop(loader, description=prefix, metric_key_prefix=prefix).metrics or {}
    trainer.callback_handler.on_predict(trainer.args, trainer.state, trainer.control, metrics)
    return metrics


def _callbacks(session: Session, trainer: PlannedTrainer) -> Sequence[TrainerCallback]:
    training = session.config.training
    callbacks: list[TrainerCallback] = [
        PlanEpochs(trainer.plan),
        FiniteGuard(trainer),
    ]
    if session.is_main:
        callbacks += [ProgressBars(), History(session.directory / HISTORY_FILE)]
    if session.checkpoint:
        callbacks.append(RestoreLosses(trainer, session.checkpoint))
    if training.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(training.early_stopping_patience, training.early_stopping_threshold))
    return callbacks


def _seed_process(seed: int, process_index: int) -> None:
    """Give each process its own dropout: with equal seeds all would drop the same units."""
    random.seed(seed + process_index)
    np.random.seed((seed + process_index) % 2**32)
    torch.manual_seed(seed + process_index)
