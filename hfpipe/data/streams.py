"""The documents of a corpus as endless streams, one a process, each in an order that a few numbers say again.

The shards of an epoch are shuffled by seed and epoch and dealt out to the processes in turn; rows keep the order of
their file, for a shuffle buffer could not be saved with a checkpoint. A process whose shards are read begins the next
epoch without waiting for the others. Which documents are held out is a property of their text, so equal texts fall on
one side, in every process and epoch; the first ones of the stream validate, and none of them is trained on.
"""

import hashlib
from collections.abc import Generator, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from hfpipe.data.batches import FIRST_EPOCH
from hfpipe.data.shards import Shard, ShardReading, place_of_row, read_rows
from hfpipe.data.splits import seeded_order
from hfpipe.errors import DataError, Problem

USED = "used"
EMPTY = "empty"
HELD_OUT = "held_out_for_validation"
ELSEWHERE = "in_validation_or_test"
FATES = (USED, EMPTY, HELD_OUT, ELSEWHERE)
"""What becomes of a document that is read."""

_DIGEST_BYTES = 16
_DRAW_BYTES = 8


@dataclass(frozen=True)
class Corpus:
    """The training shards in the order of their names, how they are read, and which documents are not trained on.

    A document is held out where the draw of its text, by `split_seed` (None: by `seed`), falls below
    `held_out_fraction` (0: none); `elsewhere` are the digests of texts of other parts.
    """

    shards: tuple[Shard, ...]
    reading: ShardReading
    seed: int
    held_out_fraction: float
    elsewhere: Set[bytes] = frozenset()
    split_seed: int | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts in memory: none. What is made from the texts of a corpus, as a tokenizer, is given to a stream."""
        return ()

    def order(self, epoch: int) -> list[int]:
        """Return the shards of an epoch in the order they are dealt out."""
        order: list[int] = seeded_order(len(self.shards), seed=self.seed, stage=FIRST_EPOCH + epoch).tolist()
        return order

    def fate(self, text: str | None) -> str:
        """Return what becomes of a document with this text."""
        if text is None:
            return EMPTY
        seed = self.seed if self.split_seed is None else self.split_seed
        if self.held_out_fraction and is_held_out(text, self.held_out_fraction, seed=seed):
            return HELD_OUT
        return ELSEWHERE if self.elsewhere and digest(text) in self.elsewhere else USED


@dataclass(frozen=True)
class Share:
    """Whose stream it is: process `rank` of `world_size`."""

    rank: int
    world_size: int


class Position(NamedTuple):
    """Where a process stands: `row` rows are read of its `shard`-th shard (from 0) in `epoch`."""

    epoch: int = 0
    shard: int = 0
    row: int = 0


START = Position()


class Document(NamedTuple):
    """A document as read: its text where it is used, its fate, its place, and the position behind it."""

    text: str | None
    fate: str
    shard: Shard
    line: int
    behind: Position

    @property
    def place(self) -> str:
        """Where it stands, as in 'part-0001.jsonl:17'."""
        return place_of_row(self.shard, self.line)


def read_stream(corpus: Corpus, share: Share, position: Position) -> Generator[Document, None, None]:
    """Yield the documents of a process from `position` on, epoch after epoch, without end.

    Raises:
        DataError: At a row that cannot be used, or after an epoch in which the process found nothing to train on.
    """
    while True:
        whole = position.shard == position.row == 0
        used = 0
        for document in _read_epoch(corpus, share, position):
            used += document.fate == USED
            yield document
        if whole and not used:
            raise DataError(_useless_problem(corpus, share, epoch=position.epoch))
        position = Position(position.epoch + 1)


def _read_epoch(corpus: Corpus, share: Share, position: Position) -> Iterator[Document]:
    own = corpus.order(position.epoch)[share.rank :: share.world_size]
    for number, index in list(enumerate(own))[position.shard :]:
        first = position.row if number == position.shard else 0
        shard = corpus.shards[index]
        for row, (line, text) in enumerate(read_rows(shard, corpus.reading, from_row=first), start=first + 1):
            fate = corpus.fate(text)
            kept = text if fate == USED else None
            yield Document(kept, fate, shard, line, Position(position.epoch, number, row))


def _useless_problem(corpus: Corpus, share: Share, *, epoch: int) -> Problem:
    own = corpus.order(epoch)[share.rank :: share.world_size]
    rule = f"no document to train on in the {len(own):,} shards of process {share.rank}"
    return Problem(corpus.shards[own[0]].name, "", rule, "look at the files: empty and held-out texts are left out")


def read_held_out(corpus: Corpus, limit: int) -> tuple[list[Document], int]:
    """Return the first `limit` held-out documents of the stream, with their texts, and how many were read for them.

    They come from the shards in the order of the first epoch, whatever the number of processes.
    """
    found: list[Document] = []
    read = 0
    for number, index in enumerate(corpus.order(0)):
        shard = corpus.shards[index]
        for row, (line, text) in enumerate(read_rows(shard, corpus.reading), start=1):
            read += 1
            if corpus.fate(text) == HELD_OUT:
                found.append(Document(text, HELD_OUT, shard, line, Position(0, number, row)))
            if len(found) == limit:
                return found, read
    return found, read


def read_first(shards: Sequence[Shard], reading: ShardReading, limit: int | None) -> tuple[list[Document], int]:
    """Return the first `limit` documents of some shards that have a text (None: all), and how many rows were read."""
    found: list[Document] = []
    read = 0
    for shard in shards:
        for line, text in read_rows(shard, reading):
            if len(found) == limit:
                return found, read
            read += 1
            if text is not None:
                found.append(Document(text, USED, shard, line, Position()))
    return found, read


def is_held_out(text: str, fraction: float, *, seed: int) -> bool:
    """Return whether a document with this text is held out: a draw from 0 to 1 that is a function of text and seed."""
    key = seed.to_bytes(8, "little")
    drawn = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DRAW_BYTES, key=key).digest()
    return int.from_bytes(drawn, "little") < fraction * 2 ** (8 * _DRAW_BYTES)


def digest(text: str) -> bytes:
    """Return what stands for a text where only equality matters."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
