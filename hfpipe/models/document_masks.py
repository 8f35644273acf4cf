"""Documents of one block kept apart: asked of every model before it trains so, because some do not listen.

transformers masks documents from each other where positions begin anew, if there is neither a cache nor an attention
mask; architectures that look back without attention, or make masks of their own, read on across the border, and their
loss says nothing of it. So the model is shown a block of two documents: the second must not know what the first says.
"""

import torch
from transformers import PreTrainedModel

from hfpipe.config import ModelSettings
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.limits import find_positions

KEY = "cross_document_attention: false"
PROBE_TOKENS = 8
PROBE_TOLERANCE = 1e-4
_FLASH = "flash_attention"


def check_document_masks(settings: ModelSettings, model: PreTrainedModel) -> None:
    """Raise a ConfigError where a document of a block changes what `model` says of the next, training or scoring.

    No random numbers are drawn.
    """
    attention = str(model.config._attn_implementation)
    if attention.startswith(_FLASH):
        rule = f"attn_implementation: {attention} tells documents apart only where a batch is one row"
        raise ConfigError(Problem(KEY, rule=rule, remedy="choose sdpa or flex_attention"))
    name = settings.model_name_or_path or settings.model_type
    length = min(PROBE_TOKENS, find_positions(model.config) or PROBE_TOKENS)
    remedy = "choose another architecture, or let documents of a block attend to each other"
    for training in (False, True):
        try:
            one, other = (_probe(model, first=token, length=length, training=training) for token in (1, 2))
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(Problem(KEY, str(name), f"takes no positions: {reason}", remedy)) from error
        tolerance = max(PROBE_TOLERANCE, torch.finfo(model.dtype).eps * one.abs().max().item())
        difference = (one - other)[:, length // 2 :].abs().max().item()
        if not difference <= tolerance:
            rule = f"has no document masks: a document changes what it says of the next (by {difference:.2g})"
            raise ConfigError(Problem(KEY, str(name), rule, remedy))


def _probe(model: PreTrainedModel, *, first: int, length: int, training: bool) -> torch.Tensor:
    """Return the logits (2, length, vocabulary) of blocks of two documents, the first of one token over and over."""
    half = length // 2
    row = torch.tensor([first] * half + [3] * (length - half)).expand(2, -1).to(model.device)
    positions = torch.cat([torch.arange(half), torch.arange(length - half)]).expand(2, -1).to(model.device)
    was_training = model.training
    try:
        devices = [model.device] if model.device.type == "cuda" else []
        # kernels of training may differ from those without gradients
        with torch.random.fork_rng(devices=devices), torch.set_grad_enabled(training):
            torch.manual_seed(0)  # the same dropout both times
            outputs = model.train(training)(input_ids=row, position_ids=positions, use_cache=False)
            return outputs.logits.float().detach()
    finally:
        model.train(was_training)
