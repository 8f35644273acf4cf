"""Checkpoints of a run: written beside their place, sealed, and renamed into it when whole.

All processes write into a staging folder and agree that they could; the main process hashes the files, puts them on
the disk with their manifest, and publishes the folder by one rename. Rotation comes after that. The best checkpoint is
known by its step, so a run directory can be moved.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers.trainer_callback import EarlyStoppingCallback, ExportableState

from hfpipe.errors import CheckpointError
from hfpipe.models.adapters import is_adapted
from hfpipe.records.durable import remove_folder, sync_file
from hfpipe.records.manifest import MANIFEST_FILE, Stamp, seal
from hfpipe.records.publication import publish, rotate, staging_folder
from hfpipe.records.resumption import STATE_FILE
from hfpipe.records.run_directory import (
    HISTORY_FILE,
    SAMPLES_FILE,
    list_checkpoints,
    read_json,
    sync_history,
    write_json,
)
from hfpipe.training.agreement import Attempt, is_true_anywhere, raise_in_all
from hfpipe.training.gathering import whole_weights
from hfpipe.training.streaming import save_stream

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

PROGRESS_FILE = "progress.json"


def write_checkpoint(trainer: "PlannedTrainer") -> None:
    """Write the whole state of the run as the checkpoint of the current step, then rotate.

    Raises:
        CheckpointError: In every process, if one of them cannot write its part, as on a full disk. The checkpoints
            that were there are as they were.
    """
    checkpoints, step = trainer.checkpoints, trainer.state.global_step
    staging = staging_folder(checkpoints, step)
    attempt = Attempt(staging)
    with attempt:
        if trainer.args.should_save:
            remove_folder(staging)
            staging.mkdir(parents=True)
    _agree(trainer, attempt)
    with attempt:
        # another machine of a shared file system may have to be asked before it sees the folder
        staging.mkdir(parents=True, exist_ok=True)
    trainer.store_flos()
    _write_parts(trainer, staging, attempt)
    _agree(trainer, attempt)
    with attempt:
        if trainer.args.should_save:
            # what the checkpoint says has happened must have been written down
            if (trainer.run_directory / SAMPLES_FILE).exists():
                sync_file(trainer.run_directory / SAMPLES_FILE)
            sync_history(trainer.run_directory / HISTORY_FILE)
            seal(staging, _stamp(trainer))
            publish(checkpoints, step)
            _rotate(trainer)
    _agree(trainer, attempt)


def _rotate(trainer: "PlannedTrainer") -> None:
    best_step, best_of = trainer.state.best_global_step, _find_bests(trainer.checkpoints)
    rotate(trainer.checkpoints, keep=trainer.args.save_total_limit, best_step=best_step, best_of=best_of)


def _find_bests(checkpoints: Path) -> dict[int, int]:
    """Return, by step, which step was the best when a checkpoint was written; a state that cannot be read has none."""
    found = {}
    for step, folder in list_checkpoints(checkpoints, holding=STATE_FILE):
        # a damaged one is found by the start that would need it, and ends no run that is well
        with suppress(CheckpointError):
            found[step] = read_json(folder / STATE_FILE).get("best_global_step")
    return {step: best for step, best in found.items() if best is not None}


def _write_parts(trainer: "PlannedTrainer", staging: Path, attempt: Attempt) -> None:
    """Let each part be written, also after one that failed: gathering them takes all processes."""
    weights = whole_weights(trainer)
    with attempt:
        trainer._save(str(staging), weights)
    with attempt:
        trainer._save_optimizer_and_scheduler(str(staging))
    since_last_log = trainer.accelerator.gather(trainer._tr_loss[None]).tolist()
    with attempt:
        trainer._save_scaler(str(staging))
        trainer._save_rng_state(str(staging))
        save_stream(trainer, staging)
        if trainer.args.should_save:
            _save_progress(trainer, staging, since_last_log)
            _save_state(trainer, staging)


def _agree(trainer: "PlannedTrainer", attempt: Attempt) -> None:
    """Return when every process has come here; where one failed, all raise, and what was staged is gone."""
    args = trainer.args
    if not is_true_anywhere(attempt.has_failed, args):
        return
    if args.should_save:
        shutil.rmtree(attempt.folder, ignore_errors=True)
    # free bytes are counted when what was written in vain is gone
    trainer.accelerator.wait_for_everyone()
    raise_in_all(attempt.error(needed=_count_bytes(trainer), remedy=_remedy(trainer)), args)


def _remedy(trainer: "PlannedTrainer") -> str:
    published = list_checkpoints(trainer.checkpoints, holding=MANIFEST_FILE)
    goes_on = f"from {published[-1][1].name}" if published else "from the beginning: no checkpoint is there yet"
    return f"free some or lower save_total_limit, then give the same command again: it goes on {goes_on}"


def _stamp(trainer: "PlannedTrainer") -> Stamp:
    plan, step = trainer.plan, trainer.state.global_step
    return Stamp(step, plan.count_samples(step), plan.world_size, plan.rows_per_step, trainer.fingerprint)


def _count_bytes(trainer: "PlannedTrainer") -> int:
    """Return the bytes of a checkpoint but for what is small: weights that are saved and the optimizer's tensors."""
    network = trainer.network
    saved = [each for each in network.parameters() if each.requires_grad or not is_adapted(network)]
    states = cast("Any", trainer.optimizer).state.values()
    kept = [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]
    return sum(each.nbytes for each in (*saved, *kept))


def restore_losses(trainer: "PlannedTrainer", folder: Path) -> None:
    """Take over the losses summed but not logged before the checkpoint, so that the history reads as one run."""
    saved = read_json(folder / PROGRESS_FILE)
    own = saved["since_last_log"]
    same_world = len(own) == trainer.args.world_size
    trainer._tr_loss += own[trainer.args.process_index] if same_world else sum(own) / len(own)
    trainer._globalstep_last_logged = saved["last_logged_step"]
    trainer._total_loss_scalar = saved["total"]
    trainer.numerics.restore(saved["numerics"])


def is_last_of_run(folder: Path, max_steps: int) -> bool:
    """Tell whether training had ended with this checkpoint: at `max_steps`, or before by early stopping.

    Trainer itself would enter the loop again and make another step.
    """
    state, progress = read_json(folder / STATE_FILE), read_json(folder / PROGRESS_FILE)
    stopped_early = progress["training_ended"] and state["global_step"] < state["max_steps"]
    return stopped_early or state["global_step"] >= max_steps


def mean_unlogged_loss(trainer: "PlannedTrainer") -> float:
    """Return the losses since the last log event, summed over steps and averaged over processes."""
    return trainer.accelerator.gather(trainer._tr_loss[None]).mean().item()


def has_used_up_patience(trainer: "PlannedTrainer") -> bool:
    """Tell whether early stopping ends the run here."""
    patience = [each for each in trainer.callback_handler.callbacks if isinstance(each, EarlyStoppingCallback)]
    return any(each.early_stopping_patience_counter >= each.early_stopping_patience for each in patience)


def _has_ended(trainer: "PlannedTrainer") -> bool:
    """Tell whether no step follows: a signal alone does not end a run, patience used up does, signal or not."""
    return trainer.control.should_training_stop and (has_used_up_patience(trainer) or not trainer.stopped_by)


def _save_progress(trainer: "PlannedTrainer", staging: Path, since_last_log: Sequence[float]) -> None:
    progress = {
        "training_ended": _has_ended(trainer),
        "since_last_log": since_last_log,
        "last_logged_step": trainer._globalstep_last_logged,
        "total": trainer._total_loss_scalar,
        "numerics": trainer.numerics.state(),
    }
    write_json(staging / PROGRESS_FILE, progress, durable=False)  # `seal` sees to all files


def _save_state(trainer: "PlannedTrainer", staging: Path) -> None:
    states = cast("dict[str, dict[str, Any]]", trainer.state.stateful_callbacks)
    for callback in [*trainer.callback_handler.callbacks, trainer.control]:
        if isinstance(callback, ExportableState):
            states[type(callback).__name__] = callback.state()
    # not by its own `save_to_json`: a NaN in the events logged so far would make a file that is no JSON
    write_json(staging / STATE_FILE, asdict(trainer.state))
