"""Documents as one stream of token ids, cut into blocks.

The stream is `separator document separator document ... separator`: every document has a token before
it, so each of its tokens is predicted, and one after it, so its end is learnt. Training blocks do not
overlap and the tail shorter than a block is dropped. Held-out blocks overlap by one token and the last
one is padded, so that each token of the stream but the first is scored exactly once: the loss is then
that of the whole text, and divides by its bytes.
"""

from dataclasses import dataclass

import numpy as np

from hfpipe.data.tokens import TokenizedTexts
from hfpipe.errors import DataError, Problem

IGNORED = -100
"""Label that no loss counts: the convention of torch's cross entropy and of every Hugging Face model."""


@dataclass(frozen=True)
class Blocks:
    """Token ids (blocks, block_size) int32 and what was left out of them.

    A block begins `stride` tokens of the stream after the one before it. `padding` counts the positions at
    the end of the last block which hold no token (held-out blocks only), `dropped_tokens` the tail that
    filled no block (training blocks only).
    """

    ids: np.ndarray
    stride: int
    padding: int = 0
    dropped_tokens: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def block_size(self) -> int:
        """Positions of each block."""
        return self.ids.shape[1]

    @property
    def tokens(self) -> int:
        """Tokens in the blocks, padding not counted."""
        return self.ids.size - self.padding


def join_documents(documents: TokenizedTexts, separator: int) -> np.ndarray:
    """Return the stream of all documents, (tokens,) int32, with `separator` before, between and after them."""
    starts = documents.offsets + np.arange(len(documents) + 1)
    stream = np.empty(len(documents.ids) + len(documents) + 1, dtype=np.int32)
    is_separator = np.zeros(len(stream), dtype=bool)
    is_separator[starts] = True
    stream[is_separator] = separator
    stream[~is_separator] = documents.ids
    return stream


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
    return Blocks(stream[: count * block_size].reshape(count, block_size), block_size, dropped_tokens=rest)


def pack_heldout_blocks(stream: np.ndarray, block_size: int, *, padding_id: int) -> Blocks:
    """Return blocks that overlap by one token, so that all tokens but the first are predicted exactly once."""
    stride = block_size - 1
    count = max(1, -(-(len(stream) - 1) // stride))
    padding = count * stride + 1 - len(stream)
    padded = np.concatenate([stream, np.full(padding, padding_id, dtype=np.int32)])
    blocks = np.lib.stride_tricks.sliding_window_view(padded, block_size)[::stride]
    return Blocks(blocks.copy(), stride, padding=padding)
