"""Rows of several sources: blocks of each packed by themselves, and what an evaluation asks of any rows.

A block belongs to one source, and so does a batch of an evaluation: its loss is then known by source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hfpipe.data.batches import FILLER
from hfpipe.training.datasets import Batch, BlockRows, LabelledRows, Rows
from hfpipe.training.row_sources import RowSources


@dataclass(frozen=True)
class MixedBlocks:
    """Blocks of sources by name; row i is block `block_ids[i]` of its source."""

    of_source: Mapping[str, BlockRows]
    sources: RowSources
    block_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.block_ids)

    @property
    def lengths(self) -> np.ndarray:
        """Positions of each block, (blocks,): all alike."""
        return np.full(len(self), self.block_size)

    @property
    def block_size(self) -> int:
        """Positions of a block."""
        return next(iter(self.of_source.values())).blocks.block_size

    @property
    def byte_count(self) -> int:
        """UTF-8 bytes of the texts of all sources."""
        return sum(rows.byte_count for rows in self.of_source.values())

    @property
    def predicted_tokens(self) -> np.ndarray:
        """Tokens of each block that are predicted, (blocks,)."""
        return self._of_blocks({name: rows.predicted_tokens for name, rows in self.of_source.items()})

    @property
    def predicted_bytes(self) -> np.ndarray:
        """Bytes that the predicted tokens of each held-out block stand for, (blocks,)."""
        return self._of_blocks({name: rows.predicted_bytes for name, rows in self.of_source.items()})

    def name(self, row_id: int) -> str:
        """Return source, block and the document it begins in."""
        name, rows = self._source_of(row_id)
        return f"{name}: {rows.name(int(self.block_ids[row_id]))}"

    def __getitems__(self, row_ids: Sequence[int]) -> Batch:
        """Return the tensors of `BlockRows`, (rows, block_size)."""
        found = [self._block(row_id) for row_id in row_ids]
        return {key: torch.cat([block[key] for block in found]) for key in found[0]}

    def _of_blocks(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        found = np.zeros(len(self))
        for number, name in enumerate(self.sources.names):
            own = self.sources.rows_of(number)
            if len(own):  # a source may have no held-out text
                found[own] = values[name][self.block_ids[own]]
        return found

    def _block(self, row_id: int) -> Batch:
        if row_id == FILLER:
            return next(iter(self.of_source.values())).__getitems__([FILLER])
        return self._source_of(row_id)[1].__getitems__([int(self.block_ids[row_id])])

    def _source_of(self, row_id: int) -> tuple[str, BlockRows]:
        name = self.sources.names[int(self.sources.ids[row_id])]
        return name, self.of_source[name]


@dataclass(frozen=True)
class MixedRows:
    """The rows of a run on a mixture, and the table of what was there and what is used."""

    train: MixedBlocks
    validation: MixedBlocks
    test: MixedBlocks | None
    table: tuple[str, ...]
    facts: Mapping[str, Mapping[str, float]]


def find_sources_of(rows: Rows) -> RowSources | None:
    """Return the sources of rows of a mixture, None for all others."""
    return rows.sources if isinstance(rows, MixedBlocks | LabelledRows) else None


def count_sources(rows: Rows) -> int:
    """Return the number of sources whose losses are kept apart: 1 without a mixture."""
    sources = find_sources_of(rows)
    return 1 if sources is None else len(sources.names)


def find_source(rows: Rows, row_ids: Sequence[int]) -> int:
    """Return the source of a batch of an evaluation; fillers have no loss, and count for the first one."""
    sources = find_sources_of(rows)
    return 0 if sources is None or row_ids[0] == FILLER else int(sources.ids[row_ids[0]])


def rows_by_source(rows: Rows) -> list[np.ndarray]:
    """Return the ids of the rows of each source that has any; of all rows without a mixture."""
    sources = find_sources_of(rows)
    if sources is None:
        return [np.arange(len(rows))]
    return [own for number in range(len(sources.names)) if len(own := sources.rows_of(number))]
