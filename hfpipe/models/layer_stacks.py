"""The stack of layers of a model, and whether the model still computes the same where layers are run another way.

What a model does with its layers is asked of the model, on four short texts, not of its name.
"""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

MASK = "attention_mask"
PROBE_LENGTHS = (7, 3, 5, 3)
PROBE_TOLERANCE = 1e-4
"""Relative, in float32; states of a text that sees another one, or wrong positions, differ by tens of percent."""
MIXED_TOLERANCE = 3e-2
"""The same in types of 16 bits."""
# what a model raises that does with a mask or with rows what cannot be done with others
_UNUSABLE = (RuntimeError, ValueError, LookupError, TypeError, AttributeError)


class Unsuited(Exception):
    """Why layers cannot be run another way; the message follows "the layers of this model"."""


def find_stack(model: nn.Module) -> tuple[PreTrainedModel, nn.ModuleList]:
    """Return the one stack of layers, and the innermost model that has it.

    Raises:
        Unsuited: If there is none, or several.
    """
    stacks = [part for part in model.modules() if isinstance(part, nn.ModuleList) and _is_stack(part)]
    if len(stacks) != 1:
        raise Unsuited("are no stack of transformers' layers" if not stacks else f"are {len(stacks)} stacks")
    owners = [part for part in model.modules() if isinstance(part, PreTrainedModel) and stacks[0] in part.modules()]
    return owners[-1], stacks[0]


def _is_stack(layers: nn.ModuleList) -> bool:
    return len(layers) > 0 and all(isinstance(layer, GradientCheckpointingLayer) for layer in layers)


def probe(model: nn.Module, owner: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the states (tokens, width) of a few texts and the logits (texts, labels), without dropout.

    Raises:
        Unsuited: If `model` fails on them.
    """
    config = owner.config.get_text_config()
    lengths = torch.tensor(PROBE_LENGTHS)[:, None]
    places = torch.arange(max(PROBE_LENGTHS))
    is_token = places < lengths
    padding = config.pad_token_id or 0
    # ids from the padding's on, so that none is the padding
    ids = (padding + 1 + (7 * places + lengths) % (config.vocab_size - 1)) % config.vocab_size
    ids = torch.where(is_token, ids, padding).to(owner.device)
    given = {"input_ids": ids, MASK: is_token.long().to(owner.device)}
    was_training = model.training
    try:
        with torch.enable_grad(), torch.autocast("cuda", torch.bfloat16, enabled=owner.device.type == "cuda"):
            model.eval()
            states, logits = owner(**given)[0], model(**given).logits
            return states.detach()[is_token.to(states.device)].float(), logits.detach().float()
    except _UNUSABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Unsuited(f"fail on a few texts: {reason}") from error
    finally:
        model.train(was_training)


def compare(plain: Sequence[torch.Tensor], other: Sequence[torch.Tensor], *, owner: PreTrainedModel, way: str) -> None:
    """Return once results of `probe`, or some of them, are the same but for rounding; `way` names the other way.

    Raises:
        Unsuited: If they are not.
    """
    is_exact = owner.device.type == "cpu" and owner.dtype == torch.float32
    tolerance = PROBE_TOLERANCE if is_exact else MIXED_TOLERANCE
    for one, another in zip(plain, other, strict=True):
        difference = (one - another).abs().max()
        if not bool(difference <= tolerance * one.abs().max()):
            raise Unsuited(f"compute otherwise {way} (by {difference.item():.2g})")
