"""Runs that meet a NaN, are moved, or are stopped and resumed."""

import contextlib
import shutil
import signal
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from bench.plain_trainer import ours
from bench.plain_trainer.plain import build_plain, plain_arguments, train_plain
from bench.plain_trainer.table import Finding, relative_difference
from bench.plain_trainer.workshop import Workshop, feed
from bench.quiet import silence
from hfpipe.errors import Stopped, TrainingError

PATIENCE = 3
EPOCHS = 8
MOVED_EPOCHS = 4
_STAGES = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
_ROWS = {"per_device_train_batch_size": 8}


class StopAfter(TrainerCallback):
    """Stops plain Trainer after an epoch, as a job's time limit would; its checkpoint is whole."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if round(state.epoch or 0) == self.epochs:
            control.should_training_stop = True


class SignalAfter(TrainerCallback):
    """Sends this process SIGTERM at a step, as a job's time limit would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step == self.step:
            signal.raise_signal(signal.SIGTERM)


def compare_nan(workshop: Workshop) -> Finding:
    """Return what a loss that is NaN for one of 16 rows leads to, two steps an epoch."""
    case = workshop.overflowing()
    data = feed(workshop, case)
    args = plain_arguments(workshop.run("plain-nan"), save_strategy="epoch", **_ROWS)
    events = train_plain(build_plain(case.model(), args, data.tokenizer, train=data.train))
    plain_share = _share_not_finite(_newest_checkpoint(workshop.run("plain-nan")))
    config = case.config(workshop.run("nan"), eval_strategy="no", save_strategy="epoch", **_ROWS)
    assembled = ours.assemble(config)
    logged = ", ".join(f"{event['loss']:.3f}" for event in events)
    message = "finished"
    try:
        assembled.train()
    except TrainingError as error:
        message = "stopped: " + str(error).rpartition("/")[2].split(";")[0]
    our_share = float(_share(assembled.trainer.network.state_dict()))
    return Finding(
        "a loss that is NaN (difference: share of weights that are not finite)",
        f"finished without an error, logged losses {logged}, {plain_share:.0%} of the saved weights are NaN",
        f"{message}; {our_share:.0%} of the weights are NaN",
        plain_share,
        our_share,
    )


def compare_moved_run(workshop: Workshop, *, epochs_done: int) -> Finding:
    """Return the loss of the finished model after the run directory was moved between stop and resume."""
    plain, plain_best = _plain_moved(workshop, epochs_done)
    our, our_best = _ours_moved(workshop, epochs_done)
    when = "after the last checkpoint" if epochs_done == MOVED_EPOCHS else "half-way"
    return Finding(
        f"best model of a run that ended {when}, was moved and resumed",
        f"best eval_loss {plain_best:.4f}, that of the finished model {plain:.4f}",
        f"best eval_loss {our_best:.4f}, that of the finished model {our:.4f}",
        relative_difference(plain, plain_best),
        relative_difference(our, our_best),
    )


def compare_patience(workshop: Workshop) -> Finding:
    """Return the epoch at which early stopping ends a run that gets worse, straight and resumed after epoch 3."""
    plain_straight, plain_resumed = _plain_patience(workshop)
    our_straight, our_resumed = _our_patience(workshop)
    return Finding(
        f"early stopping, patience {PATIENCE}, stopped and resumed (difference: of epochs)",
        f"straight through ends after epoch {plain_straight}, resumed after {plain_resumed}",
        f"straight through ends after epoch {our_straight}, resumed after {our_resumed}",
        relative_difference(plain_resumed, plain_straight),
        relative_difference(our_resumed, our_straight),
    )


def _plain_worsening(workshop: Workshop, directory: Path, *callbacks: TrainerCallback, epochs: int) -> Trainer:
    case = workshop.worsening()
    data = feed(workshop, case, f"feed-{directory.name}-{len(callbacks)}-{directory.exists()}")
    args = plain_arguments(directory, **_STAGES, **_ROWS, num_train_epochs=epochs)
    extras = {"callbacks": list(callbacks)}
    return build_plain(case.model(), args, data.tokenizer, train=data.train, validation=data.validation, extras=extras)


def _plain_moved(workshop: Workshop, epochs_done: int) -> tuple[float, float]:
    begun, moved = (workshop.run(f"plain-{name}-{epochs_done}") for name in ("begun", "moved"))
    train_plain(_plain_worsening(workshop, begun, StopAfter(epochs_done), epochs=MOVED_EPOCHS))
    shutil.move(begun, moved)
    trainer = _plain_worsening(workshop, moved, epochs=MOVED_EPOCHS)
    train_plain(trainer, _newest_checkpoint(moved))
    best = trainer.state.best_metric
    assert best is not None
    with silence():
        return trainer.evaluate()["eval_loss"], best


def _plain_patience(workshop: Workshop) -> tuple[int, int]:
    straight = _plain_worsening(
        workshop, workshop.run("plain-straight"), EarlyStoppingCallback(PATIENCE), epochs=EPOCHS
    )
    train_plain(straight)
    directory = workshop.run("plain-resumed")
    first = _plain_worsening(workshop, directory, EarlyStoppingCallback(PATIENCE), StopAfter(3), epochs=EPOCHS)
    train_plain(first)
    resumed = _plain_worsening(workshop, directory, EarlyStoppingCallback(PATIENCE), epochs=EPOCHS)
    train_plain(resumed, _newest_checkpoint(directory))
    return round(straight.state.epoch or 0), round(resumed.state.epoch or 0)


def _our_worsening(workshop: Workshop, directory: Path, **settings: Any) -> ours.Assembled:
    stages = {name: str(value).lower() for name, value in _STAGES.items()}
    config = workshop.worsening().config(directory, **{**stages, **_ROWS, "metric_for_best_model": "loss", **settings})
    return ours.assemble(config)


def _stop_ours(workshop: Workshop, directory: Path, *, after_epochs: int, **settings: Any) -> None:
    run = _our_worsening(workshop, directory, **settings)
    plan, args = run.trainer.plan, run.trainer.args
    step = after_epochs * plan.steps_per_epoch
    # Where no step is left a signal would end this process: the run then merely lacks what comes after training.
    if step < plan.total_steps(args.num_train_epochs, args.max_steps):
        run.trainer.add_callback(SignalAfter(step))
    with contextlib.suppress(Stopped):
        run.train()


def _ours_moved(workshop: Workshop, epochs_done: int) -> tuple[float, float]:
    begun, moved = (workshop.run(f"{name}-{epochs_done}") for name in ("begun", "moved"))
    _stop_ours(workshop, begun, after_epochs=epochs_done, num_train_epochs=MOVED_EPOCHS)
    shutil.move(begun, moved)
    run = _our_worsening(workshop, moved, num_train_epochs=MOVED_EPOCHS)
    run.train()
    best = run.trainer.state.best_metric
    assert best is not None
    return run.validation_loss(), best


def _our_patience(workshop: Workshop) -> tuple[int, int]:
    settings = {"num_train_epochs": EPOCHS, "early_stopping_patience": PATIENCE}
    straight = _our_worsening(workshop, workshop.run("straight"), **settings)
    straight.train()
    directory = workshop.run("resumed")
    _stop_ours(workshop, directory, after_epochs=3, **settings)
    resumed = _our_worsening(workshop, directory, **settings)
    resumed.train()
    return round(straight.trainer.state.epoch or 0), round(resumed.trainer.state.epoch or 0)


def _newest_checkpoint(directory: Path) -> Path:
    return max(directory.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))


def _share_not_finite(checkpoint: Path) -> float:
    return _share(safetensors.torch.load_file(checkpoint / "model.safetensors"))


def _share(weights: dict[str, torch.Tensor]) -> float:
    broken = sum(int((~value.isfinite()).sum()) for value in weights.values())
    return broken / sum(value.numel() for value in weights.values())
