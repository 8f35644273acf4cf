"""Token ids of documents on disk, made once and shared by all runs and processes that ask for the same ones.

An entry is a folder named by what is in it: a digest over texts, tokenizer and format. It holds the stream of ids
(`ids.bin`: a separator before, between and behind all documents), where each document begins (`starts.bin`), the bytes
of its text (`sizes.bin`), and `manifest.json`, written last, with the size and digest of each. What does not agree with
its manifest is made anew, never read.

The decision worth knowing: an entry grows in a folder of its own under a lock, and a mark, renewed as it grows, says
how far its files are on the disk. After a kill the next one goes on from the mark.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hfpipe.data.encoding_documents import DocumentEncoder
from hfpipe.data.store_files import (
    IDS,
    MANIFEST_FILE,
    SIZES,
    STARTS,
    TOKENS,
    check_files,
    lock_of,
    map_file,
    read_json,
    staging_of,
)
from hfpipe.data.store_writing import MARK_FILE, EntryLock, StreamWriter, write_stream
from hfpipe.data.text_store import digests_of
from hfpipe.errors import CheckpointError
from hfpipe.records.durable import clean_partial_files, move_folder, remove_folder, write_whole

logger = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True)
class TokenStream:
    """The ids of documents in one stream, a separator before, between and after them.

    `ids` (tokens,) are uint16 or int32; document i begins, with the separator before it, at token `starts[i]` and has
    `sizes[i]` bytes of UTF-8.
    """

    ids: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True)
class StreamRequest:
    """Which documents are wanted as ids of which tokenizer, and what they are called in the log."""

    texts: Sequence[str]
    encoder: DocumentEncoder
    separator: int
    name: str


class TokenStore:
    """The entries in a cache folder."""

    def __init__(self, cache: Path) -> None:
        self.folder = cache / TOKENS

    def find(self, request: StreamRequest) -> TokenStream | None:
        """Return an entry that is there whole; its files are mapped, not read, and only their sizes looked at."""
        folder = self.entry(request)
        if folder is None or not check_files(folder, FORMAT):
            return None
        try:
            return _map(folder, request)
        except (OSError, KeyError):  # deleted a moment ago, or its manifest was
            return None

    def provide(self, request: StreamRequest) -> TokenStream:
        """Return an entry once every digest has been compared, or made now; by one process at a time.

        Where the disk has no room, or may not be written, the ids are kept in memory, and a warning says so.
        """
        folder = self.entry(request)
        if folder is None:
            return stream_documents(request)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with EntryLock(lock_of(folder)):
                if check_files(folder, FORMAT, wholly=True):
                    logger.info("%s: token ids are read from %s", request.name, folder)
                    (folder / MANIFEST_FILE).touch()  # it was used: what is old is what nobody wants
                else:
                    _build_or_leave_nothing(folder, request)
                return _map(folder, request)
        except (OSError, CheckpointError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error.problems[0])
            text = "%s: token ids are kept in memory, each process its own: %s cannot be written (%s); set HFPIPE_CACHE"
            logger.warning(text, request.name, self.folder, reason)
            return stream_documents(request)

    def entry(self, request: StreamRequest) -> Path | None:
        """Return the folder of an entry, there or not; None where nothing tells what a tokenizer does."""
        if request.encoder.content is None:
            return None
        texts = hashlib.sha256()
        for portion in digests_of(request.texts):
            texts.update(portion.tobytes())
        facts = {
            "format": FORMAT,
            "tokenizer": request.encoder.content,
            "separator": request.separator,
            "type": request.encoder.typecode,
            "texts": texts.hexdigest(),
        }
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return self.folder / key[:40]


def stream_documents(request: StreamRequest) -> TokenStream:
    """Return documents as a stream of ids in memory."""
    parts = list(write_stream(request.texts, request.encoder, separator=request.separator, name=request.name))
    ids = np.concatenate([np.frombuffer(part.ids, dtype=_dtype(request)) for part in parts])
    starts = np.concatenate([part.starts for part in parts])
    return TokenStream(ids, starts, np.concatenate([part.sizes for part in parts]))


def _build_or_leave_nothing(folder: Path, request: StreamRequest) -> None:
    """Make an entry; where the disk refuses, what there is of it is removed, for a checkpoint needs the room."""
    try:
        _build(folder, request)
    except (OSError, CheckpointError):
        shutil.rmtree(staging_of(folder), ignore_errors=True)
        raise


def _build(folder: Path, request: StreamRequest) -> None:
    staging = staging_of(folder)
    if not check_files(staging, FORMAT, wholly=True):  # else a kill came just before it was moved
        _fill(staging, request)
    clean_partial_files(staging)
    (staging / MARK_FILE).unlink(missing_ok=True)
    remove_folder(folder)
    move_folder(staging, folder, last=MANIFEST_FILE)


def _fill(staging: Path, request: StreamRequest) -> None:
    """Write the files of an entry into `staging`, the manifest last."""
    with StreamWriter(staging, itemsize=_dtype(request).itemsize) as writer:
        begun = writer.resume()
        if begun.tokens:
            logger.info(
                "%s: %s token ids are there already, from a process that was stopped", request.name, f"{begun.tokens:,}"
            )
        for part in write_stream(
            request.texts, request.encoder, separator=request.separator, name=request.name, begun=begun
        ):
            writer.append(part)
        manifest = {"format": FORMAT, "tokens": writer.tokens, "documents": writer.documents, "files": writer.seal()}
    write_whole(staging / MANIFEST_FILE, json.dumps(manifest, indent=2) + "\n")


def _map(folder: Path, request: StreamRequest) -> TokenStream:
    documents = int(read_json(folder / MANIFEST_FILE)["documents"])
    starts, sizes = (
        map_file(folder / name, np.dtype(np.int64)) if documents else np.empty(0, dtype=np.int64)
        for name in (STARTS, SIZES)
    )
    return TokenStream(map_file(folder / IDS, _dtype(request)), starts, sizes)


def _dtype(request: StreamRequest) -> np.dtype:
    return np.dtype(np.uint16 if request.encoder.typecode == "H" else np.int32)
