"""A fine-tuning run surveyed: all texts are read and tokenized as the run will, the model is built without weights."""

from dataclasses import replace

import torch
from transformers import PreTrainedTokenizerBase

from hfpipe.data.parts import LabelledParts, load_labelled_parts
from hfpipe.models.classifiers import outline_classifier
from hfpipe.models.limits import UNLIMITED, find_length_limit
from hfpipe.models.tokenizers import load_tokenizer
from hfpipe.training.datasets import Batch
from hfpipe.training.estimate import outline
from hfpipe.training.lengths import describe_cuts, describe_lengths
from hfpipe.training.objectives import ClassificationObjective, build_classification_objective
from hfpipe.training.preparation import check_max_seq_length, cut_labelled_parts, note_cut_texts
from hfpipe.training.surveys import Draft, Survey
from hfpipe.training.tasks import check_metric

ANY_TWO_LABELS = ("0", "1")
"""Stand in where the data cannot be read: the size of the head hardly depends on them."""


def survey_classifier(draft: Draft) -> Survey:
    """Return what a fine-tuning run would work with; facts and problems go to `draft`."""
    config = draft.config
    parts = draft.attempt(lambda: load_labelled_parts(config.data, seed=config.training.seed))
    tokenizer = draft.attempt(lambda: load_tokenizer(config.model))
    # weights of classes are left out: they change numbers, not memory
    objective = ClassificationObjective(None, config.trainer_arguments.get("label_smoothing_factor", 0.0))
    survey = Survey("text", make_text_batch, objective, summary=parts.summary if parts else None)
    limit = UNLIMITED
    if tokenizer is not None:
        survey, limit = _survey_model(draft, survey, parts=parts, tokenizer=tokenizer)
    if parts is not None and tokenizer is not None:
        survey = _survey_texts(draft, survey, parts=parts, tokenizer=tokenizer, limit=limit)
    elif parts is not None:
        draft.lines += parts.summary.lines()
    if parts is not None:
        draft.holds(lambda: check_metric(config, parts.label_names))
        _survey_class_weights(draft, parts)
    return survey


def make_text_batch(rows: int, tokens: int) -> Batch:
    """Return a batch in the shape of `LabelledRows`, all zeros."""
    shape = (rows, tokens)
    return {
        "input_ids": torch.zeros(shape, dtype=torch.int64),
        "attention_mask": torch.zeros(shape, dtype=torch.int64),
        "labels": torch.zeros(rows, dtype=torch.int64),
    }


def _survey_model(
    draft: Draft,
    survey: Survey,
    *,
    parts: LabelledParts | None,
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[Survey, int]:
    config, device = draft.config, draft.device
    label_names = parts.label_names if parts else ANY_TWO_LABELS
    outlined = draft.attempt(lambda: outline(lambda: outline_classifier(config.model, label_names, tokenizer), device))
    if outlined is None:
        return survey, UNLIMITED
    model_config = outlined.model.config
    fits = draft.holds(lambda: check_max_seq_length(config, model_config, tokenizer))
    limit = draft.attempt(lambda: find_length_limit(model_config, tokenizer))
    return replace(survey, outlined=outlined, fits=fits), limit or UNLIMITED


def _survey_texts(
    draft: Draft,
    survey: Survey,
    *,
    parts: LabelledParts,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
) -> Survey:
    max_seq_length = draft.config.data.max_seq_length
    rows = cut_labelled_parts(parts, tokenizer, max_seq_length=max_seq_length)
    draft.lines += note_cut_texts(parts, rows).lines()
    for name, part in {"train": rows.train, "validation": rows.validation, "test": rows.test}.items():
        if part is not None:
            draft.lines.append(f"{name}: {describe_lengths(part.texts.full_lengths, unit='text')}")
    draft.lines.append("what max_seq_length cuts from the training texts:")
    draft.lines += describe_cuts(rows.train.texts.full_lengths, max_seq_length, limit=limit)
    return replace(survey, lengths=rows.train.lengths, evaluated=rows.validation.lengths)


def _survey_class_weights(draft: Draft, parts: LabelledParts) -> None:
    objective = draft.attempt(
        lambda: build_classification_objective(draft.config, parts.train.label_ids, parts.label_names)
    )
    if objective is not None and objective.class_weights is not None:
        weights = zip(parts.label_names, objective.class_weights.tolist(), strict=True)
        draft.lines.append("class weights: " + ", ".join(f"{name} {weight:.4g}" for name, weight in weights))
