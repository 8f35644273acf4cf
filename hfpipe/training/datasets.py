"""Tokenized rows as batches a model takes.

`__getitems__` receives the row ids of a whole micro-batch and returns it collated, so no list of
dictionaries stands between the arrays and the model. A filler id becomes a row without a label: IGNORED
where labels are ids, NaN where they are numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from hfpipe.data.batches import FILLER
from hfpipe.data.corpus import IGNORED, Blocks, count_positions
from hfpipe.data.places import Places
from hfpipe.data.tokens import TokenizedTexts
from hfpipe.inference.forward import POSITIONS, Batch, collate_texts
from hfpipe.training.row_sources import RowSources


class Rows(Protocol):
    """What the loaders need of a data set."""

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, (rows,)."""
        ...

    def __len__(self) -> int: ...

    def name(self, row_id: int) -> str:
        """Return where a row stands, for messages."""
        ...

    def __getitems__(self, row_ids: Sequence[int]) -> Batch:
        """Return the collated micro-batch of `row_ids`."""
        ...


@dataclass(frozen=True)
class LabelledRows:
    """Texts with their targets, padded on the right to the longest window of the micro-batch.

    `targets` are label ids (rows,) int64, labels that are there or not (rows, labels) float32, or numbers (rows,)
    float32. `sources` are those of a mixture.
    """

    texts: TokenizedTexts
    targets: np.ndarray
    places: Places
    padding_id: int
    sources: RowSources | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, those of all its windows together, (rows,)."""
        return self.texts.lengths

    @property
    def positions(self) -> np.ndarray:
        """Token positions each text takes by itself, (rows,): its windows times the longest of them."""
        windows = np.diff(self.texts.offsets)
        if self.texts.window_offsets is None:
            return windows
        counts = np.diff(self.texts.window_offsets)
        return counts * np.maximum.reduceat(windows, self.texts.window_offsets[:-1])

    def name(self, row_id: int) -> str:
        """Return file and line of a text, as in 'train.csv:17'."""
        return self.places.place(row_id)

    def __getitems__(self, row_ids: Sequence[int]) -> Batch:
        """Return what `collate_texts` gives of the rows' texts, and `labels` (rows, ...)."""
        windows = [self._windows(row_id) for row_id in row_ids]
        batch = collate_texts(self.texts, windows, self.padding_id)
        return {**batch, "labels": self.labels(row_ids)}

    def labels(self, row_ids: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Return the targets of `row_ids`, (rows, ...); those of fillers are ignored."""
        return torch.from_numpy(self._labels(row_ids))

    def _windows(self, row_id: int) -> range:
        return self.texts.windows(0)[:1] if row_id == FILLER else self.texts.windows(row_id)

    def _labels(self, row_ids: Sequence[int] | np.ndarray) -> np.ndarray:
        labels = self.targets[np.maximum(row_ids, 0)]
        # every number can be a target, so none can stand for 'none'
        labels[np.equal(row_ids, FILLER)] = IGNORED if labels.dtype == np.int64 else np.nan
        return labels


@dataclass(frozen=True)
class BlockRows:
    """Packed blocks of a causal language model; every token is a label but padding and fillers.

    `document_bytes` (documents,) are the UTF-8 lengths of the texts in the blocks, for bits per byte; document i begins
    at token `document_starts[i]` of the stream and stands at `places.place(i)`. With `masks_documents` batches have the
    positions that keep the documents of a block apart.
    """

    blocks: Blocks
    document_bytes: np.ndarray
    document_starts: np.ndarray
    places: Places
    masks_documents: bool = False

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def byte_count(self) -> int:
        """UTF-8 bytes of all texts in the blocks."""
        return int(self.document_bytes.sum())

    @property
    def predicted_tokens(self) -> np.ndarray:
        """Tokens of each block that are predicted, (blocks,): all but its first one, and no padding."""
        counts = np.full(len(self.blocks), self.blocks.block_size - 1)
        counts[-1] -= self.blocks.padding
        return counts

    @property
    def predicted_bytes(self) -> np.ndarray:
        """Bytes that the predicted tokens of each held-out block stand for, (blocks,); their sum is `byte_count`.

        The bytes of a document are spread evenly over its tokens: which token has which is the tokenizer's to say.
        """
        ends = np.cumsum(self.predicted_tokens)
        starts = np.append(self.document_starts, ends[-1])
        reached = np.interp(ends, starts, np.append(0, np.cumsum(self.document_bytes)))
        return np.diff(reached, prepend=0)

    @property
    def lengths(self) -> np.ndarray:
        """Positions of each block, (blocks,): all alike."""
        return np.full(len(self.blocks), self.blocks.block_size)

    def name(self, row_id: int) -> str:
        """Return the number of a block and the document in which it begins."""
        document = int(np.searchsorted(self.document_starts, row_id * self.blocks.stride, side="right")) - 1
        return f"block {row_id:,} (begins in {self.places.place(document)})"

    def __getitems__(self, row_ids: Sequence[int]) -> Batch:
        """Return `input_ids` and `labels`, both (rows, block_size); padding at the end needs no mask.

        `position_ids` (rows, block_size) stand beside them where documents are kept apart.
        """
        input_ids = torch.from_numpy(self.blocks.take(np.maximum(row_ids, 0)))
        labels = input_ids.clone()
        for position, row_id in enumerate(row_ids):
            if row_id == FILLER:
                labels[position] = IGNORED
            elif row_id == len(self.blocks) - 1 and self.blocks.padding:
                labels[position, -self.blocks.padding :] = IGNORED
        batch = {"input_ids": input_ids, "labels": labels}
        return batch if not self.masks_documents else {**batch, POSITIONS: self._positions(np.maximum(row_ids, 0))}

    def _positions(self, block_ids: np.ndarray) -> torch.Tensor:
        size, stride = self.blocks.block_size, self.blocks.stride
        found = np.empty((len(block_ids), size), dtype=np.int64)
        for row, begin in zip(found, block_ids * stride, strict=True):
            first, behind = np.searchsorted(self.document_starts, (begin, begin + size))
            row[:] = count_positions(self.document_starts[first:behind] - begin, size)
        return torch.from_numpy(found)
