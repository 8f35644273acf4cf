"""Many texts outside of memory: in files while a run works with them, 4 bytes a text in memory.

Texts are written as they are read and read back one by one, a long one in parts if need be. Where each stands and what
stands for it where texts are compared is in such files too: a corpus may have a text a line.

The decision worth knowing: texts are compared by their blake2b digests of 128 bits. For two different texts of a
corpus to be taken for equal, it would have to hold some 10^16 of them.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from hfpipe.data.spools import Spool

DIGEST_BYTES = 16
SPOOLS = "texts"
ROWS_PER_READ = 1 << 14


def digest_text(encoded: bytes) -> bytes:
    """Return what stands for a text where texts are compared."""
    return hashlib.blake2b(encoded, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True)
class SpooledTexts:
    """What one writer wrote: texts as UTF-8 and, text by text, start and length (int64) and digest (2 x uint64)."""

    texts: Spool
    extents: Spool
    digests: Spool
    count: int


class Span(NamedTuple):
    """Where a text stands, in bytes of UTF-8."""

    spool: Spool
    start: int
    length: int

    def read(self) -> str:
        """Return the text."""
        return _decode(self.spool.read(self.start, self.length))

    def read_part(self, start: int, size: int) -> str:
        """Return whole characters of the text from its byte `start` on: at most `size` bytes of them, 4 or more."""
        content = self.spool.read(self.start + start, min(size, self.length - start))
        if start + len(content) < self.length:
            content = content[: max(at for at in range(len(content) - 4, len(content)) if content[at] & 0xC0 != 0x80)]
        return _decode(content)


class StoredTexts(Sequence[str]):
    """Texts in files, in any order; a selection of them shares the files.

    `ids` (texts,) number them through all `spooled`, one writer's behind the other's.
    """

    def __init__(self, spooled: Sequence[SpooledTexts], ids: np.ndarray) -> None:
        self.spooled = tuple(spooled)
        self.ids = ids
        self._firsts = np.cumsum([0, *(each.count for each in spooled)])

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> "StoredTexts": ...

    def __getitem__(self, index: int | slice) -> "str | StoredTexts":
        if isinstance(index, slice):
            return StoredTexts(self.spooled, self.ids[index])
        return next(self._spans(self.ids[[index]])).read()

    def __iter__(self) -> Iterator[str]:
        return (span.read() for span in self.spans())

    def take(self, rows: np.ndarray) -> "StoredTexts":
        """Return some of the texts, in the order of `rows`."""
        return StoredTexts(self.spooled, self.ids[rows])

    def spans(self) -> Iterator[Span]:
        """Yield where each text stands."""
        return (span for ids in self._portions() for span in self._spans(ids))

    def sizes(self) -> Iterator[np.ndarray]:
        """Yield the bytes of the texts in UTF-8, portion by portion."""
        return (self._extents(ids)[:, 1] for ids in self._portions())

    def digests(self) -> Iterator[np.ndarray]:
        """Yield what stands for the texts, (rows, 2) uint64, portion by portion."""
        return (self._read(ids, [each.digests for each in self.spooled], np.uint64) for ids in self._portions())

    def _portions(self) -> Iterator[np.ndarray]:
        return (self.ids[start : start + ROWS_PER_READ] for start in range(0, len(self), ROWS_PER_READ))

    def _writers(self, ids: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._firsts, ids, side="right") - 1

    def _extents(self, ids: np.ndarray) -> np.ndarray:
        return self._read(ids, [each.extents for each in self.spooled], np.int64)

    def _read(self, ids: np.ndarray, spools: Sequence[Spool], dtype: type[np.generic]) -> np.ndarray:
        found, writers = np.empty((len(ids), 2), dtype=dtype), self._writers(ids)
        for number, spool in enumerate(spools):
            own = writers == number
            found[own] = spool.read_pairs(ids[own] - self._firsts[number], dtype)
        return found

    def _spans(self, ids: np.ndarray) -> Iterator[Span]:
        for number, (start, length) in zip(self._writers(ids).tolist(), self._extents(ids).tolist(), strict=True):
            yield Span(self.spooled[number].texts, start, length)


def _decode(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


class TextWriter:
    """Collects texts one by one in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._texts, self._extents, self._digests = Spool(folder), Spool(folder), Spool(folder)
        self._count = 0
        self._new_extents, self._new_digests = array("q"), bytearray()

    def append(self, text: str) -> None:
        """Write the next text.

        Raises:
            CheckpointError: If the disk is full.
        """
        encoded = text.encode("utf-8", "surrogatepass")
        start = self._texts.size
        self._texts.append(encoded)
        self._note(start, len(encoded), digest_text(encoded))

    def extend(self, parts: Iterable[str]) -> None:
        """Write the next text, which comes in parts; nothing is kept of one that breaks off.

        Raises:
            CheckpointError: If the disk is full.
        """
        start, digest = self._texts.size, hashlib.blake2b(digest_size=DIGEST_BYTES)
        for part in parts:
            encoded = part.encode("utf-8", "surrogatepass")
            self._texts.append(encoded)
            digest.update(encoded)
        self._note(start, self._texts.size - start, digest.digest())

    def build(self) -> StoredTexts:
        """Return all texts written.

        Raises:
            CheckpointError: If the disk is full.
        """
        self._flush_notes()
        for spool in (self._texts, self._extents, self._digests):
            spool.flush()
        spooled = SpooledTexts(self._texts, self._extents, self._digests, self._count)
        return StoredTexts([spooled], np.arange(self._count, dtype=_id_type(self._count)))

    def _note(self, start: int, length: int, digest: bytes) -> None:
        self._new_extents.extend((start, length))
        self._new_digests += digest
        self._count += 1
        if self._count % ROWS_PER_READ == 0:
            self._flush_notes()

    def _flush_notes(self) -> None:
        self._extents.append(self._new_extents.tobytes())
        self._digests.append(bytes(self._new_digests))
        self._new_extents, self._new_digests = array("q"), bytearray()


def _id_type(count: int) -> type[np.generic]:
    return np.uint32 if count < 2**32 else np.int64


def join_stored(parts: Sequence[StoredTexts]) -> StoredTexts:
    """Return the texts of all `parts`, one part after the other."""
    spooled = [each for part in parts for each in part.spooled]
    kind = _id_type(sum(each.count for each in spooled))
    firsts = np.cumsum([0, *(sum(each.count for each in part.spooled) for part in parts)])[:-1]
    return StoredTexts(
        spooled,
        np.concatenate([part.ids.astype(kind) + kind(first) for part, first in zip(parts, firsts, strict=True)]),
    )


def take_texts(texts: Sequence[str], ids: np.ndarray) -> Sequence[str]:
    """Return some of `texts`, in the order of `ids`."""
    return texts.take(ids) if isinstance(texts, StoredTexts) else [texts[row] for row in ids]


def join_texts(parts: Sequence[Sequence[str]]) -> Sequence[str]:
    """Return the texts of all `parts`, one part after the other; in files where they all are."""
    stored = [part for part in parts if isinstance(part, StoredTexts)]
    return join_stored(stored) if parts and len(stored) == len(parts) else [text for part in parts for text in part]


def digests_of(texts: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield what stands for the texts, (rows, 2) uint64, portion by portion."""
    if isinstance(texts, StoredTexts):
        yield from texts.digests()
    else:
        joined = b"".join(digest_text(text.encode("utf-8", "surrogatepass")) for text in texts)
        yield np.frombuffer(joined, dtype=np.uint64).reshape(-1, 2)


def count_bytes(texts: Sequence[str]) -> int:
    """Return the bytes of all texts in UTF-8."""
    if isinstance(texts, StoredTexts):
        return sum(int(portion.sum()) for portion in texts.sizes())
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
