"""Causal language models: new ones of a named size, or continued from a checkpoint."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from hfpipe.config import ModelSettings
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.limits import find_positions
from hfpipe.models.overrides import apply_overrides
from hfpipe.models.sizes import SIZES
from hfpipe.models.sources import explained_loading, find_checkpoint, loading_options, read_config
from hfpipe.models.tokenizers import special_ids


def load_causal_lm(settings: ModelSettings, tokenizer: PreTrainedTokenizerBase, *, block_size: int) -> PreTrainedModel:
    """Return the model to train; seed before the call, since a new model draws random numbers.

    Raises:
        ConfigError: If the checkpoint cannot be found, `block_size` is over its positions, the tokenizer has more
            tokens than it, or an override does not fit.
    """
    if settings.model_name_or_path is None:
        model = _new_model(settings, new_config(settings, tokenizer, block_size))
    else:
        model = _continued_model(settings)
    check_fit(model.config, tokenizer, block_size=block_size)
    return model


def outline_causal_lm(settings: ModelSettings, config: PreTrainedConfig) -> PreTrainedModel:
    """Return the model of `config` that `load_causal_lm` gives, without its weights.

    Call it where parameters take no memory: on the meta device or under fake tensors.

    Raises:
        ConfigError: If transformers makes no causal language model of `config`.
    """
    return _new_model(settings, config)


def new_config(settings: ModelSettings, tokenizer: PreTrainedTokenizerBase, block_size: int) -> PreTrainedConfig:
    """Return the config of a model of `settings.model_size` for the vocabulary of `tokenizer`."""
    if settings.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ConfigError(
            Problem("model_type", settings.model_type, "no causal language model of this name in transformers")
        )
    fields: dict[str, Any] = {
        **SIZES[settings.model_size],
        "vocab_size": len(tokenizer),
        "max_position_embeddings": block_size,
        "tie_word_embeddings": True,
        **special_ids(tokenizer),
    }
    blank = AutoConfig.for_model(settings.model_type)
    known = set(blank.to_dict()) | set(blank.attribute_map)
    config = AutoConfig.for_model(
        settings.model_type, **{name: value for name, value in fields.items() if name in known}
    )
    apply_overrides(config, settings.config_overrides)
    return config


def check_fit(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, *, block_size: int) -> None:
    """Raise a ConfigError where block or vocabulary do not fit the model."""
    problems = []
    positions = find_positions(config)
    if positions is not None and block_size > positions:
        problems.append(
            Problem(
                f"block_size {block_size}",
                rule=f"over the model's {positions:,} positions",
                remedy="lower it, or raise max_position_embeddings by config_overrides",
            )
        )
    if len(tokenizer) > config.vocab_size:
        problems.append(
            Problem(
                "tokenizer_name",
                f"{len(tokenizer):,} tokens",
                f"more than the model's vocabulary of {config.vocab_size:,}",
                "use the tokenizer of the checkpoint",
            )
        )
    if problems:
        raise ConfigError(problems)


def _new_model(settings: ModelSettings, config: PreTrainedConfig) -> PreTrainedModel:
    with explained_loading("model_type", settings.model_type):
        return AutoModelForCausalLM.from_config(
            config,
            dtype=getattr(torch, settings.dtype),
            attn_implementation=settings.attn_implementation,
            trust_remote_code=settings.trust_remote_code,
        )


def _continued_model(settings: ModelSettings) -> PreTrainedModel:
    assert settings.model_name_or_path is not None
    checkpoint = find_checkpoint(settings.model_name_or_path)
    config = read_config(settings)
    with explained_loading("model_name_or_path", checkpoint):
        return AutoModelForCausalLM.from_pretrained(
            checkpoint,
            config=config,
            dtype=getattr(torch, settings.dtype),
            attn_implementation=settings.attn_implementation,
            use_safetensors=True,
            **loading_options(settings, checkpoint),
        )
