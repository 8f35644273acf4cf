"""The launch that a session is of, where something starts the same command again: torch's launcher, or Slurm's queue.

`fresh_start` and `resume_from_checkpoint` are fulfilled once. Were they taken literally at each restart, every one
would throw away what the one before had trained. So each session writes down its launches, and a later start of one of
them that finds itself in the record of the run goes on from the newest checkpoint. The same command given by hand is a
launch of its own and means what it says.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from hfpipe.records.run_directory import RUN_FILE, read_json

LAUNCHES = "launches"
"""Key of a session: what starts it again, hashed, since a record may be published."""

_DIGITS = 12
# who starts it again: the variable that names the launch, and the one that counts its restarts
_STARTERS = (("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"), ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"))
# torch's launcher where nobody names it
_UNNAMED = "none"


def find_launches(environment: Mapping[str, str] | None = None) -> dict[str, bool]:
    """Return the launches that this process is a start of, and whether it is not the first one."""
    return dict(_list_launches(os.environ if environment is None else environment))


def wishes_hold(run_dir: Path) -> bool:
    """Tell whether `fresh_start` and `resume_from_checkpoint` are still to be fulfilled in `run_dir`.

    They are unless this launch was started again, and a session of it has begun in the run that is there.

    Raises:
        CheckpointError: If the record cannot be read.
    """
    again = {launch for launch, is_again in find_launches().items() if is_again}
    if not again or not (run_dir / RUN_FILE).is_file():
        return True
    run = read_json(run_dir / RUN_FILE)
    sessions = run.get("sessions", ()) if isinstance(run, dict) else ()
    return not any(again & set(session.get(LAUNCHES, ())) for session in sessions)


def begins_anew(run_dir: Path, *, fresh_start: bool) -> bool:
    """Tell whether a wish for a `fresh_start` is still to be fulfilled, so that what is in `run_dir` counts no more.

    Raises:
        CheckpointError: If the record cannot be read.
    """
    return fresh_start and wishes_hold(run_dir)


def _list_launches(environment: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    for name, count in _STARTERS:
        launch = environment.get(name)
        if launch == _UNNAMED:  # one launcher has one process
            launch = f"{_UNNAMED} {os.getppid()}"
        if launch:
            hashed = hashlib.sha256(f"{name} {launch}".encode()).hexdigest()[:_DIGITS]
            yield hashed, int(environment.get(count, "0")) > 0
