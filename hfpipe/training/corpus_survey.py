"""A pretraining run surveyed: documents are read as the run will, and tokenized in a sample where they are many.

A tokenizer that the run would train is trained here on the sample, in memory. Numbers that come from a sample say so;
a corpus of at most 2,000 texts and 20 million characters is counted whole, and its numbers are the run's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hfpipe.config import RunConfig
from hfpipe.data.commits import pin_commits
from hfpipe.data.parts import DocumentPart, DocumentParts, load_document_parts
from hfpipe.data.text_store import count_bytes
from hfpipe.data.tokens import LengthRule, tokenize_texts
from hfpipe.errors import DataError, Problem
from hfpipe.models.adapters import add_adapter, outline_adapter
from hfpipe.models.causal import (
    check_causal,
    check_fit,
    draft_causal_lm,
    new_config,
    outline_causal_lm,
    read_causal_config,
)
from hfpipe.models.document_masks import check_document_masks
from hfpipe.models.tokenizers import load_saved_tokenizer, load_tokenizer, train_tokenizer
from hfpipe.records.launches import begins_anew
from hfpipe.training.datasets import Batch
from hfpipe.training.estimate import outline, outline_adapted
from hfpipe.training.lengths import describe_lengths
from hfpipe.training.mixture_survey import survey_mixture
from hfpipe.training.objectives import build_causal_lm_objective
from hfpipe.training.packing import build_packer
from hfpipe.training.preparation import RowsByPart, describe_blocks
from hfpipe.training.settling import foresee_loss, settle_model
from hfpipe.training.surveys import PROBED_PARAMETERS, Draft, Survey

SAMPLED_TEXTS = 2_000
SAMPLED_CHARACTERS = 20_000_000


@dataclass(frozen=True)
class Sample:
    """Texts of the training part, in its order; `is_whole` where they are all of it."""

    texts: list[str]
    of: int
    is_whole: bool

    @property
    def note(self) -> str:
        """What stands behind a number that comes from a part of the texts."""
        return "" if self.is_whole else f" (estimated from {len(self.texts):,} of {self.of:,} texts)"


def survey_causal_lm(draft: Draft) -> Survey:
    """Return what a pretraining run would work with; facts and problems go to `draft`."""
    config = draft.config
    survey = Survey("block", make_block_batch, build_causal_lm_objective(config))
    cache_dir = config.model.cache_dir
    parts = draft.attempt(lambda: load_document_parts(pin_commits(config), seed=config.split_seed, cache_dir=cache_dir))
    texts = parts.train.texts if parts else []
    sample = draw_sample(texts, seed=config.training.seed)
    if parts is not None:
        draft.lines += parts.summary.lines()
        survey = replace(survey, summary=parts.summary)
    is_named = bool(config.model.tokenizer_name or config.model.model_name_or_path)
    tokenizer = draft.attempt(lambda: _find_tokenizer(draft, sample)) if texts or is_named else None
    if tokenizer is None:
        return survey
    survey = survey_model(draft, survey, tokenizer=tokenizer, sample=sample)
    if parts is None:
        return survey
    known, read = tokenizer, parts
    rows = draft.attempt(lambda: _survey_documents(draft, read, tokenizer=known, sample=sample))
    return survey if rows is None else replace(survey, lengths=rows[0], evaluated=rows[1], note=sample.note)


def make_block_batch(rows: int, tokens: int) -> Batch:
    """Return a batch in the shape of `BlockRows`, all zeros."""
    input_ids = torch.zeros((rows, tokens), dtype=torch.int64)
    return {"input_ids": input_ids, "labels": input_ids.clone()}


def draw_sample(texts: Sequence[str], *, seed: int) -> Sample:
    """Return at most 2,000 of `texts` and 20 million characters, chosen by `seed`; all of them where they are fewer."""
    chosen: list[int] = []
    characters = 0
    for index in np.random.default_rng(seed).permutation(len(texts))[:SAMPLED_TEXTS].tolist():
        if characters >= SAMPLED_CHARACTERS:
            break
        chosen.append(index)
        characters += len(texts[index])
    is_whole = len(chosen) == len(texts) and characters <= SAMPLED_CHARACTERS
    return Sample([texts[index][:SAMPLED_CHARACTERS] for index in sorted(chosen)], len(texts), is_whole)


def _find_tokenizer(draft: Draft, sample: Sample) -> PreTrainedTokenizerBase:
    """Return the tokenizer named, or the one this run has saved; one trained on the sample where there is none yet."""
    config = draft.config
    if config.model.tokenizer_name or config.model.model_name_or_path:
        return load_tokenizer(config.model)
    is_new = begins_anew(config.output_dir, fresh_start=config.training.fresh_start)
    saved = None if is_new else load_saved_tokenizer(config.output_dir)
    if saved is not None:
        return saved
    tokenizer = train_tokenizer(sample.texts, config.model.vocab_size, show_progress=False)
    draft.lines.append(f"tokenizer: a new byte-level BPE of {len(tokenizer):,} tokens{sample.note}")
    return tokenizer


def survey_model(
    draft: Draft,
    survey: Survey,
    *,
    tokenizer: PreTrainedTokenizerBase,
    sample: Sample,
) -> Survey:
    """Return `survey` with the outline of the model, and whether blocks fit it."""
    config, device = draft.config, draft.device
    model_config = draft.attempt(lambda: _read_model_config(config, tokenizer, sample))
    if model_config is None:
        return survey
    known = model_config
    fits = draft.holds(lambda: check_fit(known, tokenizer, block_size=config.data.block_size))

    def build() -> PreTrainedModel:
        return outline_adapter(config.model, outline_causal_lm(config.model, known))

    outlined = draft.attempt(lambda: (outline_adapted if config.model.use_peft else outline)(build, device))
    if outlined is not None and fits:
        fits = _survey_abilities(draft, known, parameters=outlined.parameters)
    return replace(survey, outlined=outlined, fits=fits)


def _survey_abilities(draft: Draft, model_config: PreTrainedConfig, *, parameters: int) -> bool:
    """Ask a model with random weights what the run will ask: is it causal, has it document masks, which loss."""
    config, settings = draft.config, draft.config.model
    if parameters > PROBED_PARAMETERS:
        asked = "whether the model is causal, tells documents apart and has a plain head"
        draft.lines.append(f"over {PROBED_PARAMETERS:,} parameters: only the run asks {asked}")
        return True
    model = draft.attempt(lambda: draft_causal_lm(settings, model_config))
    if model is None or not draft.holds(lambda: check_causal(settings, model)):
        return False
    if draft.performance_plan is None:
        return True
    adapted, place = add_adapter(settings, model), config.place("fused_loss")
    settled = settle_model(draft.performance_plan, adapted)
    if not config.data.cross_document_attention and not draft.holds(lambda: check_document_masks(settings, adapted)):
        return False
    # kernels of a GPU do not run on weights that lie elsewhere
    if str(adapted.config._attn_implementation).partition("_")[0] != "flash":
        draft.performance_plan = draft.attempt(lambda: foresee_loss(settled, adapted, place=place)) or settled
    return True


def _read_model_config(config: RunConfig, tokenizer: PreTrainedTokenizerBase, sample: Sample) -> PreTrainedConfig:
    settings = config.model
    if settings.model_name_or_path is not None:
        return read_causal_config(settings)
    model_config = new_config(settings, tokenizer, config.data.block_size)
    is_sampled = settings.tokenizer_name is None and not sample.is_whole
    if is_sampled and "vocab_size" not in (settings.config_overrides or {}):
        model_config.vocab_size = settings.vocab_size  # all texts together fill it
    return model_config


def _survey_documents(
    draft: Draft, parts: DocumentParts, *, tokenizer: PreTrainedTokenizerBase, sample: Sample
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens of training and validation blocks, (blocks,) each."""
    tokenized = tokenize_texts(tokenizer, sample.texts, rule=LengthRule(None), add_special_tokens=False)
    draft.lines.append(describe_lengths(tokenized.lengths, unit="document") + sample.note)
    block_size = draft.config.data.block_size
    tokens_per_byte = len(tokenized.ids) / count_bytes(sample.texts)
    if parts.sources:

        def count_tokens(part: DocumentPart) -> int:
            if not sample.is_whole:
                return _estimate_tokens(part, tokens_per_byte)
            whole = tokenize_texts(tokenizer, part.texts, rule=LengthRule(None), add_special_tokens=False)
            return len(whole.ids) + len(whole) + 1

        train, validation, lines = survey_mixture(parts, count_tokens, block_size=block_size, note=sample.note)
        draft.lines += lines
        return train, validation
    if sample.is_whole:
        packer = build_packer(tokenizer, block_size=block_size)
        test = packer.pack(parts.test, "test") if parts.test else None
        rows = RowsByPart(packer.pack(parts.train, "train"), packer.pack(parts.validation, "validation"), test)
        draft.lines += describe_blocks(rows)
        return rows.train.lengths, rows.validation.lengths
    blocks = {}
    for name, part in {"train": parts.train, "validation": parts.validation, "test": parts.test}.items():
        if part is not None:
            tokens = _estimate_tokens(part, tokens_per_byte)
            blocks[name] = np.full(tokens // block_size, block_size)
            counts = f"{tokens:,} tokens in {len(blocks[name]):,} blocks of {block_size:,}"
            draft.lines.append(f"{name}: about {counts}{sample.note}")
    if not len(blocks["train"]):
        rule = f"too few for one block of block_size {block_size:,}{sample.note}"
        raise DataError(Problem("train", rule=rule, remedy="lower block_size or add text"))
    return blocks["train"], blocks["validation"]


def _estimate_tokens(part: DocumentPart, tokens_per_byte: float) -> int:
    separators = len(part.texts) + 1
    return round(tokens_per_byte * count_bytes(part.texts)) + separators
