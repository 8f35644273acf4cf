"""From the parts of a corpus to rows of tokens, whichever way the corpus is read."""

import logging
from functools import partial

from transformers import PreTrainedTokenizerBase

from hfpipe.data.encoding_documents import encode_whole
from hfpipe.data.parts import DocumentPart, DocumentParts
from hfpipe.data.stream_blocks import BlockStream, Packing, StreamState
from hfpipe.data.streamed_parts import StreamedParts
from hfpipe.data.streams import Share
from hfpipe.models.tokenizers import find_separator
from hfpipe.records.sessions import add_facts
from hfpipe.training.datasets import BlockRows
from hfpipe.training.mixed_rows import MixedRows
from hfpipe.training.mixing import mix_documents
from hfpipe.training.packing import Packer, build_packer, pack_parts
from hfpipe.training.preparation import RowsByPart, StreamedRows, describe_blocks
from hfpipe.training.session import Session
from hfpipe.training.streaming import StreamedBlocks, StreamShape, load_stream

logger = logging.getLogger(__name__)


def tokenize_corpus(
    session: Session, parts: DocumentParts | StreamedParts, tokenizer: PreTrainedTokenizerBase
) -> RowsByPart[BlockRows] | StreamedRows | MixedRows:
    """Return the documents of each part packed into blocks; those of a stream when they are asked for.

    Raises:
        DataError: If the training part does not fill one block.
        CheckpointError: If the run goes on and its place in the stream cannot be read.
    """
    data = session.config.data
    masked = not data.cross_document_attention
    packer = build_packer(tokenizer, block_size=data.block_size, masks_documents=masked)
    if isinstance(parts, StreamedParts):
        return _stream(session, parts, tokenizer, packer=packer)
    if parts.sources:
        return _mix(session, parts, packer)
    return _pack(session, parts, packer)


def _pack(session: Session, parts: DocumentParts, packer: Packer) -> RowsByPart[BlockRows]:
    """Return the documents of each part packed into blocks; only the training part drops its tail, and says so."""
    packed = pack_parts(session, packer, list_parts(parts))
    rows = RowsByPart(packed["train"], packed["validation"], packed.get("test"))
    if session.is_main:
        for line in describe_blocks(rows):
            logger.info(line)
    return rows


def list_parts(parts: DocumentParts | StreamedParts) -> dict[str, DocumentPart]:
    """Return the parts whose documents are there, by name."""
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    return {name: part for name, part in named.items() if isinstance(part, DocumentPart)}


def _mix(session: Session, parts: DocumentParts, packer: Packer) -> MixedRows:
    rows = mix_documents(session, parts, packer)
    if session.is_main:
        logger.info("mixture: %s blocks of %s tokens an epoch", f"{len(rows.train):,}", f"{rows.train.block_size:,}")
        for line in rows.table:
            logger.info(line)
        add_facts(session.directory, {"mixture": rows.facts})
    return rows


def _stream(
    session: Session, parts: StreamedParts, tokenizer: PreTrainedTokenizerBase, *, packer: Packer
) -> StreamedRows:
    args, block_size = session.args, session.config.data.block_size
    share = Share(args.process_index, args.world_size)
    state = StreamState() if session.checkpoint is None else load_stream(session.checkpoint, share)
    packing = Packing(partial(encode_whole, tokenizer), find_separator(tokenizer), block_size)
    shape = StreamShape(
        total=args.max_steps * session.rows_per_step,
        block_size=block_size,
        per_device_batch_size=args.per_device_train_batch_size,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
    )
    train = StreamedBlocks(BlockStream(parts.train, share, packing, state), share, shape)
    scored = pack_parts(session, packer, list_parts(parts))
    if session.is_main:
        _describe(session, shape, scored)
    return StreamedRows(train, scored["validation"], scored.get("test"))


def _describe(session: Session, shape: StreamShape, scored: dict[str, BlockRows]) -> None:
    tokens = shape.total * shape.block_size
    steps = f"{session.args.max_steps:,} steps x {session.rows_per_step:,} blocks x {shape.block_size:,}"
    logger.info("train: %s tokens of the stream = %s", f"{tokens:,}", steps)
    for name, part in scored.items():
        counts = f"{part.blocks.tokens:,} tokens in {len(part):,} blocks of {part.blocks.block_size}"
        logger.info("%s: %s from %s bytes", name, counts, f"{part.byte_count:,}")
