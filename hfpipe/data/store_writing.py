"""How an entry of the token store grows: batch by batch, with a mark to go on from after a kill."""

import fcntl
import hashlib
import json
import logging
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from tqdm.auto import tqdm

from hfpipe.data.encoding_documents import DocumentEncoder, batch_texts
from hfpipe.data.progress import progress_options
from hfpipe.data.store_files import FILES, IDS, SIZES, STARTS, digest_file, read_json
from hfpipe.data.text_store import bytes_of
from hfpipe.records.disk import told_by_path
from hfpipe.records.durable import write_whole

logger = logging.getLogger(__name__)

MARK_FILE = "mark.json"
BYTES_BETWEEN_MARKS = 1 << 23


@dataclass(frozen=True)
class StreamPart:
    """A stretch of the stream: ids, and where the documents that begin in it do; the last one is a separator alone."""

    ids: bytes
    starts: np.ndarray
    sizes: np.ndarray


def write_stream(
    texts: Sequence[str],
    encoder: DocumentEncoder,
    *,
    separator: int,
    name: str,
    begun: tuple[int, int] = (0, 0),
) -> Iterator[StreamPart]:
    """Yield the stream of `texts` in parts, without what was `begun`: so many documents, and their tokens."""
    documents, tokens = begun
    with tqdm(total=len(texts), initial=documents, desc=f"tokenizing {name}", unit="text", **progress_options()) as bar:
        for batch in batch_texts(texts, documents):
            ids, lengths = encoder.encode_stream(batch, separator)
            ends = tokens + np.cumsum(np.array(lengths, dtype=np.int64) + 1)
            yield StreamPart(ids, np.append(tokens, ends[:-1]), bytes_of(batch))
            tokens = int(ends[-1])
            bar.update(len(batch))
    nothing = np.empty(0, dtype=np.int64)
    yield StreamPart(array(encoder.typecode, [separator]).tobytes(), nothing, nothing)


class EntryLock:
    """Keeps other processes from making the same entry; the system frees it when this one ends.

    Where the file system has no locks, two that begin at once may each make it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            logger.debug("%s: no lock (%s)", self._path, error.strerror)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


class StreamWriter:
    """The files of an entry that is being made in `folder`."""

    def __init__(self, folder: Path, *, itemsize: int) -> None:
        self.folder = folder
        self.documents = 0
        self.tokens = 0
        self._itemsize = itemsize
        self._unmarked = 0
        self._digests = {name: hashlib.sha256() for name in FILES}
        self._files: dict[str, IO[bytes]] = {}

    def __enter__(self) -> "StreamWriter":
        with told_by_path(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                # neither truncated nor appended to: what is behind the mark is cut off by `resume`
                self._files[name] = os.fdopen(os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def resume(self) -> int:
        """Return how many documents an earlier process has left on the disk; its files are cut to these."""
        mark = read_json(self.folder / MARK_FILE)
        lengths = {name: int(mark.get("bytes", {}).get(name, 0)) for name in FILES}
        digests = {name: digest_file(self.folder / name, length) for name, length in lengths.items()}
        if {name: digest.hexdigest() for name, digest in digests.items()} == mark.get("sha256"):
            self._digests = digests
            self.documents, self.tokens = lengths[STARTS] // 8, lengths[IDS] // self._itemsize
        else:
            lengths = dict.fromkeys(FILES, 0)
        for name, file in self._files.items():
            file.truncate(lengths[name])
            file.seek(lengths[name])
        return self.documents

    def append(self, part: StreamPart) -> None:
        """Write the next part of the stream.

        Raises:
            CheckpointError: If the disk is full.
        """
        content = {IDS: part.ids, STARTS: part.starts.tobytes(), SIZES: part.sizes.tobytes()}
        with told_by_path(self.folder):
            for name, written in content.items():
                self._files[name].write(written)
                self._digests[name].update(written)
        self.documents += len(part.starts)
        self.tokens += len(part.ids) // self._itemsize
        self._unmarked += len(content[IDS])
        if self._unmarked >= BYTES_BETWEEN_MARKS:
            self._mark()

    def seal(self) -> dict[str, dict[str, int | str]]:
        """Return size and digest of each file once they are on the disk."""
        self._sync()
        lengths = self._lengths()
        return {name: {"bytes": lengths[name], "sha256": self._digests[name].hexdigest()} for name in FILES}

    def drop_mark(self) -> None:
        """Remove the mark of an entry that is whole."""
        (self.folder / MARK_FILE).unlink(missing_ok=True)

    def _mark(self) -> None:
        self._sync()
        found = {name: digest.hexdigest() for name, digest in self._digests.items()}
        write_whole(self.folder / MARK_FILE, json.dumps({"bytes": self._lengths(), "sha256": found}))
        self._unmarked = 0

    def _sync(self) -> None:
        with told_by_path(self.folder):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())

    def _lengths(self) -> dict[str, int]:
        return {IDS: self.tokens * self._itemsize, STARTS: self.documents * 8, SIZES: self.documents * 8}
