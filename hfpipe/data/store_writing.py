"""How an entry of the token store grows: batch by batch, with a mark to go on from after a kill."""

import fcntl
import hashlib
import json
import logging
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from tqdm.auto import tqdm

from hfpipe.data.encoding_documents import DocumentEncoder, batch_stretches
from hfpipe.data.progress import progress_options
from hfpipe.data.store_files import FILES, IDS, SIZES, STARTS, digest_file, read_json
from hfpipe.data.stretches import Stretch, cut_texts
from hfpipe.data.text_store import count_bytes
from hfpipe.records.disk import told_by_path
from hfpipe.records.durable import write_whole

logger = logging.getLogger(__name__)

MARK_FILE = "mark.json"
BYTES_BETWEEN_MARKS = 1 << 23


@dataclass(frozen=True)
class Begun:
    """What of a stream is there: so many whole documents, the first `done` bytes of the next one, and their tokens."""

    documents: int = 0
    done: int = 0
    tokens: int = 0


NOTHING = Begun()


@dataclass(frozen=True)
class StreamPart:
    """A stretch of the stream: ids, and of the documents that begin in it where, and their bytes; the last is a
    separator alone.

    `done` are the bytes up to the end of the part of a document that goes on behind it, 0 where none does.
    """

    ids: bytes
    starts: np.ndarray
    sizes: np.ndarray
    done: int = 0


def write_stream(
    texts: Sequence[str], encoder: DocumentEncoder, *, separator: int, name: str, begun: Begun = NOTHING
) -> Iterator[StreamPart]:
    """Yield the stream of `texts` in parts, without what was `begun`."""
    first, done = begun.documents, begun.done
    before = count_bytes(texts[:first]) + done
    with tqdm(
        total=count_bytes(texts),
        initial=before,
        desc=f"tokenizing {name}",
        unit="B",
        unit_scale=True,
        **progress_options(),
    ) as bar:
        tokens = begun.tokens
        for batch in batch_stretches(cut_texts(texts, encoder.blanks, first=first, done=done)):
            part = _encode_batch(batch, encoder, separator, tokens=tokens)
            yield part
            tokens += len(part.ids) // array(encoder.typecode).itemsize
            bar.update(sum(stretch.size_here for stretch in batch))
    nothing = np.empty(0, dtype=np.int64)
    yield StreamPart(array(encoder.typecode, [separator]).tobytes(), nothing, nothing)


def _encode_batch(batch: Sequence[Stretch], encoder: DocumentEncoder, separator: int, *, tokens: int) -> StreamPart:
    """Return texts and parts of texts as the stretch of the stream that begins at token `tokens`."""
    behind = array(encoder.typecode, [separator])
    mark, width = behind.tobytes(), behind.itemsize
    pieces: list[bytes] = []
    starts, sizes = array("q"), array("q")
    for stretch, ids in zip(batch, encoder.encode([each.text for each in batch]), strict=True):
        if stretch.size is not None:
            starts.append(tokens)
            sizes.append(stretch.size)
            pieces.append(mark)
            tokens += 1
        pieces.append(ids)
        tokens += len(ids) // width
    found = np.frombuffer(starts, dtype=np.int64), np.frombuffer(sizes, dtype=np.int64)
    return StreamPart(b"".join(pieces), *found, done=batch[-1].done)


class EntryLock:
    """Keeps other processes from making the same entry; the system frees it when this one ends.

    Where the file system has no locks, two that begin at once may each make it. As a context it says whether it has
    the lock, which one that does not wait may not.
    """

    def __init__(self, path: Path, *, waits: bool = True) -> None:
        self._path = path
        self._how = fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB

    def __enter__(self) -> bool:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, self._how)
        except BlockingIOError:
            return False
        except OSError as error:
            logger.debug("%s: no lock (%s)", self._path, error.strerror)
        return True

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
        self._done = 0
        self._itemsize = itemsize
        self._unmarked = 0
        self._digests = {name: hashlib.sha256() for name in FILES}
        self._files: dict[str, IO[bytes]] = {}
        self._open = ExitStack()

    def __enter__(self) -> "StreamWriter":
        with told_by_path(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                # neither truncated nor appended to: what is behind the mark is cut off by `resume`
                file = os.fdopen(os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
                self._files[name] = self._open.enter_context(file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()  # all of them, though a full disk may refuse what the first has not written yet

    def resume(self) -> Begun:
        """Return what an earlier process has left on the disk; the files are cut to that."""
        mark = read_json(self.folder / MARK_FILE)
        lengths = {name: int(mark.get("bytes", {}).get(name, 0)) for name in FILES}
        digests = {name: digest_file(self.folder / name, length) for name, length in lengths.items()}
        if {name: digest.hexdigest() for name, digest in digests.items()} == mark.get("sha256"):
            self._digests = digests
            self.documents, self.tokens = lengths[STARTS] // 8, lengths[IDS] // self._itemsize
            self._done = int(mark.get("done", 0))
        else:
            lengths = dict.fromkeys(FILES, 0)
        for name, file in self._files.items():
            file.truncate(lengths[name])
            file.seek(lengths[name])
        return Begun(self.documents - bool(self._done), self._done, self.tokens)

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
        self._done = part.done
        self._unmarked += len(content[IDS])
        if self._unmarked >= BYTES_BETWEEN_MARKS:
            self._mark()

    def seal(self) -> dict[str, dict[str, int | str]]:
        """Return size and digest of each file once they are on the disk."""
        self._sync()
        lengths = self._lengths()
        return {name: {"bytes": lengths[name], "sha256": self._digests[name].hexdigest()} for name in FILES}

    def _mark(self) -> None:
        self._sync()
        found = {name: digest.hexdigest() for name, digest in self._digests.items()}
        mark = {"bytes": self._lengths(), "sha256": found, "done": self._done}
        write_whole(self.folder / MARK_FILE, json.dumps(mark))
        self._unmarked = 0

    def _sync(self) -> None:
        with told_by_path(self.folder):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())

    def _lengths(self) -> dict[str, int]:
        return {IDS: self.tokens * self._itemsize, STARTS: self.documents * 8, SIZES: self.documents * 8}
