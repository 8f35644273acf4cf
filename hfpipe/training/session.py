"""One launch of a run: opened against its run directory, trained, and recorded.

A run is the directory; a session is one launch of it. The main process decides whether the run is new,
goes on or is done, and tells the others; only it writes the record.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from accelerate import PartialState
from accelerate.utils import broadcast
from transformers import EarlyStoppingCallback, TrainerCallback, TrainingArguments, set_seed

from hfpipe.config import RunConfig, change_of
from hfpipe.data.accounting import DataSummary
from hfpipe.errors import HfpipeError, Stopped
from hfpipe.evaluation.plots import plot_loss_curve
from hfpipe.records.environment import describe_environment
from hfpipe.records.identity import check_same_files
from hfpipe.records.opening import Opening, open_run, read_run
from hfpipe.records.run_directory import (
    CHECKPOINTS,
    HISTORY_FILE,
    METRICS_FILE,
    read_history,
    read_json,
    truncate_history,
    write_json,
)
from hfpipe.records.sessions import add_facts, begin_session, describe_settings, end_session
from hfpipe.training.arguments import build_arguments
from hfpipe.training.callbacks import FiniteGuard, History, PlanEpochs, RestoreLosses, StopOnSignal
from hfpipe.training.checkpoints import checkpoint_folder, find_checkpoint_to_resume, load_best_weights
from hfpipe.training.culprits import find_nonfinite_rows
from hfpipe.training.precision import Precision
from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

LOSS_CURVE_FILE = "loss_curve.png"
_KINDS = ("new", "resume", "done")


@dataclass(frozen=True)
class Session:
    """What this launch knows before data and model: `checkpoint` is where it goes on from, None at the start."""

    config: RunConfig
    args: TrainingArguments
    precision: Precision
    is_done: bool
    checkpoint: Path | None
    started: float

    @property
    def directory(self) -> Path:
        """The run directory."""
        return Path(self.args.output_dir)

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""
        return self.args.process_index == 0

    @property
    def from_step(self) -> int:
        """Optimizer steps done before this session."""
        return int(self.checkpoint.name.rpartition("-")[2]) if self.checkpoint else 0

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        PartialState().wait_for_everyone()


def open_session(config: RunConfig) -> Session:
    """Join the process group, settle the precision, seed, and open the run directory.

    Raises:
        ConfigError, TrainingError: If precision or processes are not what was asked for.
        CheckpointError: If the directory holds something else, or a run that other settings began.
    """
    started = time.monotonic()
    args, precision = build_arguments(config)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    set_seed(config.training.seed)
    kind, step = _agree(args, config)
    checkpoints = Path(args.output_dir, CHECKPOINTS)
    checkpoint = checkpoint_folder(checkpoints, step) if kind == "resume" and step else None
    session = Session(config, args, precision, kind == "done", checkpoint, started)
    if session.is_main and not session.is_done:
        _announce(session, kind)
    return session


def report_done(session: Session) -> None:
    """Log that there is nothing left to do, with the scores there are."""
    if session.is_main:
        metrics = read_json(session.directory / METRICS_FILE)
        logger.info("%s is done: %s", session.directory, format_metrics(metrics))
        logger.info("to train it anew: fresh_start: true, or another output_dir")


def begin(session: Session, summary: DataSummary, *, label_names: Sequence[str] = ()) -> None:
    """Log what became of the data and write the record of the session; it stands before anything else is written.

    Raises:
        CheckpointError: If a data file is not what the run began with.
    """
    if not session.is_main:
        return
    for line in summary.lines():
        logger.info(line)
    data = summary.to_json()
    if session.checkpoint:
        check_same_files(_fingerprints(read_run(session.directory)["data"]), _fingerprints(data))
    config = session.config
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    about_run = {
        "recipe": config.recipe,
        "config": describe_settings(config.flat(), {key: str(origin) for key, origin in config.origins.items()}),
        "seed": config.training.seed,
        "world_size": session.args.world_size,
        "precision": session.precision,
        "data": data,
        "label_names": list(label_names),
        **describe_environment(gpus=gpus),
    }
    begin_session(session.directory, about_run, from_step=session.from_step)
    truncate_history(session.directory / HISTORY_FILE, session.from_step)


def train(session: Session, trainer: PlannedTrainer, *, name_row: Callable[[int], str]) -> dict[str, float]:
    """Train to the end and return `train_loss` and the session's pace; the best weights are in the model then.

    `name_row` says where a training row stands, for messages.

    Raises:
        Stopped: If a signal ended the session after its state was saved.
        TrainingError: If a loss or gradient was not finite; the weights are those before the update.
    """
    stop = StopOnSignal(trainer)
    for callback in _callbacks(session, trainer, name_row):
        trainer.add_callback(callback)
    trainer.add_callback(stop)
    _seed_process(session.config.training.seed, session.args.process_index)
    resume_from = str(session.checkpoint) if session.checkpoint else None
    try:
        output = trainer.train(resume_from_checkpoint=resume_from)
    except HfpipeError:
        _end(session, "failed", trainer.state.global_step)
        raise
    if stop.stopped_by and trainer.state.global_step < trainer.state.max_steps:
        _end(session, "stopped", trainer.state.global_step)
        raise Stopped(stop.stopped_by, trainer.state.global_step)
    if session.config.training.load_best_model_at_end:
        load_best_weights(trainer)
    whole_run_loss = trainer._total_loss_scalar / max(trainer.state.global_step, 1)
    return {**output.metrics, "train_loss": whole_run_loss}


def finish(session: Session, trainer: PlannedTrainer, metrics: Mapping[str, float]) -> None:
    """Write metrics, curve and the end of the record, `done` last."""
    if not session.is_main:
        return
    write_json(session.directory / METRICS_FILE, dict(metrics))
    plot_loss_curve(read_history(session.directory / HISTORY_FILE), session.directory / LOSS_CURVE_FILE)
    add_facts(
        session.directory,
        {
            "best_step": trainer.state.best_global_step,
            "steps": trainer.state.global_step,
            "timings": {"session_seconds": round(time.monotonic() - session.started, 1)},
        },
    )
    _end(session, "done", trainer.state.global_step)
    logger.info("%s: %s", session.directory, format_metrics(metrics))


def score(trainer: PlannedTrainer, rows: Any, *, prefix: str) -> dict[str, float]:
    """Return the exact metrics of `rows` under `prefix`, without a log event: the history is of training alone."""
    loader = trainer.get_eval_dataloader(rows)
    metrics = trainer.evaluation_loop(loader, description=prefix, metric_key_prefix=prefix).metrics or {}
    trainer.callback_handler.on_predict(trainer.args, trainer.state, trainer.control, metrics)
    return metrics


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Return the scores in one line, losses and scores with four digits."""
    shown = {name: value for name, value in metrics.items() if name.startswith(("eval_", "test_", "train_loss"))}
    return ", ".join(f"{name} {value:.4f}" for name, value in shown.items() if value is not None)


def _agree(args: TrainingArguments, config: RunConfig) -> tuple[str, int]:
    """Return kind and step of the run as the main process found them."""
    code = torch.zeros(2, dtype=torch.int64, device=args.device)
    if args.process_index == 0:
        opening = _open(config)
        checkpoint = None
        if opening.kind == "resume":
            wanted = config.training.resume_from_checkpoint
            checkpoint = find_checkpoint_to_resume(config.output_dir / CHECKPOINTS, wanted)
        step = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
        code = torch.tensor([_KINDS.index(opening.kind), step], dtype=torch.int64, device=args.device)
    kind, step = broadcast(code).tolist() if args.world_size > 1 else code.tolist()
    return _KINDS[kind], step


def _open(config: RunConfig) -> Opening:
    opening = open_run(
        config.output_dir,
        config.flat(),
        fresh_start=config.training.fresh_start,
        change_of=change_of,
        place_of=config.place,
    )
    if opening.moved_to:
        logger.info("the earlier run in %s now lies in %s", config.output_dir, opening.moved_to)
    return opening


def _announce(session: Session, kind: str) -> None:
    args = session.args
    where = f"goes on from step {session.from_step:,}" if session.checkpoint else "begins"
    logger.info("run %s %s (%s)", session.directory, where, kind)
    logger.info("device %s, processes %d, mixed precision %s", args.device, args.world_size, session.precision)


def _callbacks(session: Session, trainer: PlannedTrainer, name_row: Callable[[int], str]) -> Sequence[TrainerCallback]:
    def find_culprits(row_ids: Sequence[int]) -> list[int]:
        return find_nonfinite_rows(trainer, row_ids)

    training = session.config.training
    callbacks: list[TrainerCallback] = [
        PlanEpochs(trainer.plan),
        FiniteGuard(trainer.plan, find_culprits, name_row),
    ]
    if session.is_main:
        callbacks.append(History(session.directory / HISTORY_FILE))
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


def _fingerprints(data: Mapping[str, Any]) -> dict[str, str]:
    return {file["name"]: file["sha256"] for file in data["files"]}


def _end(session: Session, status: Any, step: int) -> None:
    if session.is_main:
        end_session(session.directory, status=status, to_step=step)
