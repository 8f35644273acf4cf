"""How a process of a run leaves: with which code, and which of several processes says why.

0 is a finished run, 1 one that was lost (a process killed, a bug), 2 a user's mistake, 130 and 143 a stopped one.
Under `hfpipe run --accelerate` a process writes its code into a file and leaves with 0: the launcher turns every other
code into 1 and a traceback of its own. Where it may start the processes again, a lost run has to leave with 1: nothing
else makes it do so, and no stop or mistake is to be tried once more.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FINISHED = 0
LOST = 1
USER_MISTAKE = 2
STOPPED = (130, 143)
# Set by `hfpipe run --accelerate`.
EXIT_CODE_FILE = "HFPIPE_EXIT_CODE_FILE"


def stop_code(number: int) -> int:
    """Return the exit code of a run that was stopped by a signal: 130 for SIGINT, 143 for every other."""
    return 130 if number == signal.SIGINT else 143


def settle(code: int, message: str, *, say: Callable[[str], None], speaker: int = 0) -> int:
    """Say the message once among the processes, leave the code for `hfpipe run`, and return what to exit with.

    Without a file the process of rank `speaker` says it.
    """
    path = os.environ.get(EXIT_CODE_FILE)
    if path is None:
        if current_rank() == speaker:
            say(message)
        return code
    try:
        is_first = _is_first(_file_of(Path(path), _attempt()), code)
    except OSError:  # a full disk, or a long run whose temporary folder was cleaned away
        say(message)
        return code
    if is_first:
        say(message)
    return LOST if code == LOST and _may_restart() else FINISHED


def forget_earlier_attempts() -> None:
    """Remove the codes of processes that the launcher has replaced by this one and its like."""
    path = os.environ.get(EXIT_CODE_FILE)
    if path is not None:
        for attempt in range(_attempt()):
            _file_of(Path(path), attempt).unlink(missing_ok=True)


def read_code(path: Path) -> int | None:
    """Return the code that processes left at `path`, None where they left none."""
    for file in sorted(path.parent.glob(f"{path.name}*"), reverse=True):
        with suppress(FileNotFoundError):  # removed meanwhile by the processes that start again
            if left := file.read_text(encoding="utf-8"):
                return int(left)
    return None


def current_rank() -> int:
    """Return the number of this process among those of the run."""
    return int(os.environ.get("RANK", "0"))


def _is_first(path: Path, code: int) -> bool:
    """Write the exit code unless another process did, and return whether this one is the first."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(str(code))
    except FileExistsError:
        return False
    return True


def _file_of(path: Path, attempt: int) -> Path:
    return path.with_name(f"{path.name}.{attempt}") if attempt else path


def _attempt() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _may_restart() -> bool:
    return _attempt() < int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
