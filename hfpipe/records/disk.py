"""What a user is told when a file cannot be written: the file, the bytes needed and free, and what to do.

A full disk is met by Python as an `OSError`, and by libraries written in Rust as errors of other kinds that say so in
words alone, with the number of the system's error.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hfpipe.errors import CheckpointError, Problem

# the room is used up; that a file may not be so large (EFBIG) is a limit of its own
_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_NUMBER_IN_WORDS = re.compile(r"\(os error (\d+)\)")


def error_number(error: BaseException) -> int | None:
    """Return the system's number for what went wrong, of an OSError or as a library's words have it; None if none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _NUMBER_IN_WORDS.search(str(error))
    return int(found[1]) if found else None


def is_write_error(error: BaseException) -> bool:
    """Tell whether the system refused to write, or to read, whoever says so: tokenizers raises a bare Exception."""
    return isinstance(error, OSError) or error_number(error) is not None


def is_disk_full(error: BaseException) -> bool:
    """Tell whether there was no room left, on the disk or in what the user may have of it."""
    return error_number(error) in _FULL


@contextmanager
def told_by_path(path: Path, *, needed: int = 0) -> Iterator[None]:
    """Raise a CheckpointError that names `path` where it, or a file in it, cannot be written."""
    try:
        yield
    except BaseException as error:
        if is_write_error(error):
            raise write_failure(path, error, needed=needed) from error
        raise


def write_problem(path: Path, error: BaseException, *, needed: int, remedy: str = "") -> Problem:
    """Return what kept `path` from being written; `needed` are the bytes of what was to be written as a whole."""
    number = error_number(error)
    if number == errno.EFBIG:
        rule = f"a file may not be so large here ({show_bytes(needed)} needed)"
        return Problem(str(path), rule=rule, remedy="raise the limit (ulimit -f), or choose another output_dir")
    if number in _FULL:
        sizes = (
            f"{show_bytes(needed)} needed, {show_bytes(free_bytes(path))} free"
            if needed
            else (f"{show_bytes(free_bytes(path))} free")
        )
        return Problem(str(path), sizes, _FULL[number], remedy or "free some, then give the same command again")
    reason = os.strerror(number) if number is not None else (str(error).splitlines() or [type(error).__name__])[0]
    return Problem(str(path), rule=f"cannot be written ({reason})", remedy=remedy)


def write_failure(path: Path, error: BaseException, *, needed: int, remedy: str = "") -> CheckpointError:
    """Return the error for a file that could not be written."""
    return CheckpointError(write_problem(path, error, needed=needed, remedy=remedy))


def free_bytes(path: Path) -> int:
    """Return the bytes free for `path`, which may not exist yet."""
    return shutil.disk_usage(nearest_existing(path)).free


def nearest_existing(path: Path) -> Path:
    """Return `path`, or the first folder above it that exists."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())


def show_bytes(count: int) -> str:
    """Return `count` in the unit people read: `345 MB`, `1.2 GB`."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            value = count / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return f"{count / 1000:.1f} kB"
