"""Sequence classifiers from any checkpoint `AutoModelForSequenceClassification` knows.

Label names and their order go into the model's config, so `pipeline(...)` answers with them. A model
whose padding token doubles as its end-of-text token gets one of its own: stock heads of causal models
find the last token of a text by comparing ids with the padding id, and would step over a real end of
text. With a padding token that occurs nowhere else, that rule and the attention mask agree.
"""

import inspect
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
from hfpipe.config.sections import SINGLE_LABEL
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.limits import check_vocabulary
from hfpipe.models.sources import building_options, explained_loading, find_checkpoint, read_config
from hfpipe.models.tokenizers import PADDING

logger = logging.getLogger(__name__)

TOKEN_TYPES = "token_type_ids"


@dataclass(frozen=True)
class LoadedModel:
    """A model and the names of its parameters that no checkpoint brought: they start from random values."""

    model: PreTrainedModel
    new_parameters: tuple[str, ...]


def load_classifier(
    settings: ModelSettings,
    label_names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    problem_type: str = SINGLE_LABEL,
) -> LoadedModel:
    """Return a classifier of `label_names`; seed before the call, since the new head draws random numbers.

    A number to predict is a classifier of one name, its column's. A padding token may be added to `tokenizer`, and
    what the model does not read is left out of its inputs.

    Raises:
        ConfigError: If the checkpoint cannot be found or read, an override does not fit its config or its weights, or
            the tokenizer has more tokens than it.
    """
    assert settings.model_name_or_path is not None, "the configuration requires it for classifiers"
    checkpoint = find_checkpoint(settings, with_weights=True)
    config = read_classifier_config(settings, label_names, problem_type=problem_type)
    check_vocabulary(config, tokenizer)
    with explained_loading("model_name_or_path", settings.model_name_or_path):
        model, info = AutoModelForSequenceClassification.from_pretrained(
            checkpoint,
            config=config,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **building_options(settings),
        )
    _check_shapes(model, info["mismatched_keys"], settings.model_name_or_path)
    give_padding_token(model, tokenizer)
    drop_unread_types(model, tokenizer)
    new = {*info["missing_keys"], *(mismatch[0] for mismatch in info["mismatched_keys"])}
    return LoadedModel(model, tuple(name for name, _ in model.named_parameters() if name in new))


def read_classifier_config(
    settings: ModelSettings, label_names: Sequence[str], *, problem_type: str = SINGLE_LABEL
) -> PreTrainedConfig:
    """Return the config of a classifier of `label_names` from the checkpoint of `settings`.

    Its `problem_type` tells `pipeline` what to make of the logits: softmax, a sigmoid each, or nothing.

    Raises:
        ConfigError: If the checkpoint cannot be found or an override names no field of its config.
    """
    config = read_config(settings)
    config.num_labels = len(label_names)
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: index for index, name in enumerate(label_names)}
    config.problem_type = cast("Any", problem_type)
    return config


def outline_classifier(
    settings: ModelSettings,
    label_names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    problem_type: str = SINGLE_LABEL,
) -> PreTrainedModel:
    """Return the classifier that `load_classifier` gives, without its weights.

    Call it where parameters take no memory: on the meta device or under fake tensors.

    Raises:
        ConfigError: As `load_classifier`, but for what only the weights tell.
    """
    config = read_classifier_config(settings, label_names, problem_type=problem_type)
    check_vocabulary(config, tokenizer)
    with explained_loading("model_name_or_path", str(settings.model_name_or_path)):
        model = AutoModelForSequenceClassification.from_config(config, **building_options(settings))
    give_padding_token(model, tokenizer)
    drop_unread_types(model, tokenizer)
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


def drop_unread_types(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Take `token_type_ids` out of what `tokenizer` gives where `model` knows no types, or only one.

    The tokenizer as saved says so too, so that `pipeline` gives a pair as it was trained on.
    """
    types = (
        model.config.get_text_config().to_dict().get("type_vocab_size", 2)
    )  # XLNet has no such field, and reads them
    reads_them = TOKEN_TYPES in inspect.signature(model.forward).parameters and types > 1
    if TOKEN_TYPES in tokenizer.model_input_names and not reads_them:
        tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != TOKEN_TYPES]
        tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names
