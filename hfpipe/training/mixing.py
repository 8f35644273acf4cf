"""From documents of several sources to blocks: every source packed by itself, and its share of an epoch drawn.

Blocks of a source are drawn once by the seed and are the same in every epoch; only their order differs.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from hfpipe.data.mixture import SourceShare, describe_mixture, draw_rows, find_source_ids, plan_mixture
from hfpipe.data.parts import DocumentPart, DocumentParts
from hfpipe.data.text_store import take_texts
from hfpipe.training.datasets import BlockRows
from hfpipe.training.mixed_rows import MixedBlocks, MixedRows
from hfpipe.training.packing import Packer, pack_parts
from hfpipe.training.row_sources import RowSources
from hfpipe.training.session import Session


def mix_documents(session: Session, parts: DocumentParts, packer: Packer) -> MixedRows:
    """Return the documents of each source packed, and of the training blocks those that its share allows.

    Raises:
        DataError: If a source does not fill one block, or its share of an epoch would be none.
    """
    shares, seed = parts.sources, session.config.split_seed
    train = pack_parts(session, packer, divide_by_source(parts.train, shares), is_train=True)
    held_out = {name: part for name, part in divide_by_source(parts.validation, shares).items() if part.texts}
    of_named = {f"{name} (validation)": part for name, part in held_out.items()}
    packed = pack_parts(session, packer, of_named, is_train=False)
    scored = dict(zip(held_out, packed.values(), strict=True))
    there = [len(rows) for rows in train.values()]
    counts = plan_mixture(there, shares)
    drawn = [
        draw_rows(size, int(count), seed=seed, source=n)
        for n, (size, count) in enumerate(zip(there, counts, strict=True))
    ]
    table = describe_mixture(shares, there, counts.tolist(), unit="blocks")
    return MixedRows(_join(train, drawn), _join(scored), None, tuple(table), _facts(shares, train, counts.tolist()))


def divide_by_source(part: DocumentPart, shares: Sequence[SourceShare]) -> dict[str, DocumentPart]:
    """Return the documents of each source by its name, in their order."""
    ids = find_source_ids(part.places, shares)
    rows = [np.flatnonzero(ids == number) for number in range(len(shares))]
    return {
        share.name: DocumentPart(take_texts(part.texts, own), part.places.take(own))
        for share, own in zip(shares, rows, strict=True)
    }


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
