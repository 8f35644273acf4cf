"""Spools of a saved run, filled as a training fills them, and a disk that is full for them alone."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hfpipe.hub.prepare import Naming, prepare_checkpoint, prepare_final
from hfpipe.hub.repository import Target
from hfpipe.hub.spool import SPOOL, Entry, Spool

NAME = "tester/reviews"
NAMING = Naming("reviews")
SAVES_AND_FINAL = ["Step 2", "Step 4", "Finished model, step 4"]

_full: list[str] = []


def _refuse_to_write(event: str, arguments: tuple[object, ...]) -> None:
    if not _full or event not in ("open", "os.link", "os.mkdir"):
        return
    place = str(arguments[1] if event == "os.link" else arguments[0])
    writes = event != "open" or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
    if writes and f"/{SPOOL}/" in place and place.endswith(_full[0]):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)


sys.addaudithook(_refuse_to_write)


@contextmanager
def full_for(ending: str) -> Iterator[None]:
    """Let the disk be full for what is written into a spool under a name of this ending ('': everything)."""
    _full.append(ending)
    try:
        yield
    finally:
        _full.clear()


def record_save(spool: Spool, step: int, *, tag: str | None = None, revision: str | None = None) -> Entry:
    """Record a checkpoint of the run."""
    prepared = prepare_checkpoint(spool.run_dir, step, spool.place_to_prepare(), naming=NAMING, tag=tag)
    return spool.record(prepared, Target(NAME, revision=revision))


def record_final(spool: Spool) -> Entry:
    """Record the finished model."""
    prepared = prepare_final(spool.run_dir, spool.place_to_prepare(), naming=NAMING)
    return spool.record(prepared, Target(NAME), is_final=True)


def record_all(spool: Spool) -> None:
    """Record both checkpoints and the finished model."""
    for step in (2, 4):
        record_save(spool, step)
    record_final(spool)


def kill_deliverer(spool: Spool) -> None:
    """End the process that delivers a spool, as `kill -9` does."""
    os.kill(int((spool.folder / "lock").read_text()), signal.SIGKILL)
