"""One launch at a time in a run directory: a lock that the system frees when its process ends, however it ends.

Refuses a second launch with the process and host of the first. Two that wrote checkpoints, history and record of one
run would each remove what the other goes on from.

The one decision: a lock of the process (`fcntl.lockf`) and not of the open file (`flock`). Data workers are forked and
may outlive a killed run for a moment; they hold no lock of this kind, and network file systems have it too.
"""

import fcntl
import logging
import os
import socket
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.disk import told_by_path
from hfpipe.records.run_directory import LOCK_FILE, RUN_FILE

logger = logging.getLogger(__name__)

SECONDS_FOR_THE_DEAD = 5.0
"""How long a start waits for the one before, which may have been killed just now and has its memory to give back."""
_SECONDS_BETWEEN_TRIES = 0.1


class RunLock:
    """The lock of the run directory `folder`, from `hold` until `release`, or until nothing refers to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._release: Callable[[], object] | None = None

    def hold(self) -> None:
        """Hold the lock of the run that is there; where there is none nothing happens, and once more changes nothing.

        Where the file system has no locks, a warning says so and the run goes on.

        Raises:
            CheckpointError: If another process holds it.
        """
        if self._release is None and (self.folder / RUN_FILE).is_file():
            self._take()

    def hold_new(self) -> None:
        """Make the folder of a run that begins, and hold its lock.

        Raises:
            CheckpointError: If another process holds it, or has begun a run there meanwhile.
        """
        if self._release is not None:
            return
        with told_by_path(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._take()
        if (self.folder / RUN_FILE).exists():
            self.release()
            remedy = "choose another output_dir, or give the same command again to go on with that run"
            raise CheckpointError(Problem(str(self.folder), rule="a run was begun here meanwhile", remedy=remedy))

    def release(self) -> None:
        """Let others have the lock."""
        if self._release is not None:
            self._release()
            self._release = None

    def _take(self) -> None:
        try:
            descriptor = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:  # write-protected or full: what is written next says so
            return
        self._release = weakref.finalize(self, os.close, descriptor)
        try:
            _lock(descriptor, self.folder)
        except CheckpointError:
            self.release()
            raise
        # on a full disk the next one is refused without a name
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)


def check_free(folder: Path) -> None:
    """Refuse a run that another process is at work in; asked before what takes long.

    Raises:
        CheckpointError: If another process holds its lock.
    """
    lock = RunLock(folder)
    lock.hold()
    lock.release()


def _lock(descriptor: int, folder: Path) -> None:
    until = time.monotonic() + SECONDS_FOR_THE_DEAD
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # systems answer by one or the other
            if time.monotonic() > until:
                raise CheckpointError(_describe(descriptor, folder)) from None
            time.sleep(_SECONDS_BETWEEN_TRIES)
        except OSError as error:
            text = "%s: its file system has no locks (%s): do not start it twice"
            logger.warning(text, folder, error.strerror)
            return
        else:
            return


def _describe(descriptor: int, folder: Path) -> Problem:
    words = os.pread(descriptor, 300, 0).decode(errors="replace").split()
    holder, remedy = "another process", "wait until it ends, or choose another output_dir"
    if len(words) == 2:
        process, host = words
        holder = f"process {process} on {host}"
        remedy = f"wait until it ends, stop it (kill {process}: it saves its state), or choose another output_dir"
    return Problem(str(folder), rule=f"{holder} is at work in this run", remedy=remedy)
