"""A disk that is full for one process of a run when it writes its part of a checkpoint."""

import errno
import os
import sys


def fill_disk_at(rank: int, folder: str) -> None:
    """Let the process `rank` meet a full disk when it opens its random state in `folder`."""

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        path = str(arguments[0]) if event == "open" else ""
        if folder in path and f"rng_state_{rank}" in path:
            raise OSError(errno.ENOSPC, "No space left on device")

    if os.environ["RANK"] == str(rank):
        sys.addaudithook(refuse)
