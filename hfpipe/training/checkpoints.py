"""Checkpoints of a run: written beside their place and renamed into it when whole.

`checkpoints/checkpoint-N` exists only once every process has written its part: all write into a staging
folder, a barrier, the main process renames, a barrier. Rotation comes after that and never takes the
best checkpoint. The best one is known by its step, so a run directory can be moved.
"""

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from transformers.trainer_callback import EarlyStoppingCallback, ExportableState

from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.run_directory import checkpoint_folder, list_checkpoints, read_json, write_json
from hfpipe.training.gathering import whole_weights
from hfpipe.training.streaming import save_stream

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

STATE_FILE = "trainer_state.json"
PROGRESS_FILE = "progress.json"


def find_checkpoint_to_resume(checkpoints: Path, wanted: str | None) -> Path | None:
    """Return the checkpoint to go on from: `wanted` where given, else the newest, None where there is none.

    Raises:
        CheckpointError: If `wanted` is no complete checkpoint of this run.
    """
    found = list_checkpoints(checkpoints, holding=STATE_FILE)
    if wanted is None:
        return found[-1][1] if found else None
    for _, folder in found:
        if folder.resolve() == Path(wanted).expanduser().resolve() or folder.name == wanted:
            return folder
    names = ", ".join(folder.name for _, folder in found) or "none"
    raise CheckpointError(
        Problem("resume_from_checkpoint", wanted, "no complete checkpoint of this run", f"there is: {names}")
    )


def write_checkpoint(trainer: "PlannedTrainer") -> None:
    """Write the whole state of the run as the checkpoint of the current step, then rotate."""
    checkpoints = trainer.checkpoints
    step = trainer.state.global_step
    target = checkpoint_folder(checkpoints, step)
    staging = checkpoints / f".writing-{step}"
    if trainer.args.should_save:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
    trainer.accelerator.wait_for_everyone()
    trainer.store_flos()
    trainer._save(str(staging), whole_weights(trainer))
    trainer._save_optimizer_and_scheduler(str(staging))
    trainer._save_scaler(str(staging))
    trainer._save_rng_state(str(staging))
    _save_progress(trainer, staging)
    save_stream(trainer, staging)
    if trainer.args.should_save:
        _save_state(trainer, staging)
    trainer.accelerator.wait_for_everyone()
    if trainer.args.should_save:
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
        _rotate(checkpoints, keep=trainer.args.save_total_limit, best_step=trainer.state.best_global_step)
    trainer.accelerator.wait_for_everyone()


def restore_losses(trainer: "PlannedTrainer", folder: Path) -> None:
    """Take over the losses summed but not logged before the checkpoint, so that the history reads as one run."""
    saved = read_json(folder / PROGRESS_FILE)
    own = saved["since_last_log"]
    same_world = len(own) == trainer.args.world_size
    trainer._tr_loss += own[trainer.args.process_index] if same_world else sum(own) / len(own)
    trainer._globalstep_last_logged = saved["last_logged_step"]
    trainer._total_loss_scalar = saved["total"]


def is_last_of_run(folder: Path, max_steps: int) -> bool:
    """Tell whether training had ended with this checkpoint: at `max_steps`, or before by early stopping.

    Trainer itself would enter the loop again and make another step.
    """
    state, progress = read_json(folder / STATE_FILE), read_json(folder / PROGRESS_FILE)
    stopped_early = progress["training_ended"] and state["global_step"] < state["max_steps"]
    return stopped_early or state["global_step"] >= max_steps


def set_later_aside(checkpoints: Path, step: int) -> None:
    """Move the checkpoints after `step` out of the way of a run that goes on from there and will write them anew."""
    for later, folder in list_checkpoints(checkpoints, holding=STATE_FILE):
        if later > step:
            aside = checkpoints / "set_aside"
            aside.mkdir(exist_ok=True)
            shutil.rmtree(aside / folder.name, ignore_errors=True)
            folder.rename(aside / folder.name)


def mean_unlogged_loss(trainer: "PlannedTrainer") -> float:
    """Return the losses since the last log event, summed over steps and averaged over processes."""
    return trainer.accelerator.gather(trainer._tr_loss[None]).mean().item()


def _has_ended(trainer: "PlannedTrainer") -> bool:
    """Tell whether no step follows: a signal alone does not end a run, patience used up does, signal or not."""
    patience = [each for each in trainer.callback_handler.callbacks if isinstance(each, EarlyStoppingCallback)]
    used_up = any(each.early_stopping_patience_counter >= each.early_stopping_patience for each in patience)
    return trainer.control.should_training_stop and (used_up or not trainer.stopped_by)


def _save_progress(trainer: "PlannedTrainer", staging: Path) -> None:
    since_last_log = trainer.accelerator.gather(trainer._tr_loss[None]).tolist()
    if trainer.args.should_save:
        progress = {
            "training_ended": _has_ended(trainer),
            "since_last_log": since_last_log,
            "last_logged_step": trainer._globalstep_last_logged,
            "total": trainer._total_loss_scalar,
        }
        write_json(staging / PROGRESS_FILE, progress)


def _save_state(trainer: "PlannedTrainer", staging: Path) -> None:
    states = cast("dict[str, dict[str, Any]]", trainer.state.stateful_callbacks)
    for callback in [*trainer.callback_handler.callbacks, trainer.control]:
        if isinstance(callback, ExportableState):
            states[type(callback).__name__] = callback.state()
    trainer.state.save_to_json(str(staging / STATE_FILE))


def _rotate(checkpoints: Path, *, keep: int | None, best_step: int | None) -> None:
    if keep is None:
        return
    steps = [step for step, _ in list_checkpoints(checkpoints, holding=STATE_FILE)]
    kept = {best_step} & set(steps)
    for step in reversed(steps):
        # The newest is always kept: it is what a stopped run goes on from.
        if len(kept) < keep or step == steps[-1]:
            kept.add(step)
    for step in set(steps) - kept:
        shutil.rmtree(checkpoint_folder(checkpoints, step))
