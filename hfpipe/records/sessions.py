"""The record of a run, `run.json`: what it states of itself, and each time it was started and ended.

Only the main process may call what writes. A session that was killed leaves the status 'running'; the next one
writes it down as killed. `done` is the last thing a run writes.
"""

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from hfpipe.records.durable import clean_partial_files
from hfpipe.records.launches import LAUNCHES, find_launches
from hfpipe.records.run_directory import RUN_FILE, read_json, write_json

RUN_FORMAT = "hfpipe run 1"
STARTING_POINT = "starting_point"
"""Key of a record: what tells the model and tokenizer that a run began with from others, file by file."""
FINGERPRINT = "fingerprint"
"""Key of a record: what tells the checkpoints of the run from those of others."""
TRAINING_SECONDS = "training_seconds"
"""Key of a record: how long its steps take, at the pace of the session that made the last one."""

Status = Literal["stopped", "failed", "done"]


def begin_session(
    run_dir: Path, facts: Mapping[str, object], *, from_step: int, cut: Mapping[str, int] | None = None
) -> None:
    """Write the record of a run that begins, or goes on, at `from_step`; makes the folder where it is missing.

    `facts` are what this session knows of the run by key: recipe, config, versions, data, world_size and so on.
    They replace those of an earlier session, key by key; the `cut` of its steps stays with each session.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    clean_partial_files(run_dir)  # also of a first record, which a kill cut short
    path = run_dir / RUN_FILE
    run = read_json(path) if path.exists() else {"sessions": []}
    earlier = [_closed(session) for session in run["sessions"]]
    session: dict[str, object] = {
        "started": _now(),
        "ended": None,
        "from_step": from_step,
        "to_step": None,
        "status": "running",
    }
    if cut is not None:
        session["cut"] = dict(cut)
    if launches := find_launches():
        session[LAUNCHES] = [*launches]
    head = {"format": RUN_FORMAT, "status": "running"}
    write_json(path, {**head, **run, **facts, **head, "sessions": [*earlier, session]})


def add_facts(run_dir: Path, facts: Mapping[str, object]) -> None:
    """Add facts that became known during the session, such as timings, to the record."""
    path = run_dir / RUN_FILE
    write_json(path, {**read_json(path), **facts})


def end_session(run_dir: Path, *, status: Status, to_step: int) -> None:
    """Write that the session under way ended at `to_step`, and how."""
    path = run_dir / RUN_FILE
    run = read_json(path)
    *earlier, session = run["sessions"]
    ended = {**session, "ended": _now(), "to_step": to_step, "status": status}
    write_json(path, {**run, "status": status, "sessions": [*earlier, ended]})


def describe_settings(values: Mapping[str, object], origins: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Return the `config` of a record: every setting with its value and where that came from ('' for a default)."""
    return {key: {"value": value, "origin": origins.get(key, "")} for key, value in values.items()}


def saved_settings(run: Mapping[str, Any]) -> dict[str, object]:
    """Return the settings of a record by key, without their origins."""
    return {key: setting["value"] for key, setting in run["config"].items()}


def _closed(session: Mapping[str, object]) -> dict[str, object]:
    return {**session, "status": "killed"} if session["status"] == "running" else dict(session)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
