"""Sequence classifiers from any checkpoint `AutoModelForSequenceClassification` knows.

Label names and their order go into the model's config, so `pipeline(...)` answers with them. A model
whose padding token doubles as its end-of-text token gets one of its own: stock heads of causal models
find the last token of a text by comparing ids with the padding id, and would step over a real end of
text. With a padding token that occurs nowhere else, that rule and the attention mask agree.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hfpipe.config import ModelSettings
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.limits import check_vocabulary
from hfpipe.models.sources import building_options, explained_loading, find_checkpoint, loading_options, read_config
from hfpipe.models.tokenizers import PADDING

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model and the names of its parameters that no checkpoint brought: they start from random values."""

    model: PreTrainedModel
    new_parameters: tuple[str, ...]


def load_classifier(
    settings: ModelSettings, label_names: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> LoadedModel:
    """Return a classifier of `label_names`; seed before the call, since the new head draws random numbers.

    A padding token may be added to `tokenizer`.

    Raises:
        ConfigError: If the checkpoint cannot be found or read, an override does not fit its config or its weights, or
            the tokenizer has more tokens than it.
    """
    assert settings.model_name_or_path is not None, "the configuration requires it for classifiers"
    checkpoint = find_checkpoint(settings.model_name_or_path)
    config = read_classifier_config(settings, label_names)
    check_vocabulary(config, tokenizer)
    with explained_loading("model_name_or_path", checkpoint):
        model, info = AutoModelForSequenceClassification.from_pretrained(
            checkpoint,
            config=config,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **building_options(settings) | loading_options(settings, checkpoint),
        )
    _check_shapes(model, info["mismatched_keys"], checkpoint)
    give_padding_token(model, tokenizer)
    new = {*info["missing_keys"], *(mismatch[0] for mismatch in info["mismatched_keys"])}
    return LoadedModel(model, tuple(name for name, _ in model.named_parameters() if name in new))


def read_classifier_config(settings: ModelSettings, label_names: Sequence[str]) -> PreTrainedConfig:
    """Return the config of a classifier of `label_names` from the checkpoint of `settings`.

    Raises:
        ConfigError: If the checkpoint cannot be found or an override names no field of its config.
    """
    config = read_config(settings)
    config.num_labels = len(label_names)
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: index for index, name in enumerate(label_names)}
    config.problem_type = "single_label_classification"
    return config


def outline_classifier(
    settings: ModelSettings, label_names: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel:
    """Return the classifier that `load_classifier` gives, without its weights.

    Call it where parameters take no memory: on the meta device or under fake tensors.

    Raises:
        ConfigError: As `load_classifier`, but for what only the weights tell.
    """
    config = read_classifier_config(settings, label_names)
    check_vocabulary(config, tokenizer)
    with explained_loading("model_name_or_path", str(settings.model_name_or_path)):
        model = AutoModelForSequenceClassification.from_config(config, **building_options(settings))
    give_padding_token(model, tokenizer)
    return model


def _check_shapes(model: PreTrainedModel, mismatched: Iterable[tuple[str, Any, Any]], checkpoint: str) -> None:
    """Raise a ConfigError where more than the rows of the head, one a label, have another shape in the checkpoint."""
    inner = f"{model.base_model_prefix}."
    for name, saved, wanted in sorted(mismatched):
        is_head = not name.startswith(inner) and wanted[:1] == (model.config.num_labels,) and saved[1:] == wanted[1:]
        if not is_head:
            rule = f"{name} has shape {tuple(saved)} there and {tuple(wanted)} in this config"
            raise ConfigError(Problem("model_name_or_path", checkpoint, rule, "see config_overrides"))


def give_padding_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make sure `tokenizer` and `model` share a padding token that is no other special token.

    The embedding grows by a row where the vocabulary has no room left.
    """
    others = {
        *(tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.sep_token_id),
        *(tokenizer.cls_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id),
    }
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in others:
        tokenizer.add_special_tokens({"pad_token": PADDING})
        if len(tokenizer) > cast("torch.nn.Embedding", model.get_input_embeddings()).num_embeddings:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        logger.info("the tokenizer had no padding token of its own: added %s as id %d", PADDING, tokenizer.pad_token_id)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
