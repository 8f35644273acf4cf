"""Configs of models that begin from random weights: an architecture, a named size, the vocabulary of a tokenizer.

Refused are names that no architecture of the task has. Positions are as many as the rows of the run have tokens.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase

from hfpipe.config import ModelSettings
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.architectures import Classes
from hfpipe.models.limits import find_positions
from hfpipe.models.sizes import find_size
from hfpipe.models.sources import explained_loading
from hfpipe.models.tokenizers import special_ids


def build_config(
    settings: ModelSettings,
    tokenizer: PreTrainedTokenizerBase,
    *,
    positions: int,
    known: Classes,
    task: str,
    fields: Mapping[str, Any],
) -> PreTrainedConfig:
    """Return the config of a model of `settings.model_type` and `model_size`, before its overrides.

    It takes rows of so many `positions`, where it counts them. `fields` are set too, where it has them. `known` are
    the architectures of the `task`, which is named where there is none of that type.

    Raises:
        ConfigError: If there is no such architecture, or it does not come in this size.
    """
    _check_type(settings.model_type, known, task)
    wanted: dict[str, Any] = {
        **find_size(settings.model_type, settings.model_size),
        "vocab_size": len(tokenizer),
        "max_position_embeddings": positions,
        **special_ids(tokenizer),
        **fields,
    }
    blank = AutoConfig.for_model(settings.model_type)
    names = set(blank.to_dict()) | set(blank.attribute_map)
    own = {name: value for name, value in wanted.items() if name in names}
    with explained_loading("model_type", settings.model_type):
        config = AutoConfig.for_model(settings.model_type, **own)
    fitting = find_positions(config)
    if fitting is not None and fitting < positions:
        # some count positions from behind the padding id
        config.max_position_embeddings = positions + (positions - fitting)
    return config


def _check_type(model_type: str, known: Classes, task: str) -> None:
    if model_type in known:
        return
    candidates = {name.removeprefix("hfpipe_"): name for name in known} | {name: name for name in known}
    close = difflib.get_close_matches(model_type.lower(), candidates, n=1)
    remedy = f"did you mean '{candidates[close[0]]}'?" if close else "give the model_type of a config.json"
    raise ConfigError(Problem("model_type", model_type, f"no {task} of this name in transformers or hfpipe", remedy))
