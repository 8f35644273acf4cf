"""Going on from a checkpoint on the Hub: downloaded into the run directory, where it is resumed like any other.

`resume_from_checkpoint: owner/name@revision` takes exactly that one. Without `@revision` it is the main branch's,
unless the run directory has a later checkpoint of its own: the same command then works again after an interruption.
Only safetensors, JSON and texts are downloaded, and a checkpoint that offers anything pickled is refused as a whole.
A run of other settings is refused by the messages of a local resume, before anything is written.
"""

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hfpipe.config import RunConfig, change_of
from hfpipe.errors import CheckpointError, HubError, Problem
from hfpipe.hub.files import BEST_CHECKPOINT, LAST_CHECKPOINT, could_run_code, is_allowed
from hfpipe.hub.scrubbing import scrub
from hfpipe.records.disk import told_by_path
from hfpipe.records.durable import remove_folder, sync_file, sync_folder, write_whole
from hfpipe.records.identity import Terms, check_same_run
from hfpipe.records.launches import wishes_hold
from hfpipe.records.manifest import MANIFEST_FILE, find_damage
from hfpipe.records.publication import list_sealed, publish, staging_folder
from hfpipe.records.run_directory import (
    CHECKPOINTS,
    HISTORY_FILE,
    RUN_FILE,
    checkpoint_folder,
    read_json,
    step_of,
    write_json,
)
from hfpipe.records.sessions import RUN_FORMAT, describe_settings, saved_settings
from hfpipe.repositories import Listing, Unreachable, Wanted, download, look_up

logger = logging.getLogger(__name__)

KEY = "resume_from_checkpoint"
STATE_FILE = "trainer_state.json"
_NEEDED = ("format", "config", "data", "world_size", "rows_per_step", "precision")
_REFERENCE = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)


@dataclass(frozen=True)
class Reference:
    """A repository, and the revision where one was named."""

    name: str
    revision: str | None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


@dataclass(frozen=True)
class RemoteCheckpoint:
    """A checkpoint in the cache: its folder, its step, and the folder of the best one where that is another."""

    folder: Path
    step: int
    best: tuple[int, Path] | None


def find_reference(value: str | None) -> Reference | None:
    """Return the repository that `resume_from_checkpoint` names; None for a folder, and for the name of one."""
    found = None if value is None or Path(value).expanduser().exists() else _REFERENCE.fullmatch(value)
    return None if found is None or found["name"].startswith(".") else Reference(found["name"], found["revision"])


def fetch_checkpoint(config: RunConfig) -> str | None:
    """Return the checkpoint to go on from as the run directory knows it, downloaded there where it is on the Hub.

    Raises:
        ConfigError: If there is no such repository or revision for this user.
        HubError: If the Hub cannot be reached, or the repository has no checkpoint that may be read.
        CheckpointError: If the checkpoint is one of another run.
    """
    if not wishes_hold(config.output_dir):
        return None
    wanted = config.training.resume_from_checkpoint
    reference = find_reference(wanted)
    if reference is None or config.training.fresh_start:
        return wanted
    if _is_done(config.output_dir):
        return None
    checkpoint = _download(config, reference)
    record = _read_object(checkpoint.folder / RUN_FILE)
    _check_record(config, reference, record)
    own = _find_own_step(config.output_dir / CHECKPOINTS)
    if reference.revision is None and own is not None and own >= checkpoint.step:
        logger.info("%s has step %s, this folder step %s: it goes on from here", reference, checkpoint.step, own)
        return None
    _adopt(config, record, checkpoint)
    logger.info("downloaded the checkpoint of step %s from %s", f"{checkpoint.step:,}", reference)
    return checkpoint_folder(Path(), checkpoint.step).name


def _find_own_step(checkpoints: Path) -> int | None:
    """Return the step of the newest checkpoint here that is whole."""
    folders = reversed(list_sealed(checkpoints))
    return next((step_of(folder) for folder in folders if not find_damage(folder, step=step_of(folder))), None)


def _is_done(run_dir: Path) -> bool:
    return (run_dir / RUN_FILE).is_file() and read_json(run_dir / RUN_FILE).get("status") == "done"


def _download(config: RunConfig, reference: Reference) -> RemoteCheckpoint:
    wanted = Wanted("model", reference.name, reference.revision or "main", KEY, KEY, config.model.cache_dir)
    try:
        listing = look_up(wanted)
        name = _find_folder(reference, listing)
        there = Wanted("model", reference.name, listing.commit, KEY, KEY, config.model.cache_dir)
        folder = download(there, _files(reference, listing, name)) / name
        step, best = _read_steps(folder)
        if best in (None, step):
            return RemoteCheckpoint(folder, step, None)
        return RemoteCheckpoint(folder, step, (best, _download_best(reference, listing, there, best=best)))
    except Unreachable as error:
        rule = f"the Hub is not reached ({error})"
        remedy = "try again with a connection, or leave it out to go on from the newest checkpoint of the run directory"
        raise HubError(Problem(config.place(KEY), str(reference), rule, remedy)) from error


def _find_folder(reference: Reference, listing: Listing) -> str:
    folders = {file.partition("/")[0] for file in listing.files if file.endswith(f"/{STATE_FILE}")}
    if LAST_CHECKPOINT in folders:
        return LAST_CHECKPOINT
    numbered = sorted((folder for folder in folders if re.fullmatch(r"checkpoint-\d+", folder)), key=_number)
    if numbered:
        return numbered[-1]
    rule = "holds no checkpoint to go on from"
    remedy = (
        "only runs under hub_strategy: checkpoint or all_checkpoints push one; model_name_or_path takes its weights"
    )
    raise HubError(Problem(KEY, str(reference), rule, remedy))


def _number(folder: str) -> int:
    return int(folder.rpartition("-")[2])


def _files(reference: Reference, listing: Listing, folder: str) -> Sequence[str]:
    """Return the files of a folder that may be read; a record and a state must be among them."""
    files = [file for file in listing.files if file.startswith(f"{folder}/")]
    pickled = [file for file in files if could_run_code(file)]
    if pickled:
        rule = f"offers {pickled[0]}, whose reading can run any code; nothing of it was downloaded"
        remedy = "take a repository that a run of hfpipe pushed"
        raise HubError(Problem(KEY, str(reference), rule, remedy))
    missing = [name for name in (RUN_FILE, STATE_FILE) if f"{folder}/{name}" not in files]
    if missing:
        rule = f"its {folder} has no {missing[0]}"
        raise HubError(Problem(KEY, str(reference), rule, "take a repository that a run of hfpipe pushed"))
    return [file for file in files if is_allowed(file)]


def _download_best(reference: Reference, listing: Listing, there: Wanted, *, best: int) -> Path:
    """Return the folder of the best checkpoint: the run may end with its weights."""
    numbered = checkpoint_folder(Path(), best).name
    for name in (numbered, BEST_CHECKPOINT):
        if f"{name}/{STATE_FILE}" in listing.files:
            folder = download(there, _files(reference, listing, name)) / name
            if _read_steps(folder)[0] == best:
                return folder
    rule = f"lacks the best checkpoint of the run so far, step {best:,}"
    raise HubError(Problem(KEY, str(reference), rule, "name a revision that has it"))


def _read_steps(folder: Path) -> tuple[int, int | None]:
    """Return step and best step of a checkpoint."""
    state = _read_object(folder / STATE_FILE)
    step, best = state.get("global_step"), state.get("best_global_step")
    if not isinstance(step, int) or not isinstance(best, int | None):
        raise CheckpointError(Problem(str(folder / STATE_FILE), rule="names no step", remedy="push the run anew"))
    return step, best


def _read_object(file: Path) -> Mapping[str, Any]:
    """Return the JSON of a file that somebody else may have written."""
    value = read_json(file)
    if not isinstance(value, dict):
        remedy = "take a repository that a run of hfpipe pushed"
        raise CheckpointError(Problem(f"{file.parent.name}/{file.name}", rule="holds no JSON object", remedy=remedy))
    return value


def _check_record(config: RunConfig, reference: Reference, record: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another run; paths are compared by their last names, and files by content later on."""
    settings = record.get("config")
    is_whole = isinstance(settings, dict) and all(isinstance(each, dict) for each in settings.values())
    if not is_whole or any(key not in record for key in _NEEDED):
        rule = "its record lacks what a run needs to go on"
        raise CheckpointError(
            Problem(str(reference), rule=rule, remedy="take a repository that a run of hfpipe pushed")
        )
    if record.get("format") != RUN_FORMAT:
        rule = f"its record is not in the format '{RUN_FORMAT}'"
        raise CheckpointError(Problem(str(reference), rule=rule, remedy="use the version that wrote it"))
    wanted = scrub(config.flat())
    saved = {key: value for key, value in saved_settings(record).items() if key in wanted or change_of(key) != "free"}
    check_same_run(saved, wanted, terms=Terms(change_of, config.place, config.default_of))


def _adopt(config: RunConfig, record: Mapping[str, Any], checkpoint: RemoteCheckpoint) -> None:
    """Put the checkpoint into the run directory, and a record where there is none: settings as they are named here."""
    run_dir = config.output_dir
    if not (run_dir / RUN_FILE).exists():
        own, scrubbed = config.flat(), scrub(config.flat())
        named = {
            key: own[key] if key in own and scrubbed.get(key) == value else value
            for key, value in saved_settings(record).items()
        }
        run_dir.mkdir(parents=True, exist_ok=True)
        # first: without it the folder would be no run of ours to the same command after a kill
        write_json(run_dir / RUN_FILE, {**record, "config": describe_settings(named, {})})
    history = checkpoint.folder / HISTORY_FILE
    if history.is_file() and not (run_dir / HISTORY_FILE).exists():
        write_whole(run_dir / HISTORY_FILE, history.read_bytes())
    # the last one last: with it the run can go on
    for step, folder in [*([checkpoint.best] if checkpoint.best else []), (checkpoint.step, checkpoint.folder)]:
        _copy(folder, run_dir / CHECKPOINTS, step)


def _copy(source: Path, checkpoints: Path, step: int) -> None:
    """Copy a folder of the cache, whose files are links, to where it appears as a checkpoint when it is whole.

    Raises:
        CheckpointError: If it is not what was pushed, or cannot be written.
    """
    staging = staging_folder(checkpoints, step)
    files = [file for file in source.iterdir() if file.name not in (RUN_FILE, HISTORY_FILE)]
    with told_by_path(staging, needed=sum(file.stat().st_size for file in files)):
        remove_folder(staging)
        staging.mkdir(parents=True)
        # the manifest last: a folder that has it is published by the command given again after a kill
        for file in sorted(files, key=lambda file: file.name == MANIFEST_FILE):
            shutil.copyfile(file, staging / file.name)
            sync_file(staging / file.name)
        problems = find_damage(staging, step=step)
        if problems:
            remove_folder(staging)
            remedy = "name another revision, or leave resume_from_checkpoint out"
            raise CheckpointError([replace(each, remedy=remedy) for each in problems])
        sync_folder(staging)
        publish(checkpoints, step)
