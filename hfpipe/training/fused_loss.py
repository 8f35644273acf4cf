"""The loss of a language model computed inside its head, where that gives what its logits would give.

Whether it does is asked of the model once, on a few tokens: a model that scales or bends its logits after the head, or
has more than one, gives another loss there and keeps its logits. No random numbers are drawn for it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from hfpipe.inference.forward import run_model
from hfpipe.models.fused_head import FusedHead, FusedLosses, find_plain_head
from hfpipe.models.windows import MEAN
from hfpipe.training.objectives import CausalLMObjective, Objective

PROBE_ROWS, PROBE_TOKENS = 2, 6
PROBE_TOLERANCE = 1e-3
"""Relative; a loss over other logits differs by tens of percent, and bfloat16 rounds both ways alike."""

# what a model raises that does with logits what cannot be done with losses, as to take some entries of the vocabulary
_UNUSABLE = (RuntimeError, ValueError, IndexError, TypeError)


def run_fused(
    head: FusedHead,
    model: Callable[..., Any],
    inputs: Mapping[str, torch.Tensor],
    *,
    labels: torch.Tensor,
    objective: Objective,
) -> FusedLosses:
    """Return the loss of a micro-batch under `objective`: summed where gradients are wanted, else by row."""
    assert isinstance(objective, CausalLMObjective), "only language models have such a head"
    by_row = not torch.is_grad_enabled()
    with head.scoring(labels, label_smoothing=objective.label_smoothing, by_row=by_row):
        return FusedLosses(run_model(model, inputs, rows=len(labels), pooling=MEAN).logits)


def find_fused_head(model: PreTrainedModel) -> FusedHead | None:
    """Return the head of `model` as one that can give losses, None where they would not be those of its logits."""
    plain = find_plain_head(model)
    if plain is None:
        return None
    head = FusedHead(plain)
    return head if _gives_same_losses(head, model) else None


@torch.no_grad()
def _gives_same_losses(head: FusedHead, model: PreTrainedModel) -> bool:
    count, objective = head.head.out_features, CausalLMObjective()
    tokens = torch.arange(PROBE_ROWS * PROBE_TOKENS, device=model.device).view(PROBE_ROWS, PROBE_TOKENS)
    labels = (3 + 7 * tokens) % count
    was_training = model.training
    model.eval()
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        plain = objective.row_losses(model(input_ids=labels), labels)
        try:
            fused = run_fused(head, model, {"input_ids": labels}, labels=labels, objective=objective).losses
        except _UNUSABLE:
            return False
        finally:
            model.train(was_training)
    is_used = head.passes == 1 and fused.shape == plain.shape
    return is_used and torch.allclose(fused.float(), plain, rtol=PROBE_TOLERANCE)
