"""A disk of a few megabytes that processes can be put on, and filled to the last byte at a chosen moment.

It is a tmpfs in a mount namespace of its own, so it takes no rights on the machine (Linux with user namespaces). The
tests look at it by `/proc`; a trial joins the namespace and sees it under its real path.
"""

import ctypes
import functools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kill_points import Window, act_at

NAMESPACES = ("user", "mnt")
# mounts, says so, and holds the namespace until its input ends
_KEEPER = 'mount -t tmpfs -o size="$1" hfpipe-test "$2" && echo mounted && exec cat'


class SmallDisk:
    """A mounted disk: `path` for those who joined it, `outside` for those who did not."""

    def __init__(self, path: Path, keeper: int) -> None:
        self.path = path
        self.keeper = keeper

    @property
    def outside(self) -> Path:
        """Where the disk lies for a process that has not joined it."""
        return Path(f"/proc/{self.keeper}/root{self.path}")

    def make_room(self) -> None:
        """Remove what filled the disk."""
        (self.outside / "ballast").unlink(missing_ok=True)


@contextmanager
def mounted(path: Path, *, size_bytes: int) -> Iterator[SmallDisk | None]:
    """Mount a disk at `path`, an empty folder, for as long as the context lasts; None where the system refuses."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _KEEPER, "sh", str(size_bytes), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as keeper:
        assert keeper.stdout is not None and keeper.stdin is not None
        answer = keeper.stdout.readline()
        yield SmallDisk(path, keeper.pid) if answer == b"mounted\n" else None
        keeper.stdin.close()


def join(keeper: int) -> None:
    """In a trial: see the disk that the process `keeper` holds."""
    library = ctypes.CDLL(None, use_errno=True)
    for name in NAMESPACES:
        descriptor = os.open(f"/proc/{keeper}/ns/{name}", os.O_RDONLY)
        if library.setns(descriptor, 0) != 0:
            raise OSError(ctypes.get_errno(), f"cannot join the {name} namespace of {keeper}")
        os.close(descriptor)


def fill_at(keeper: int, window: Window, number: int, disk: Path) -> None:
    """In a trial: join the disk, and leave no byte free on it after event `number` of the window."""
    join(keeper)
    act_at(window, number, functools.partial(fill, disk))


def fill(disk: Path) -> None:
    """Take every free byte of a disk."""
    state = os.statvfs(disk)
    descriptor = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT, 0o600)
    os.posix_fallocate(descriptor, 0, state.f_bavail * state.f_frsize)
    os.close(descriptor)
