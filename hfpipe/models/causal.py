"""Causal language models: new ones of a named size, or continued from a checkpoint.

Architectures made as encoders are told to look back only. As not all of them listen, and a model that sees the token
it is to predict learns nothing, every model is asked once whether its last token changes what it says of earlier ones.
"""

import copy

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hfpipe.config import ModelSettings
from hfpipe.config.model_settings import OWN_ATTENTION
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.architectures import LANGUAGE_MODEL_CLASSES
from hfpipe.models.limits import check_vocabulary, find_positions
from hfpipe.models.new_models import build_config
from hfpipe.models.overrides import apply_overrides
from hfpipe.models.sources import building_options, explained_loading, find_checkpoint, read_config

PROBE_TOKENS = 4
# Rounding of matrix products whose shapes depend on the tokens, as in mixtures of experts, stays far below.
PROBE_TOLERANCE = 1e-4


def load_causal_lm(settings: ModelSettings, tokenizer: PreTrainedTokenizerBase, *, block_size: int) -> PreTrainedModel:
    """Return the model to train; seed before the call, since a new model draws random numbers.

    Raises:
        ConfigError: If the checkpoint cannot be found or read, `block_size` is over its positions, the tokenizer has
            more tokens than it, an override does not fit, or the model is not causal.
    """
    if settings.model_name_or_path is None:
        config = new_config(settings, tokenizer, block_size)
        check_fit(config, tokenizer, block_size=block_size)
        model = _new_model(settings, config)
    else:
        config = read_causal_config(settings)
        check_fit(config, tokenizer, block_size=block_size)
        model = _continued_model(settings, config)
    check_causal(settings, model)
    return model


def check_causal(settings: ModelSettings, model: PreTrainedModel) -> None:
    """Raise a ConfigError where a token changes what `model` says of the tokens before it, or the model does not run.

    No random numbers are drawn. A model with attention kernels of the GPU is not asked: it is not there yet.
    """
    if settings.attn_implementation not in (None, "eager", "sdpa", OWN_ATTENTION):
        return
    key = "model_type" if settings.model_name_or_path is None else "model_name_or_path"
    name = settings.model_name_or_path or settings.model_type
    length = min(PROBE_TOKENS, find_positions(model.config) or PROBE_TOKENS)
    try:
        one, other = _probe(model, last=1, length=length), _probe(model, last=2, length=length)
    except (RuntimeError, ValueError, IndexError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        remedy = "see config_overrides and dtype"
        raise ConfigError(Problem(key, name, f"does not run: {reason}", remedy)) from error
    # a type of few digits rounds more than the fixed tolerance
    tolerance = max(PROBE_TOLERANCE, torch.finfo(model.dtype).eps * one.abs().max().item())
    difference = (one - other)[:, :-1].abs().max().item() if length > 1 else 0.0
    if not difference <= tolerance:
        rule = f"is not causal: what it says of a token depends on later ones (by {difference:.2g})"
        raise ConfigError(Problem(key, name, rule, "choose an architecture that only looks back"))


def draft_causal_lm(settings: ModelSettings, config: PreTrainedConfig) -> PreTrainedModel:
    """Return a model of `config` with random weights, to be asked what it can do; no random numbers are drawn.

    Raises:
        ConfigError: If transformers makes no causal language model of `config`.
    """
    with torch.random.fork_rng(devices=[]):
        return _new_model(settings, copy.deepcopy(config))


@torch.no_grad()
def _probe(model: PreTrainedModel, *, last: int, length: int) -> torch.Tensor:
    """Return the logits (1, length, vocabulary) of a row of equal tokens but for its last one."""
    row = torch.full((1, length), 3)
    row[0, -1] = last
    was_training = model.training
    try:
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            return model.eval()(input_ids=row.to(model.device)).logits.float()
    finally:
        model.train(was_training)


def outline_causal_lm(settings: ModelSettings, config: PreTrainedConfig) -> PreTrainedModel:
    """Return the model of `config` that `load_causal_lm` gives, without its weights.

    Call it where parameters take no memory: on the meta device or under fake tensors.

    Raises:
        ConfigError: If transformers makes no causal language model of `config`.
    """
    return _new_model(settings, config)


def new_config(settings: ModelSettings, tokenizer: PreTrainedTokenizerBase, block_size: int) -> PreTrainedConfig:
    """Return the config of a model of `settings.model_size` for the vocabulary of `tokenizer`.

    Raises:
        ConfigError: If there is no such model, it does not come in this size, or an override does not fit.
    """
    config = build_config(
        settings,
        tokenizer,
        positions=block_size,
        known=LANGUAGE_MODEL_CLASSES,
        task="causal language model",
        fields={"tie_word_embeddings": True},
    )
    _look_back_only(config)
    apply_overrides(config, settings.config_overrides)
    return config


def read_causal_config(settings: ModelSettings) -> PreTrainedConfig:
    """Return the config of the checkpoint of `settings` with its overrides, looking back only.

    Raises:
        ConfigError: If the checkpoint cannot be found or an override names no field of its config.
    """
    config = read_config(settings)
    if "is_decoder" not in (settings.config_overrides or {}):
        _look_back_only(config)
    return config


def _look_back_only(config: PreTrainedConfig) -> None:
    if config.to_dict().get("is_decoder") is False:
        config.is_decoder = True


def check_fit(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, *, block_size: int) -> None:
    """Raise a ConfigError where block or vocabulary do not fit the model."""
    problems: list[Problem] = []
    positions = find_positions(config)
    if positions is not None and block_size > positions:
        problems.append(
            Problem(
                f"block_size {block_size}",
                rule=f"over the model's {positions:,} positions",
                remedy="lower it, or raise max_position_embeddings by config_overrides",
            )
        )
    try:
        check_vocabulary(config, tokenizer)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)


def _new_model(settings: ModelSettings, config: PreTrainedConfig) -> PreTrainedModel:
    with explained_loading("model_type", settings.model_type):
        return AutoModelForCausalLM.from_config(config, **building_options(settings))


def _continued_model(settings: ModelSettings, config: PreTrainedConfig) -> PreTrainedModel:
    assert settings.model_name_or_path is not None
    checkpoint = find_checkpoint(settings, with_weights=True)
    with explained_loading("model_name_or_path", settings.model_name_or_path):
        return AutoModelForCausalLM.from_pretrained(
            checkpoint,
            config=config,
            use_safetensors=True,
            **building_options(settings),
        )
