"""What a run directory holds before a run begins in it: nothing yet, a run to go on with, or one that is done.

Refuses a folder that is not empty and holds no run of ours, under `fresh_start` too: a run moved aside can be
fetched back, but nobody expects their own folder to be renamed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.identity import Terms, compare_settings, find_changed
from hfpipe.records.launches import begins_anew
from hfpipe.records.run_directory import LOCK_FILE, RUN_FILE, read_json
from hfpipe.records.sessions import RUN_FORMAT, saved_settings
from hfpipe.records.work import Work, find_work_problems


@dataclass(frozen=True)
class Opening:
    """How a run begins. `run` is the record of the run that is there, `moved_to` where an earlier one now lies."""

    kind: Literal["new", "resume", "done"]
    run: Mapping[str, Any] | None = None
    moved_to: Path | None = None


def open_run(
    output_dir: Path,
    wanted: Mapping[str, object],
    *,
    fresh_start: bool,
    terms: Terms,
    work: Work | None = None,
) -> Opening:
    """Return how the run described by the settings `wanted` begins in `output_dir`, which may not exist yet.

    A finished run whose length grew is a run to resume. Only `fresh_start` changes anything on disk: it moves the
    earlier run to `<output_dir>.1`, `.2` and so on. Call it in the main process only. `work` is known once the
    processes have started.

    Raises:
        CheckpointError: If the folder is not ours or its record cannot be read, or if a setting was changed that
            makes it another run, or a step would have other rows or another precision.
    """
    if not _entries(output_dir):
        return Opening("new")
    run = _read_run(output_dir)
    if fresh_start:
        return Opening("new", moved_to=_move_aside(output_dir))
    is_done, saved = run["status"] == "done", saved_settings(run)
    grown, problems = compare_settings(saved, wanted, terms=terms, is_done=is_done)
    is_split = any(terms.change_of(key) == "splitting" for key in find_changed(saved, wanted))
    # who asks a finished run for its scores may do so with other processes, or on another machine
    if work is not None and (grown or is_split or not is_done):
        problems += find_work_problems(run, work)
    if problems:
        raise CheckpointError(problems)
    return Opening("done" if is_done and not grown else "resume", run)


def read_run(run_dir: Path) -> dict[str, Any]:
    """Return the record of the run in `run_dir`, finished or not.

    Raises:
        CheckpointError: If the folder holds no run, or one in another format.
    """
    if not (run_dir / RUN_FILE).is_file():
        rule = f"holds no {RUN_FILE}" if run_dir.is_dir() else "there is no such folder"
        raise CheckpointError(Problem(str(run_dir), rule=rule, remedy="name the output_dir of a run"))
    return _read_run(run_dir)


def read_begun(run_dir: Path, *, fresh_start: bool) -> Mapping[str, Any]:
    """Return the record of the run that is gone on with in `run_dir`; empty where none is, or one begins anew.

    Raises:
        CheckpointError: If the record cannot be read.
    """
    is_new = begins_anew(run_dir, fresh_start=fresh_start) or not (run_dir / RUN_FILE).is_file()
    return {} if is_new else read_run(run_dir)


def _entries(folder: Path) -> list[str]:
    if not folder.exists():
        return []
    if not folder.is_dir():
        problem = Problem(str(folder), rule="output_dir is a file, not a folder", remedy="choose another output_dir")
        raise CheckpointError(problem)
    # a record cut short by a kill is no content, nor is the lock that was held meanwhile
    names = (entry.name for entry in folder.iterdir())
    return sorted(name for name in names if name != LOCK_FILE and not name.startswith(f".{RUN_FILE}."))


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder / RUN_FILE
    if not path.exists():
        first = ", ".join(_entries(folder)[:3])
        rule = f"holds files ({first}) but no {RUN_FILE}, so it is not a run of ours"
        raise CheckpointError(Problem(str(folder), rule=rule, remedy="choose another output_dir"))
    run = read_json(path)
    found = run.get("format") if isinstance(run, dict) else None
    if found != RUN_FORMAT:
        rule = f"is not in the format '{RUN_FORMAT}'"
        remedy = "choose another output_dir, or use the version that wrote it"
        raise CheckpointError(Problem(str(path), "" if found is None else repr(found), rule, remedy))
    return run


def _move_aside(folder: Path) -> Path:
    number = 1
    while (target := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return folder.rename(target)
