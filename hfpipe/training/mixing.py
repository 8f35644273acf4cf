"""From documents of several sources to blocks: every source packed by itself, and its share of an epoch drawn.

Blocks of a source are drawn once by the seed and are the same in every epoch; only their order differs.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from hfpipe.data.mixture import SourceShare, describe_mixture, draw_rows, find_source_ids, plan_mixture
from hfpipe.data.parts import DocumentPart, DocumentParts
from hfpipe.training.datasets import BlockRows
from hfpipe.training.mixed_rows import MixedBlocks, MixedRows
from hfpipe.training.preparation import pack_documents
from hfpipe.training.row_sources import RowSources


def mix_documents(parts: DocumentParts, tokenizer: PreTrainedTokenizerBase, *, block_size: int, seed: int) -> MixedRows:
    """Return the documents of each source packed, and of the training blocks those that its share allows.

    Raises:
        DataError: If a source does not fill one block, or its share of an epoch would be none.
    """
    shares = parts.sources
    train = {
        share.name: pack_documents(part, tokenizer, block_size=block_size, name=share.name, is_train=True)
        for share, part in divide_by_source(parts.train, shares)
    }
    scored = {
        share.name: pack_documents(part, tokenizer, block_size=block_size, name=f"{share.name} (validation)")
        for share, part in divide_by_source(parts.validation, shares)
        if part.texts
    }
    there = [len(rows) for rows in train.values()]
    counts = plan_mixture(there, shares)
    drawn = [
        draw_rows(size, int(count), seed=seed, source=n)
        for n, (size, count) in enumerate(zip(there, counts, strict=True))
    ]
    table = describe_mixture(shares, there, counts.tolist(), unit="blocks")
    return MixedRows(_join(train, drawn), _join(scored), None, tuple(table), _facts(shares, train, counts.tolist()))


def divide_by_source(part: DocumentPart, shares: Sequence[SourceShare]) -> list[tuple[SourceShare, DocumentPart]]:
    """Return the documents of each source, in their order."""
    ids = find_source_ids(part.places, shares)
    rows = [np.flatnonzero(ids == number) for number in range(len(shares))]
    return [
        (share, DocumentPart([part.texts[row] for row in own], part.places.take(own)))
        for share, own in zip(shares, rows, strict=True)
    ]


def _join(sources: Mapping[str, BlockRows], drawn: Sequence[np.ndarray] | None = None) -> MixedBlocks:
    blocks = drawn if drawn is not None else [np.arange(len(rows)) for rows in sources.values()]
    source_ids = np.repeat(np.arange(len(blocks)), [len(own) for own in blocks])
    return MixedBlocks(sources, RowSources(tuple(sources), source_ids), np.concatenate(blocks))


def _facts(
    shares: Sequence[SourceShare], train: Mapping[str, BlockRows], counts: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Return the table for the record."""
    return {
        share.name: {
            "weight": share.weight,
            "repeat": share.repeat,
            "documents": len(rows.document_starts),
            "tokens": rows.blocks.tokens,
            "blocks": len(rows),
            "blocks_used": count,
        }
        for (share, rows), count in zip(zip(shares, train.values(), strict=True), counts, strict=True)
    }
