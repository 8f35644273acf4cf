"""A run under `streaming` surveyed: its shards are found, and only the head of the stream is read and tokenized.

What needs the whole stream - its documents, tokens and epochs - is not known and not guessed. Steps, tokens in total,
memory and disk are: they follow from `max_steps` and the block size.
"""

from dataclasses import replace
from itertools import islice

import numpy as np

from hfpipe.data.commits import pin_commits
from hfpipe.data.streamed_parts import StreamedParts, load_streamed_parts
from hfpipe.data.streams import USED, Position, Share, read_stream
from hfpipe.data.tokens import LengthRule, tokenize_texts
from hfpipe.models.tokenizers import load_tokenizer
from hfpipe.training.corpus_survey import Sample, make_block_batch, survey_model
from hfpipe.training.lengths import describe_lengths
from hfpipe.training.objectives import build_causal_lm_objective
from hfpipe.training.packing import build_packer
from hfpipe.training.schedule import find_argument
from hfpipe.training.surveys import Draft, Survey

HEAD_DOCUMENTS = 500


def survey_stream(draft: Draft) -> Survey:
    """Return what a run under `streaming` would work with; facts and problems go to `draft`."""
    config = draft.config
    survey = Survey("block", make_block_batch, build_causal_lm_objective(config), is_stream=True)
    parts = draft.attempt(
        lambda: load_streamed_parts(
            pin_commits(config),
            seed=config.training.seed,
            processes=config.training.num_processes or 1,
            cache_dir=config.model.cache_dir,
        )
    )
    if parts is not None:
        draft.lines += parts.summary.lines()
        survey = replace(survey, summary=parts.summary)
    tokenizer = draft.attempt(lambda: load_tokenizer(config.model))
    if tokenizer is None:
        return survey
    texts = (draft.attempt(lambda: read_head(parts)) or []) if parts is not None else []
    survey = survey_model(draft, survey, tokenizer=tokenizer, sample=Sample(texts, len(texts), is_whole=False))
    if parts is None or not texts:
        return survey
    tokenized = tokenize_texts(tokenizer, texts, rule=LengthRule(None), add_special_tokens=False)
    head = f" (the head of the stream: {len(texts):,} documents)"
    draft.lines.append(describe_lengths(tokenized.lengths, unit="document") + head)
    size = config.data.block_size
    validation = build_packer(tokenizer, block_size=size).pack(parts.validation, "validation")
    return replace(survey, lengths=np.full(_rows_per_step(draft), size), evaluated=validation.lengths)


def read_head(parts: StreamedParts) -> list[str]:
    """Return the texts of the first documents that would be trained on by a single process.

    Raises:
        DataError: If a row among them cannot be used.
    """
    documents = islice(read_stream(parts.train, Share(0, 1), Position()), HEAD_DOCUMENTS)
    return [document.text or "" for document in documents if document.fate == USED and document.behind.epoch == 0]


def _rows_per_step(draft: Draft) -> int:
    rows = find_argument(draft.config, "per_device_train_batch_size")
    windows: int = rows * find_argument(draft.config, "gradient_accumulation_steps")
    return windows * (draft.config.training.num_processes or 1)
