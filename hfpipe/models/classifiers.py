"""Sequence classifiers: from any checkpoint `AutoModelForSequenceClassification` knows, or new ones of a named size.

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
from hfpipe.models.architectures import CLASSIFIER_CLASSES
from hfpipe.models.limits import UNLIMITED, check_vocabulary
from hfpipe.models.new_models import build_config
from hfpipe.models.overrides import apply_overrides
from hfpipe.models.sources import building_options, explained_loading, find_checkpoint, read_config
from hfpipe.models.tokenizers import PADDING

logger = logging.getLogger(__name__)

TOKEN_TYPES = "token_type_ids"


@dataclass(frozen=True)
class LoadedModel:
    """A model and the names of its parameters that no checkpoint brought: they start from random values.

    There are no names where no checkpoint was asked for any.
    """

    model: PreTrainedModel
    new_parameters: tuple[str, ...]


def load_classifier(
    settings: ModelSettings,
    label_names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    problem_type: str = SINGLE_LABEL,
) -> LoadedModel:
    """Return a classifier of `label_names`; seed before the call, since a new head or model draws random numbers.

    A number to predict is a classifier of one name, its column's. A padding token may be added to `tokenizer`, and
    what the model does not read is left out of its inputs. A new model takes texts as long as `tokenizer` says.

    Raises:
        ConfigError: If the checkpoint or architecture cannot be found or read, an override does not fit its config or
            its weights, or the tokenizer has more tokens than it.
    """
    if settings.model_name_or_path is None:
        return LoadedModel(_new_classifier(settings, label_names, tokenizer, problem_type), ())
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
    return _with_labels(read_config(settings), label_names, problem_type)


def _with_labels(config: PreTrainedConfig, label_names: Sequence[str], problem_type: str) -> PreTrainedConfig:
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
    if settings.model_name_or_path is None:
        return _new_classifier(settings, label_names, tokenizer, problem_type)
    config = read_classifier_config(settings, label_names, problem_type=problem_type)
    return _make_classifier(settings, config, tokenizer, key="model_name_or_path")


def _new_classifier(
    settings: ModelSettings,
    label_names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    problem_type: str,
) -> PreTrainedModel:
    """Return a classifier of `settings.model_type` with random weights."""
    assert tokenizer.model_max_length < UNLIMITED, "the tokenizer of a new model says how long its texts are"
    config = build_config(
        settings,
        tokenizer,
        positions=tokenizer.model_max_length,
        known=CLASSIFIER_CLASSES,
        task="text classifier",
        fields={},
    )
    apply_overrides(config, settings.config_overrides)
    _with_labels(config, label_names, problem_type)
    return _make_classifier(settings, config, tokenizer, key="model_type")


def _make_classifier(
    settings: ModelSettings, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, *, key: str
) -> PreTrainedModel:
    """Return the model of `config`, with random weights; the setting `key` is told where there is none."""
    check_vocabulary(config, tokenizer)
    value = settings.model_type if key == "model_type" else str(settings.model_name_or_path)
    with explained_loading(key, value):
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
