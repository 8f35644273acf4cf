"""The files of a run directory: JSON written whole or not at all, and the history, one event a line.

Refuses files that are not what this module writes, naming file and line. NaN and infinities become null:
a diverged run must still leave files that every JSON reader accepts.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.disk import write_failure
from hfpipe.records.durable import sync_file, sync_folder, write_whole

RUN_FILE = "run.json"
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
HISTORY_FILE = "history.jsonl"
SAMPLES_FILE = "samples.jsonl"
"""What the model wrote at each evaluation, in the form of the history."""
CHECKPOINTS = "checkpoints"
LOCK_FILE = ".lock"
STAGING = ".publishing"
"""Where files lie before they are published at the top of the run directory."""


def checkpoint_folder(checkpoints: Path, step: int) -> Path:
    """Return where the checkpoint of `step` lies."""
    return checkpoints / f"checkpoint-{step}"


def step_of(folder: Path) -> int:
    """Return the step that a checkpoint's folder is named after, published or not."""
    return int(folder.name.rpartition("-")[2])


def list_folders(checkpoints: Path) -> list[Path]:
    """Return the folders named as checkpoints, oldest first, whatever is in them."""
    named = (folder for folder in checkpoints.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", folder.name))
    return sorted((folder for folder in named if folder.is_dir()), key=step_of)


def list_checkpoints(checkpoints: Path, *, holding: str) -> list[tuple[int, Path]]:
    """Return (step, folder) of the checkpoints that have a file named `holding`, oldest first."""
    return [(step_of(folder), folder) for folder in list_folders(checkpoints) if (folder / holding).is_file()]


def write_json(path: Path, value: object, *, durable: bool = True) -> None:
    """Write `value` to `path` as JSON; a reader, or a crash at any moment, meets the old file or the new one.

    `durable` is as in `write_whole`.

    Raises:
        CheckpointError: If it cannot be written, as on a full disk.
    """
    write_whole(path, json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n", durable=durable)


def read_json(path: Path) -> Any:
    """Return the value in `path`.

    Raises:
        CheckpointError: If the file is missing or holds no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(Problem(str(path), rule="there is no such file", remedy="is this a run?")) from error
    except OSError as error:
        raise CheckpointError(Problem(str(path), rule=f"cannot be read ({error.strerror})")) from error
    except UnicodeDecodeError as error:
        raise CheckpointError(Problem(str(path), rule="is not UTF-8 text")) from error
    except json.JSONDecodeError as error:
        raise CheckpointError(Problem(f"{path}:{error.lineno}", rule=f"is not JSON ({error.msg})")) from error


def append_history(path: Path, entry: Mapping[str, object]) -> None:
    """Add one event to the history. `entry` has a `step`: resuming cuts the history by it.

    Raises:
        CheckpointError: If it cannot be written, as on a full disk.
    """
    assert "step" in entry, "an event without a step could not be cut when the run is resumed"
    line = json.dumps(_finite(entry), ensure_ascii=False, allow_nan=False) + "\n"
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise write_failure(path, error, needed=len(line.encode())) from error


def sync_history(path: Path) -> None:
    """Return when the events written so far, and all names in the run directory, are on the disk."""
    if path.exists():
        sync_file(path)
    # a run that logs nothing has a new folder of checkpoints there too
    sync_folder(path.parent)


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the events in order; none where there is no file. A last line cut short by a kill is left out.

    Raises:
        CheckpointError: If any other line is not an event with a step.
    """
    if not path.exists():
        return []
    # bytes until the line is whole: a kill may cut inside a character
    lines = path.read_bytes().split(b"\n")
    return [_event(line, f"{path}:{number}") for number, line in enumerate(lines[:-1], start=1)]


def truncate_history(path: Path, step: int) -> None:
    """Keep the events up to and including `step`: what a run logged after its checkpoint happens again."""
    if not path.exists():
        return
    kept = [entry for entry in read_history(path) if entry["step"] <= step]
    write_whole(path, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept))


def _event(line: bytes, place: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError as error:  # bad JSON and bad UTF-8 alike
        raise CheckpointError(Problem(place, rule="is not JSON", remedy="remove the line")) from error
    if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
        raise CheckpointError(Problem(place, rule="is not an event with a 'step'", remedy="remove the line"))
    return entry


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_finite(each) for each in value]
    return value
