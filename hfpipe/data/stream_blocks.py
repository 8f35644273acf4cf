"""A stream of documents as blocks of token ids, with a state from which the same blocks follow again.

Packed as a corpus in memory is: the separator before each document, documents across blocks, no padding. What is not in
a block yet, at most a few dozen documents, is part of the state, so resuming reads nothing a second time.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hfpipe.data.streams import START, USED, Corpus, Document, Position, Share, read_stream

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Texts as token ids, one list a text, without special tokens."""

DOCUMENTS_PER_CALL = 64
CHARACTERS_PER_CALL = 200_000


@dataclass(frozen=True)
class StreamState:
    """All that the blocks to come depend on, beside the corpus.

    `ids` are the tokens read that are in no block yet; document `places[i]` begins at token `starts[i]` of them, the
    first one before. `counts` are the documents read so far by fate, `tokens` those of the blocks given out.
    """

    position: Position = START
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    starts: tuple[int, ...] = ()
    places: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    tokens: int = 0


@dataclass(frozen=True)
class Packing:
    """How documents become blocks."""

    encode: Encode
    separator: int
    block_size: int


class BlockStream:
    """The blocks of one process, one after the other."""

    def __init__(self, corpus: Corpus, share: Share, packing: Packing, state: StreamState) -> None:
        self._documents = read_stream(corpus, share, state.position)
        self._packing = packing
        self._position = state.position
        self._ids = state.ids
        self._marks = deque(zip(state.starts, state.places, strict=True))
        self._counts = Counter(state.counts)
        self._tokens = state.tokens

    def take(self, count: int) -> tuple[np.ndarray, list[str]]:
        """Return the next `count` blocks, (count, block_size) int32, and the place each begins in.

        Raises:
            DataError: If a row on the way cannot be used.
        """
        size = self._packing.block_size
        needed = count * size
        while len(self._ids) < needed:
            self._read_more()
        blocks, self._ids = self._ids[:needed].reshape(count, size), self._ids[needed:]
        places = [self._place_at(start) for start in range(0, needed, size)]
        self._forget(needed)
        self._tokens += needed
        return blocks, places

    @property
    def tokens(self) -> int:
        """Tokens in the blocks given out so far."""
        return self._tokens

    def state(self) -> StreamState:
        """Return what the next blocks depend on."""
        starts, places = tuple(start for start, _ in self._marks), tuple(place for _, place in self._marks)
        return StreamState(self._position, self._ids, starts, places, dict(self._counts), self._tokens)

    def close(self) -> None:
        """Let go of the shard that is open; nothing can be taken after that."""
        self._documents.close()

    def _read_more(self) -> None:
        """Read some documents to the end of what is there; more than one at a time, for tokenizers are faster so."""
        documents = self._next_documents()
        encoded = self._packing.encode([document.text or "" for document in documents])
        end = len(self._ids)
        parts = [self._ids]
        for document, ids in zip(documents, encoded, strict=True):
            self._marks.append((end, document.place))
            parts += [np.array([self._packing.separator], dtype=np.int32), np.asarray(ids, dtype=np.int32)]
            end += 1 + len(ids)
        self._ids = np.concatenate(parts)

    def _next_documents(self) -> list[Document]:
        documents: list[Document] = []
        characters = 0
        while len(documents) < DOCUMENTS_PER_CALL and characters < CHARACTERS_PER_CALL:
            document = next(self._documents)
            self._counts[document.fate] += 1
            self._position = document.behind
            if document.fate == USED:
                documents.append(document)
                characters += len(document.text or "")
        return documents

    def _place_at(self, token: int) -> str:
        """Return the place of the document that a token belongs to; those before it are done with."""
        while len(self._marks) > 1 and self._marks[1][0] <= token:
            self._marks.popleft()
        return self._marks[0][1]

    def _forget(self, tokens: int) -> None:
        """Count from the first token that is left; the mark of its document stays, at a start before it."""
        if len(self._ids):
            self._place_at(tokens)
        else:
            self._marks.clear()
        self._marks = deque((start - tokens, place) for start, place in self._marks)
