"""Documents as one stream of token ids, cut into blocks.

The stream is `separator document separator document ... separator`: every document has a token before
it, so each of its tokens is predicted, and one after it, so its end is learnt. Training blocks do not
overlap and the tail shorter than a block is dropped. Held-out blocks overlap by one token and the last
one is padded, so that each token of the stream but the first is scored exactly once: the loss is then
that of the whole text, and divides by its bytes. Blocks are views of the stream: a corpus on disk stays there.
"""

from dataclasses import dataclass, replace

import numpy as np

from hfpipe.errors import DataError, Problem

IGNORED = -100
"""Label that no loss counts: the convention of torch's cross entropy and of every Hugging Face model."""


@dataclass(frozen=True)
class Blocks:
    """Blocks of a stream of token ids and what was left out of them.

    The `stream` may be a mapped file: where blocks go to another process, it is mapped there anew. Each block begins
    `stride` tokens behind the one before it. `last` is the one more block that padding fills up (held-out blocks only),
    and `padding` counts its positions without a token. `dropped_tokens` is the tail that filled no block (training
    blocks only).
    """

    stream: np.ndarray
    block_size: int
    stride: int
    padding: int = 0
    dropped_tokens: int = 0
    last: np.ndarray | None = None

    def __len__(self) -> int:
        return self._whole_count + (self.last is not None)

    @property
    def tokens(self) -> int:
        """Tokens in the blocks, padding not counted."""
        return len(self) * self.block_size - self.padding

    @property
    def ids(self) -> np.ndarray:
        """All blocks in memory, (blocks, block_size) int64."""
        return self.take(np.arange(len(self)))

    def take(self, block_ids: np.ndarray) -> np.ndarray:
        """Return some blocks, (rows, block_size) int64: what is copied is what is asked for."""
        taken = np.empty((len(block_ids), self.block_size), dtype=np.int64)
        whole = self._whole_count
        for row, block in zip(taken, np.asarray(block_ids).tolist(), strict=True):
            begin = block * self.stride
            row[:] = self.stream[begin : begin + self.block_size] if self.last is None or block < whole else self.last
        return taken

    @property
    def _whole_count(self) -> int:
        return max(0, (len(self.stream) - self.block_size) // self.stride + 1)


def pack_training_blocks(stream: np.ndarray, block_size: int, *, place: str) -> Blocks:
    """Return the stream cut into blocks of exactly `block_size`; at most `block_size - 1` tokens are dropped.

    Raises:
        DataError: If the stream does not fill one block; `place` names the data for the message.
    """
    count, rest = divmod(len(stream), block_size)
    if count == 0:
        raise DataError(
            Problem(
                place,
                f"{len(stream):,} tokens",
                f"fewer than one block of block_size {block_size:,}",
                "lower block_size or add text",
            )
        )
    return Blocks(stream, block_size, block_size, dropped_tokens=rest)


def pack_heldout_blocks(stream: np.ndarray, block_size: int, *, padding_id: int) -> Blocks:
    """Return blocks that overlap by one token, so that all tokens but the first are predicted exactly once."""
    stride = block_size - 1
    whole = Blocks(stream, block_size, stride)
    rest = stream[len(whole) * stride :]
    if len(whole) and len(rest) == 1:  # it ends the last block
        return whole
    padding = block_size - len(rest)
    last = np.concatenate([rest, np.full(padding, padding_id)])
    return replace(whole, padding=padding, last=last)


def count_positions(starts: np.ndarray, length: int) -> np.ndarray:
    """Return the place of each of `length` tokens in its document, whose part before them counts for nothing.

    A document begins at each of `starts`, ascending, with the separator before it.
    """
    begun = np.zeros(length, dtype=np.int64)
    begun[starts] = starts
    return np.arange(length) - np.maximum.accumulate(begun)
