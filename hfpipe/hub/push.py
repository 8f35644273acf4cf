"""`hfpipe push`: a finished run, or a checkpoint of one that is not, to the Hub by hand.

It shows what travels and asks nothing. The settings of the run say where to, as far as the command does not; a run
that knew nothing of the Hub is pushed all the same. A finished run's top is always its finished model.
"""

import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from huggingface_hub import get_token

from hfpipe.config.hub_rules import is_branch_name, is_repository_name
from hfpipe.errors import HubError, Problem
from hfpipe.hub.delivery import complete_and_push, describe_commit
from hfpipe.hub.files import LAST_CHECKPOINT, check_files
from hfpipe.hub.pending import PushOptions, deliver_all, describe_pushed, find_same_place
from hfpipe.hub.prepare import (
    Naming,
    Prepared,
    find_final_step,
    is_card_edited,
    prepare_checkpoint,
    prepare_final,
    prepare_state,
)
from hfpipe.hub.pushed import list_pushes, record_push
from hfpipe.hub.repository import Repository, Target, limit_waiting, open_repository
from hfpipe.hub.spool import Spool
from hfpipe.records.opening import read_run
from hfpipe.records.run_directory import CHECKPOINTS, list_checkpoints, read_json
from hfpipe.records.sessions import saved_settings

NEWEST, BEST = "newest", "best"
_STATE_FILE = "trainer_state.json"


def push_run(run_dir: Path, options: PushOptions, *, dry_run: bool = False) -> Iterator[str]:
    """Push a run and yield what a user reads meanwhile: what travels, then where each commit lies.

    Raises:
        HubError: If there is nothing to push, something must not travel, or the Hub refuses or cannot be reached.
        CheckpointError: If the folder holds no run.
    """
    target = find_target(run_dir, options)
    with tempfile.TemporaryDirectory(prefix=".pushing-", dir=run_dir) as folder:
        commits = prepare_push(run_dir, options, target=target, folder=Path(folder))
        yield from describe_push(run_dir, target, commits, token=get_token())
        if dry_run:
            return
        limit_waiting()
        repository = open_repository(target)
        if target.private and not repository.private:
            yield f"{repository.name} exists and is public: everybody can read what is pushed"
        is_done = read_run(run_dir)["status"] == "done"
        if is_done and Spool(run_dir).folder.is_dir():
            yield from _push_after_pending(run_dir, repository, commits)
            return
        for prepared in commits:
            yield _push_prepared(run_dir, repository, prepared, is_final=is_done and prepared is commits[-1])


def find_target(run_dir: Path, options: PushOptions) -> Target:
    """Return where a run is pushed to: as the options say, else its settings, else the folder's name.

    Raises:
        HubError: If a name is none that the Hub takes.
        CheckpointError: If the folder holds no run.
    """
    settings = saved_settings(read_run(run_dir))
    name = options.hub_model_id or settings.get("hub_model_id") or find_default_name(run_dir)
    revision = options.revision or settings.get("hub_revision")
    if not is_repository_name(str(name)):
        rule = "is no name of a repository"
        raise HubError(Problem("--hub-model-id", str(name), rule, "write it as in owner/my-model"))
    if revision is not None and not is_branch_name(str(revision)):
        raise HubError(Problem("--revision", str(revision), "is no name of a branch", "write it as in main"))
    if options.tag is not None and not is_branch_name(options.tag):
        raise HubError(Problem("--tag", options.tag, "is no name of a tag", "write it as in v1.0"))
    is_private = not options.public and settings.get("hub_private_repo") is not False
    return Target(str(name), is_private, None if revision is None else str(revision))


def find_default_name(run_dir: Path) -> str:
    """Return the name a repository gets from the run directory: what the Hub does not take becomes a hyphen."""
    name = re.sub(r"[^\w.-]+|--+|\.\.+", "-", run_dir.resolve().name, flags=re.ASCII).strip("-.")
    return name.removesuffix(".git")[:96] or "hfpipe-run"


def prepare_push(run_dir: Path, options: PushOptions, *, target: Target, folder: Path) -> list[Prepared]:
    """Return the commits to make, prepared in folders below `folder`.

    Raises:
        HubError: If the run is not done and no checkpoint is named, there is none of that name, or a file must not go.
        CheckpointError: If the folder holds no run.
    """
    run = read_run(run_dir)
    steps = _find_steps(run_dir, options.checkpoints)
    naming = Naming(target.name.rpartition("/")[2], target.revision)
    tags = saved_settings(run).get("hub_tag_steps") is True and options.tag is None
    if run["status"] == "done":
        states = [prepare_state(run_dir, step, folder / str(step), tag=_tag(tags, step)) for step in steps]
        tag = options.tag or (find_final_tag(run_dir, naming.name) if tags else None)
        return [*states, prepare_final(run_dir, folder / "final", naming=naming, tag=tag)]
    if not steps:
        rule = f"the run is not done, its status is '{run['status']}'"
        remedy = "let it finish by the command that started it, or push what there is: --checkpoint newest (or best)"
        raise HubError(Problem(str(run_dir), rule=rule, remedy=remedy))
    return [
        prepare_checkpoint(
            run_dir,
            step,
            folder / str(step),
            naming=naming,
            state_folder=LAST_CHECKPOINT,
            tag=options.tag if step == steps[-1] and options.tag else _tag(tags, step),
        )
        for step in steps
    ]


def describe_push(run_dir: Path, target: Target, commits: Sequence[Prepared], *, token: str | None) -> Iterator[str]:
    """Yield what is to travel, file by file, as the user reads it before anything does.

    Raises:
        HubError: If a file must not travel.
    """
    where = f"{target.name}, branch {target.revision}" if target.revision else target.name
    yield f"to {where} ({'private' if target.private else 'PUBLIC'} if it has to be made)"
    for prepared in commits:
        tag = f", tag {prepared.upload.tag}" if prepared.upload.tag else ""
        yield f"{prepared.upload.message}{tag}:"
        folder = prepared.upload.folder
        paths = check_files(folder, token=token)
        sizes = [(folder / path).stat().st_size for path in paths]
        yield from (f"  {size:>15,}  {path}" for path, size in zip(paths, sizes, strict=True))
        made = " and the model card" if prepared.private_card else ""
        yield f"  {sum(sizes):>15,}  bytes in {len(paths):,} files{made}"
    if (run_dir / "README.md").is_file() and is_card_edited(run_dir):
        yield "README.md was edited since the run wrote it: it is pushed as it is"


def _push_after_pending(run_dir: Path, repository: Repository, commits: Sequence[Prepared]) -> Iterator[str]:
    """Push a finished run to where saves of it are pending: these first, or they would cover the finished model."""
    spool = Spool(run_dir)
    with spool.hold():
        pending = find_same_place(spool.list_pending(), repository)
        yield from deliver_all(spool, [entry for entry in pending if not entry.is_final])
        for prepared in commits:
            yield _push_prepared(run_dir, repository, prepared, is_final=prepared is commits[-1])
        for entry in pending:
            if entry.is_final:  # it has just been delivered
                spool.remove(entry)
        spool.close()


def _push_prepared(run_dir: Path, repository: Repository, prepared: Prepared, *, is_final: bool) -> str:
    """Make the commit now, on top of what is there, record it, and return the line that tells of it."""
    commit = complete_and_push(repository, prepared)
    pushed = describe_commit(repository, prepared, commit=commit, is_final=is_final)
    record_push(run_dir, pushed)
    return describe_pushed(pushed)


def find_final_tag(run_dir: Path, repository: str, *, steps: Collection[int] = ()) -> str | None:
    """Return the tag of the finished model, None where its step has one: that of the checkpoint, to go on from.

    `repository` is a name without its owner; `steps` were handed over for pushing and may not have arrived yet.
    """
    step = find_final_step(run_dir)
    saves = [pushed for pushed in list_pushes(run_dir) if not pushed["is_final"]]
    there = [pushed["tag"] for pushed in saves if pushed["repository"].endswith(f"/{repository}")]
    return None if step in steps or _tag(True, step) in there else _tag(True, step)


def _tag(tags: bool, step: int) -> str | None:
    return f"step-{step}" if tags else None


def _find_steps(run_dir: Path, wanted: Sequence[str]) -> list[int]:
    """Return the steps of the checkpoints named, oldest first."""
    there = dict(list_checkpoints(run_dir / CHECKPOINTS, holding=_STATE_FILE))
    named = {_find_step(there, name) for name in wanted}
    missing = [name for name in wanted if _find_step(there, name) not in there]
    if missing:
        names = ", ".join(f"{step:,}" for step in there) or "none"
        rule = "there is no such checkpoint"
        raise HubError([Problem("--checkpoint", name, rule, f"there is: {names}") for name in missing])
    return sorted(step for step in named if step is not None)


def _find_step(there: Mapping[int, Path], name: str) -> int | None:
    if name == NEWEST:
        return max(there, default=None)
    if name == BEST and there:
        best = read_json(there[max(there)] / _STATE_FILE).get("best_global_step")
        return None if best is None else int(best)
    digits = name.removeprefix("checkpoint-")
    return int(digits) if digits.isdigit() else None
