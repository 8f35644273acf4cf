"""A fine-tuning run surveyed: all texts are read and tokenized as the run will, the model is built without weights."""

from dataclasses import replace

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfpipe.config import RunConfig
from hfpipe.config.sections import MULTI_LABEL, SINGLE_LABEL
from hfpipe.data.corpora import load_labelled
from hfpipe.data.parts import LabelledParts
from hfpipe.data.tokens import find_length_rule
from hfpipe.evaluation.thresholds import check_thresholds
from hfpipe.models.adapters import outline_adapter
from hfpipe.models.classifiers import outline_classifier
from hfpipe.models.limits import UNLIMITED, find_length_limit
from hfpipe.training.datasets import Batch
from hfpipe.training.estimate import outline, outline_adapted
from hfpipe.training.lengths import describe_cuts, describe_kept, describe_lengths
from hfpipe.training.objectives import (
    ClassificationObjective,
    MultiLabelObjective,
    build_classification_objective,
    plain_classification_objective,
)
from hfpipe.training.preparation import check_max_seq_length, cut_labelled_parts, note_cut_texts
from hfpipe.training.schedule import find_window_length
from hfpipe.training.surveys import Draft, Survey
from hfpipe.training.tasks import check_metric
from hfpipe.training.text_tokenizers import draft_text_tokenizer

ANY_TWO_LABELS = ("0", "1")
"""Stand in where the data cannot be read: the size of the head hardly depends on them."""


def survey_classifier(draft: Draft) -> Survey:
    """Return what a fine-tuning run would work with; facts and problems go to `draft`."""
    config = draft.config
    parts = draft.attempt(lambda: load_labelled(config))
    tokenizer = draft.attempt(lambda: draft_text_tokenizer(config, parts))
    survey = _begin_survey(config, parts)
    limit = UNLIMITED
    if tokenizer is not None:
        if not (config.model.tokenizer_name or config.model.model_name_or_path):
            draft.lines.append(f"tokenizer: a byte-level BPE of its own, {len(tokenizer):,} tokens")
        survey, limit = _survey_model(draft, survey, parts=parts, tokenizer=tokenizer)
    if parts is not None and tokenizer is not None:
        survey = _survey_texts(draft, survey, parts=parts, tokenizer=tokenizer, limit=limit)
    elif parts is not None:
        draft.lines += parts.summary.lines()
    if parts is not None:
        draft.holds(lambda: check_metric(config, parts))
        draft.holds(lambda: check_thresholds(config, parts))
        _survey_class_weights(draft, parts)
    return survey


def make_text_batch(rows: int, tokens: int) -> Batch:
    """Return a batch in the shape of `LabelledRows`, all zeros; windows stand in it as rows of their own."""
    shape = (rows, tokens)
    return {
        "input_ids": torch.zeros(shape, dtype=torch.int64),
        "attention_mask": torch.zeros(shape, dtype=torch.int64),
        "labels": torch.zeros(rows, dtype=torch.int64),
    }


def _begin_survey(config: RunConfig, parts: LabelledParts | None) -> Survey:
    problem_type = parts.problem_type if parts else config.data.problem_type
    labels = len(parts.label_names if parts else ANY_TWO_LABELS)

    def make_batch(rows: int, tokens: int) -> Batch:
        batch = make_text_batch(rows, tokens)
        if problem_type != SINGLE_LABEL:
            batch["labels"] = torch.zeros((rows, labels) if problem_type == MULTI_LABEL else (rows,))
        return batch

    # weights of classes are left out: they change numbers, not memory
    objective = plain_classification_objective(
        problem_type, config.trainer_arguments.get("label_smoothing_factor", 0.0)
    )
    window_length = find_window_length(config)
    summary = parts.summary if parts else None
    return Survey("text", make_batch, objective, summary=summary, window_length=window_length)


def _survey_model(
    draft: Draft,
    survey: Survey,
    *,
    parts: LabelledParts | None,
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[Survey, int]:
    config, device = draft.config, draft.device
    label_names = parts.label_names if parts else ANY_TWO_LABELS
    problem_type = parts.problem_type if parts else config.data.problem_type

    def build() -> PreTrainedModel:
        whole = outline_classifier(config.model, label_names, tokenizer, problem_type=problem_type)
        return outline_adapter(config.model, whole)

    outlined = draft.attempt(lambda: (outline_adapted if config.model.use_peft else outline)(build, device))
    if outlined is None:
        return survey, UNLIMITED
    model_config = outlined.model.config
    fits = draft.holds(lambda: check_max_seq_length(config, model_config, tokenizer))
    limit = draft.attempt(lambda: find_length_limit(model_config, tokenizer))
    return replace(survey, outlined=outlined, fits=fits, build=build if fits else None), limit or UNLIMITED


def _survey_texts(
    draft: Draft,
    survey: Survey,
    *,
    parts: LabelledParts,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
) -> Survey:
    rule = find_length_rule(draft.config.data)
    special_tokens = tokenizer.num_special_tokens_to_add(pair=parts.train.text_pairs is not None)
    if rule.step(special_tokens) < 1:
        return survey
    rows = cut_labelled_parts(parts, tokenizer, rule=rule)
    draft.lines += note_cut_texts(parts, rows).lines()
    for name, part in {"train": rows.train, "validation": rows.validation, "test": rows.test}.items():
        if part is not None:
            draft.lines.append(f"{name}: {describe_lengths(part.texts.full_lengths, unit='text')}")
    draft.lines.append(f"train: {describe_kept(rows.train.texts, rule)}")
    draft.lines.append("what max_seq_length cuts from the training texts:")
    draft.lines += describe_cuts(rows.train.texts.full_lengths, rule, limit=limit, special_tokens=special_tokens)
    return replace(survey, lengths=rows.train.lengths, evaluated=rows.validation.lengths)


def _survey_class_weights(draft: Draft, parts: LabelledParts) -> None:
    objective = draft.attempt(lambda: build_classification_objective(draft.config, parts))
    if not isinstance(objective, ClassificationObjective | MultiLabelObjective) or objective.class_weights is None:
        return
    told = "what a label weighs where it is there" if isinstance(objective, MultiLabelObjective) else "class weights"
    weights = zip(parts.label_names, objective.class_weights.tolist(), strict=True)
    draft.lines.append(f"{told}: " + ", ".join(f"{name} {weight:.4g}" for name, weight in weights))
