"""Many texts outside of memory: in a file while a run works with them, 40 bytes a text in memory.

Texts are written as they are read and read back one by one; the file has no name, so nothing is left of it however the
process ends. Read by `pread`, not by a map: pages that were read once would count as this process's memory.

The decision worth knowing: texts are compared by their blake2b digests of 128 bits. For two different texts of a
corpus to be taken for equal, it would have to hold some 10^16 of them.
"""

import hashlib
import os
import tempfile
import weakref
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, overload

import numpy as np

from hfpipe.records.disk import told_by_path

DIGEST_BYTES = 16
BUFFER_BYTES = 1 << 20
SPOOLS = "texts"


def digest_text(encoded: bytes) -> bytes:
    """Return what stands for a text where texts are compared."""
    return hashlib.blake2b(encoded, digest_size=DIGEST_BYTES).digest()


class Spool:
    """A file without a name in `folder`, or in the system's folder for such files where that cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
        """Make what was written readable."""
        with told_by_path(self.folder):
            self._file.flush()

    def read(self, start: int, length: int) -> bytes:
        """Return a part of the file."""
        content = os.pread(self._file.fileno(), length, start)
        while len(content) < length:  # a single read gives at most 2 GB
            content += os.pread(self._file.fileno(), length - len(content), start + len(content))
        return content


def _open_nameless(folder: Path) -> IO[bytes]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder, buffering=BUFFER_BYTES)
    except OSError:  # write-protected
        return tempfile.TemporaryFile(buffering=BUFFER_BYTES)


class StoredTexts(Sequence[str]):
    """Texts in files, in any order; a selection of them shares the files.

    `spool_ids`, `starts` and `lengths` (texts,) say where each text stands, in bytes of UTF-8; `digests` (texts, 2)
    uint64 stand for what it says.
    """

    def __init__(
        self,
        spools: Sequence[Spool],
        spool_ids: np.ndarray,
        starts: np.ndarray,
        *,
        lengths: np.ndarray,
        digests: np.ndarray,
    ) -> None:
        self.spools = tuple(spools)
        self.spool_ids = spool_ids
        self.starts = starts
        self.lengths = lengths
        self.digests = digests

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> "StoredTexts": ...

    def __getitem__(self, index: int | slice) -> "str | StoredTexts":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        spool = self.spools[int(self.spool_ids[index])]
        return spool.read(int(self.starts[index]), int(self.lengths[index])).decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def take(self, ids: np.ndarray) -> "StoredTexts":
        """Return some of the texts, in the order of `ids`."""
        rows = np.asarray(ids, dtype=np.int64)
        spool_ids, starts = self.spool_ids[rows], self.starts[rows]
        return StoredTexts(self.spools, spool_ids, starts, lengths=self.lengths[rows], digests=self.digests[rows])


class TextWriter:
    """Collects texts one by one in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._spool = Spool(folder)
        self._lengths = array("q")
        self._digests = bytearray()

    def append(self, text: str) -> None:
        """Write the next text.

        Raises:
            CheckpointError: If the disk is full.
        """
        encoded = text.encode("utf-8", "surrogatepass")
        self._spool.append(encoded)
        self._lengths.append(len(encoded))
        self._digests += digest_text(encoded)

    def build(self) -> StoredTexts:
        """Return all texts written."""
        self._spool.flush()
        lengths = np.array(self._lengths, dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        digests = np.frombuffer(bytes(self._digests), dtype=np.uint64).reshape(-1, 2)
        return StoredTexts([self._spool], np.zeros(len(lengths), np.int32), starts, lengths=lengths, digests=digests)


def join_stored(parts: Sequence[StoredTexts]) -> StoredTexts:
    """Return the texts of all `parts`, one part after the other."""
    firsts = np.cumsum([0, *(len(part.spools) for part in parts)])[:-1]
    ids = [part.spool_ids + np.int32(first) for part, first in zip(parts, firsts, strict=True)]
    return StoredTexts(
        [spool for part in parts for spool in part.spools],
        np.concatenate(ids),
        np.concatenate([part.starts for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        digests=np.concatenate([part.digests for part in parts]),
    )


def take_texts(texts: Sequence[str], ids: np.ndarray) -> Sequence[str]:
    """Return some of `texts`, in the order of `ids`."""
    return texts.take(ids) if isinstance(texts, StoredTexts) else [texts[row] for row in ids]


def join_texts(parts: Sequence[Sequence[str]]) -> Sequence[str]:
    """Return the texts of all `parts`, one part after the other; in files where they all are."""
    stored = [part for part in parts if isinstance(part, StoredTexts)]
    return join_stored(stored) if parts and len(stored) == len(parts) else [text for part in parts for text in part]


def digests_of(texts: Sequence[str]) -> np.ndarray:
    """Return what stands for each text, (texts, 2) uint64."""
    if isinstance(texts, StoredTexts):
        return texts.digests
    joined = b"".join(digest_text(text.encode("utf-8", "surrogatepass")) for text in texts)
    return np.frombuffer(joined, dtype=np.uint64).reshape(-1, 2)


def bytes_of(texts: Sequence[str]) -> np.ndarray:
    """Return the bytes of each text in UTF-8, (texts,) int64."""
    if isinstance(texts, StoredTexts):
        return texts.lengths
    return np.array([len(text.encode("utf-8", "surrogatepass")) for text in texts], dtype=np.int64)


def number_texts(digests: np.ndarray) -> np.ndarray:
    """Return for each text the number of the first one that is equal to it, (texts,) int64."""
    if not len(digests):
        return np.empty(0, dtype=np.int64)
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: of equal texts the first comes first
    ordered = digests[order]
    begins = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    firsts = order[begins][np.cumsum(begins) - 1]
    numbers = np.empty(len(digests), dtype=np.int64)
    numbers[order] = firsts
    return numbers
