"""Continuations of prompts by a causal language model, the same again for the same seed.

Refuses sampling settings out of range and an empty prompt where the tokenizer has no token to begin a text with.
The decision worth knowing: each prompt is continued by itself under the seed, and the process's own random state is
left as it was, so neither other prompts nor a training run around it change, or are changed by, what is drawn.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from hfpipe.errors import ConfigError, Problem
from hfpipe.models.limits import find_positions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GenerationSettings:
    """How a prompt is continued; `temperature` 0 takes the likeliest token each time.

    Raises:
        ConfigError: If a value is out of range.
    """

    max_new_tokens: int = 60
    temperature: float = 0.8
    top_p: float = 0.95
    seed: int = 42

    def __post_init__(self) -> None:
        problems = []
        if self.max_new_tokens < 1:
            problems.append(Problem("max_new_tokens", f"{self.max_new_tokens:,}", "must be at least 1"))
        if not 0 <= self.temperature < float("inf"):
            problems.append(Problem("temperature", f"{self.temperature}", "must be 0 (greedy) or above, and finite"))
        if not 0 < self.top_p <= 1:
            problems.append(Problem("top_p", f"{self.top_p}", "must be above 0 and at most 1"))
        if not 0 <= self.seed < 2**32:
            problems.append(Problem("seed", f"{self.seed}", "must be between 0 and 4,294,967,295"))
        if problems:
            raise ConfigError(problems)


def continue_prompts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    settings: GenerationSettings,
) -> list[str]:
    """Return each prompt followed by its continuation, which ends at the model's end-of-text token.

    A prompt is cut from the left, with a warning, where the model's positions do not hold it and the new tokens.
    The model must be in evaluation mode.

    Raises:
        ConfigError: If a prompt is empty and the tokenizer has no token to begin a text with.
    """
    assert not model.training, "dropout would make the continuations random: call model.eval()"
    return [prompt + _continue(model, tokenizer, prompt, settings) for prompt in prompts]


def _continue(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, settings: GenerationSettings
) -> str:
    positions = find_positions(model.config.get_text_config())
    new_tokens = settings.max_new_tokens if positions is None else min(settings.max_new_tokens, positions - 1)
    prompt_ids = _encode(tokenizer, prompt)
    if positions is not None:
        prompt_ids = _fit(prompt_ids, positions - new_tokens)
    generation = _generation_config(model, tokenizer, settings, new_tokens)
    input_ids = torch.tensor([prompt_ids], device=model.device)
    generator: Any = model  # only some classes have generate, those load_generator returns
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        output = generator.generate(
            input_ids=input_ids, attention_mask=torch.ones_like(input_ids), generation_config=generation
        )
    return _decode_new(tokenizer, prompt_ids, output[0, len(prompt_ids) :].tolist())


def _encode(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    ids: list[int] = tokenizer(prompt, truncation=False, padding=False, verbose=False)["input_ids"]
    if prompt and ids and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]  # some tokenizers close every text; after an end there is nothing to continue
    if ids:
        return ids
    beginning = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    if beginning is None:
        rule = "the tokenizer has no token to begin a text with"
        raise ConfigError(Problem("prompt", repr(prompt), rule, "give a prompt of at least one character"))
    return [beginning]


def _fit(prompt_ids: list[int], room: int) -> list[int]:
    excess = len(prompt_ids) - room
    if excess <= 0:
        return prompt_ids
    logger.warning(
        "prompt of %s tokens: the model has room for %s before the continuation; the first %s do not count",
        *(f"{count:,}" for count in (len(prompt_ids), room, excess)),
    )
    return prompt_ids[excess:]


def _generation_config(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: GenerationSettings, new_tokens: int
) -> GenerationConfig:
    own = model.generation_config
    end = tokenizer.eos_token_id if own is None or own.eos_token_id is None else own.eos_token_id
    padding = end[0] if isinstance(end, list) else end  # one prompt at a time is never padded, but generate asks
    sampling: dict[str, bool | int | float] = {"do_sample": False}
    if settings.temperature > 0:
        # top_k 0: transformers would otherwise also keep to the 50 likeliest tokens.
        sampling = {"do_sample": True, "temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
    return GenerationConfig(max_new_tokens=new_tokens, eos_token_id=end, pad_token_id=padding, **sampling)


def _decode_new(tokenizer: PreTrainedTokenizerBase, prompt_ids: list[int], new_ids: list[int]) -> str:
    """Return the text that `new_ids` add: decoded alone, many tokenizers drop the space a text begins with."""
    before = _decode(tokenizer, prompt_ids)
    whole = _decode(tokenizer, prompt_ids + new_ids)
    return whole[len(before) :] if whole.startswith(before) else _decode(tokenizer, new_ids)


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
