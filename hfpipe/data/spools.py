"""Files without a name: written from the front, read at any place, and gone however the process ends.

Read by `pread`, not by a map: pages that were read once would count as this process's memory.
"""

import errno
import os
import tempfile
import weakref
from pathlib import Path
from typing import IO

import numpy as np

from hfpipe.records.disk import told_by_path

BUFFER_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)  # another folder would not be the answer
_MOST_READ_BESIDE = 4
"""Rows that lie between those asked for are read too, where they are at most so many times as many."""


class Spool:
    """A file without a name in `folder`, or in the system's folder for such files where that cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with told_by_path(folder):
            self._file = _open_nameless(folder)
        weakref.finalize(self, self._file.close)
        self.size = 0

    def append(self, content: bytes) -> None:
        """Write `content` behind what is there.

        Raises:
            CheckpointError: If the disk is full.
        """
        with told_by_path(self.folder):
            self._file.write(content)
        self.size += len(content)

    def flush(self) -> None:
        """Make what was written readable.

        Raises:
            CheckpointError: If the disk is full.
        """
        with told_by_path(self.folder):
            self._file.flush()

    def read(self, start: int, length: int) -> bytes:
        """Return a part of the file."""
        content = os.pread(self._file.fileno(), length, start)
        while len(content) < length:  # a single read gives at most 2 GB
            content += os.pread(self._file.fileno(), length - len(content), start + len(content))
        return content

    def read_pairs(self, rows: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
        """Return rows of two numbers of 8 bytes each, (rows, 2), by one read where they lie close together."""
        if not len(rows):
            return np.empty((0, 2), dtype=dtype)
        first, behind = int(rows.min()), int(rows.max()) + 1
        if behind - first <= _MOST_READ_BESIDE * len(rows):
            block = np.frombuffer(self.read(first * 16, (behind - first) * 16), dtype=dtype).reshape(-1, 2)
            return block[rows - first]
        joined = b"".join(self.read(int(row) * 16, 16) for row in rows)
        return np.frombuffer(joined, dtype=dtype).reshape(-1, 2)


def _open_nameless(folder: Path) -> IO[bytes]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder, buffering=BUFFER_BYTES)
    except OSError as error:
        if error.errno in _FULL:
            raise
        return tempfile.TemporaryFile(buffering=BUFFER_BYTES)
