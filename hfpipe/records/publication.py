"""How a checkpoint comes to be one, and how it goes: at no moment is there a folder that looks whole and is not.

    .writing-N     files are written; with a manifest it is whole, and only its name is missing
    checkpoint-N   published
    .removing-N    no longer a checkpoint, about to be removed

`clean_leftovers` makes good what a kill left: what was sealed is published, everything else removed. Only the main
process calls these.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from hfpipe.records.durable import move_folder, remove_folder, sync_folder
from hfpipe.records.manifest import MANIFEST_FILE, Manifest, read_manifest
from hfpipe.records.run_directory import checkpoint_folder, list_checkpoints, list_folders, step_of

logger = logging.getLogger(__name__)

_WRITING, _REMOVING, _DOWNLOADING = ".writing-", ".removing-", ".downloading-"
_SET_ASIDE = "set_aside"


def staging_folder(checkpoints: Path, step: int) -> Path:
    """Return where the checkpoint of `step` is written."""
    return checkpoints / f"{_WRITING}{step}"


def publish(checkpoints: Path, step: int) -> Path:
    """Give the sealed staging folder of `step` its name and return it.

    A checkpoint of the same step makes way first; a kill in between leaves what replaces it sealed.
    """
    target = checkpoint_folder(checkpoints, step)
    replaced = _retire(target) if (target / MANIFEST_FILE).exists() else None
    if replaced == target:
        shutil.rmtree(target)
    try:
        move_folder(staging_folder(checkpoints, step), target, last=MANIFEST_FILE)
    except BaseException:
        if replaced is not None and replaced != target and not target.exists():
            replaced.rename(target)
        raise
    if replaced is not None:
        _try_to_remove(checkpoints / f"{_REMOVING}{step}")
    return target


def rotate(
    checkpoints: Path, *, keep: int | None, best_step: int | None, best_of: Mapping[int, int] | None = None
) -> None:
    """Remove the oldest checkpoints down to `keep`, never the best and never the newest, which a stopped run needs.

    Where one is kept, the one that was the best by then (`best_of`, by step) is too: without it a run could not go on
    from there when the newest is damaged.
    """
    if keep is None:
        return
    steps = [step for step, _ in list_checkpoints(checkpoints, holding=MANIFEST_FILE)]
    needed = best_of or {}
    kept = {best_step, *steps[-1:]} & set(steps)
    for step in reversed(steps):
        wanted = kept | {step, needed.get(step, step)} & set(steps)
        if len(wanted) <= keep:
            kept = wanted
    retired = [_retire(checkpoint_folder(checkpoints, step)) for step in sorted(set(steps) - kept)]
    for folder in retired:
        _try_to_remove(folder)


def clean_leftovers(checkpoints: Path) -> list[Path]:
    """Make good what a killed session left half done; return the checkpoints that it had sealed and not published."""
    published = []
    for staging in _leftovers(checkpoints, _WRITING):
        if isinstance(read_manifest(staging), Manifest):
            published.append(publish(checkpoints, int(staging.name.removeprefix(_WRITING))))
    for prefix in (_WRITING, _REMOVING, _DOWNLOADING):
        for folder in _leftovers(checkpoints, prefix):
            _try_to_remove(folder)
    return published


def list_sealed(checkpoints: Path) -> list[Path]:
    """Return the checkpoints that there are once `clean_leftovers` has published what waits, oldest first."""
    waiting = [each for each in _leftovers(checkpoints, _WRITING) if isinstance(read_manifest(each), Manifest)]
    by_step = {step_of(folder): folder for folder in [*list_folders(checkpoints), *waiting]}
    return [by_step[step] for step in sorted(by_step)]


def set_aside(folder: Path) -> Path:
    """Move a checkpoint to where it is no longer one, and return where; an earlier one of its name is replaced."""
    aside = folder.parent / _SET_ASIDE / folder.name
    aside.parent.mkdir(exist_ok=True)
    remove_folder(aside)
    move_folder(folder, aside, last=MANIFEST_FILE)
    sync_folder(folder.parent)
    return aside


def set_later_aside(checkpoints: Path, step: int) -> None:
    """Move the checkpoints after `step` out of the way of a run that goes on from there and will write them anew."""
    for folder in list_folders(checkpoints):
        if step_of(folder) > step:
            set_aside(folder)


def _retire(folder: Path) -> Path:
    """Take the name of a checkpoint from `folder` and return what is to be removed."""
    target = folder.with_name(f"{_REMOVING}{step_of(folder)}")
    _try_to_remove(target)
    try:
        folder.rename(target)
    except OSError:  # it cannot be renamed at once: without a manifest it is no checkpoint either
        (folder / MANIFEST_FILE).unlink()
        target = folder
    sync_folder(folder.parent)
    return target


def _try_to_remove(folder: Path) -> None:
    """Remove what is no checkpoint; where that is refused it costs room and no more, so the run goes on."""
    try:
        remove_folder(folder)
    except OSError as error:
        # write-protected, or open on a network file system; the next start tries again
        logger.warning("%s: cannot be removed (%s); it is no checkpoint, so delete it by hand", folder, error.strerror)


def _leftovers(checkpoints: Path, prefix: str) -> Iterator[Path]:
    yield from sorted(folder for folder in checkpoints.glob(f"{prefix}*") if folder.is_dir())
