"""What a model computes for a token, and what a machine computes at most: the two sides of model FLOPs utilisation.

Counted as in PaLM (Chowdhery et al. 2022, appendix B): two operations for each parameter that a token is multiplied by,
as many again for the gradient of its input, and again for that of the parameter where it is trained; and in each layer,
twice, 2 x hidden for each pair of tokens that attention compares. What is computed anew to save memory does not count,
nor does padding. A causal model is charged for all pairs, as everybody does.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from hfpipe.models.hardware import fast_float32
from hfpipe.models.pooled_layer import find_pooled

PROBE_SECONDS = 0.3
_SIDE = {"cpu": 1_024}
_SIDE_ELSEWHERE = 8_192

GPU_LIMITS: Mapping[str, float] = {
    "B200": 2.25e15,
    "H200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "MI300X": 1.3e15,
}
"""Operations a second of dense products in bfloat16, from the makers' data sheets, by a part of the device's name."""


@dataclass(frozen=True)
class TokenCost:
    """Floating-point operations of a training step: for each token, and for each pair of tokens of one text."""

    per_token: float
    per_pair: float

    def of(self, tokens: float, pairs: float) -> float:
        """Return the operations of so many tokens in texts of so many pairs, squares of lengths summed."""
        return self.per_token * tokens + self.per_pair * pairs


def count_token_cost(model: PreTrainedModel) -> TokenCost:
    """Return what a token costs in training; parameters have to be whole, as before a model is sharded.

    The embedding of the input is looked up, not multiplied; a head that shares its weights is multiplied. A last layer
    that is computed for one token of a text (`pooled_layer`) costs its keys and values.
    """
    multiplied = model.num_parameters(exclude_embeddings=True)
    trained = model.num_parameters(only_trainable=True, exclude_embeddings=True)
    pooled = find_pooled(model)
    for parameter in pooled.form.find_unread(pooled.layer) if pooled else ():
        multiplied -= parameter.numel()
        trained -= parameter.numel() * parameter.requires_grad
    head: Any = model.get_output_embeddings()
    embedding: Any = model.get_input_embeddings()
    if head is not None and head.weight is embedding.weight:
        multiplied += head.weight.numel()
        trained += head.weight.numel() * head.weight.requires_grad
    cost = _count_pair_cost(model.config.get_text_config(), but=1 if pooled else 0)
    return TokenCost(4.0 * multiplied + 2.0 * trained, cost)


def _count_pair_cost(config: PreTrainedConfig, *, but: int) -> float:
    """Return 12 x layers x hidden, the scores and the sums of values, forward and backward; 0 without attention.

    `but` is how many of the layers do not compare all pairs.
    """
    fields, names = config.to_dict(), config.attribute_map
    layers, hidden, heads = (
        fields.get(names.get(name, name)) for name in ("num_hidden_layers", "hidden_size", "num_attention_heads")
    )
    return 12.0 * (layers - but) * hidden if layers and hidden and heads else 0.0


def find_gpu_limit(name: str, dtype: torch.dtype) -> float | None:
    """Return the operations a second of a GPU of this name; None where they are not known, as for all but 16 bits."""
    if dtype not in (torch.bfloat16, torch.float16):
        return None
    return next((limit for known, limit in GPU_LIMITS.items() if known.lower() in name.lower()), None)


def probe_limit(device: torch.device, dtype: torch.dtype, *, seconds: float = PROBE_SECONDS) -> float:
    """Return the operations a second of products of large matrices, measured now; random numbers stay as they are.

    Of float32 on a CPU those of the faster library, whichever of them a run multiplies by.
    """
    side = _SIDE.get(device.type, _SIDE_ELSEWHERE)
    generator = torch.Generator(device).manual_seed(0)
    one, other = (torch.randn(side, side, generator=generator, device=device).to(dtype) for _ in range(2))
    with fast_float32(device):
        product = one @ other
        _wait(device)
        began = before = time.perf_counter()
        fastest = math.inf  # on a machine with other work the mean would be no limit
        while before - began < seconds:
            torch.mm(one, other, out=product)
            _wait(device)
            now = time.perf_counter()
            fastest, before = min(fastest, now - before), now
    return 2.0 * side**3 / fastest


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
