"""The attention implementation "hfpipe": each mode of a model gets the attention that is fastest there.

Registered with transformers, function and mask function, when `hfpipe.models` is imported. On a device, under
torch.compile and in types of other width it is transformers' own "sdpa" function, argument by argument.
In training on a CPU it is matrix products (`matrix_attention`): 3 to 4 times as fast as torch's
scaled_dot_product_attention with dropout in bfloat16, and 2.5 times without. In float32 without dropout, where only a
long causal mask leaves anything to gain, "sdpa" runs too. Without a gradient it is matrix products where they pay
(`scoring_attention`), and "sdpa" for short texts, masks of documents and float32 of a library that multiplies slowly.

Masks are those of "sdpa": none, or true where a query sees a key. What changes scores in a way this function does not
know is refused, never left out. The name is not in saved configs: transformers writes no attention implementation.
"""

import inspect
import re
import sys
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from hfpipe.config.model_settings import OWN_ATTENTION
from hfpipe.models.dropout import LEVELS, find_level
from hfpipe.models.hardware import find_product_type, plain_float32
from hfpipe.models.matrix_attention import TILE, Options, attend
from hfpipe.models.row_packing import PackedMask
from hfpipe.models.scoring_attention import SHORTEST, attend_scoring, is_padding

NAME = OWN_ATTENTION
# Arguments of attention functions that change what comes out; transformers' sdpa function ignores most of them.
_CHANGING = ("softcap", "s_aux", "sinks", "head_mask", "block_indices", "indices")
# A model whose source treats "sdpa" by its name, or hands one of these arguments to its attention.
_OTHERWISE = re.compile(rf"""_attn_implementation (==|!=|in|not in) .*"sdpa"|\b({"|".join(_CHANGING)})=""")


def register() -> None:
    """Make transformers know the implementation by its name; a second call changes nothing."""
    AttentionInterface.register(NAME, attention_forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def supports(model: PreTrainedModel) -> bool:
    """Tell whether `model` computes the same with this implementation as with "sdpa", each of its parts."""
    return all(_supports_class(type(part)) for part in model.modules() if isinstance(part, PreTrainedModel))


def _supports_class(kind: type[PreTrainedModel]) -> bool:
    if not (kind._supports_sdpa and kind._supports_attention_backend and kind._can_set_attn_implementation()):
        return False
    return _OTHERWISE.search(inspect.getsource(sys.modules[kind.__module__])) is None


def attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | PackedMask | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention (rows, tokens, heads, size) of (rows, heads, tokens, size), as transformers' functions do.

    Of a packed row each bunch is attended to as a batch of its own.

    Raises:
        ValueError: If an argument is given that changes scores in a way this function does not know.
    """
    refused = [name for name in _CHANGING if kwargs.get(name) is not None]
    if refused:
        raise ValueError(f"attn_implementation {NAME}: knows no {', '.join(refused)}; choose 'eager'")
    if isinstance(attention_mask, PackedMask):
        options = {**kwargs, "dropout": dropout, "scaling": scaling}
        return _attend_packed(module, (query, key, value), attention_mask, options), None
    # not every module says so; one that does not is a decoder's, as in transformers
    looks_back = vars(module).get("is_causal", True) if is_causal is None else is_causal
    causal = bool(looks_back) and attention_mask is None
    if not _multiplies(query, key, value, attention_mask, dropout=dropout, causal=causal) or _is_special(kwargs):
        options = {**kwargs, "dropout": dropout, "scaling": scaling, "is_causal": is_causal}
        return _attend_by_torch(module, (query, key, value), attention_mask, options)
    dtype = _computing_type(query)
    shared = query.shape[1] // key.shape[1]
    query, key, value = query.to(dtype), *(repeat_kv(each.to(dtype), shared) for each in (key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if not (causal or dropout or _wants_gradient(query, key, value)):
        return attend_scoring(query, key, value, attention_mask, scale), None
    return attend(query, key, value, attention_mask, Options(causal, scale, find_level(dropout))), None


def _attend_packed(
    module: nn.Module, states: tuple[torch.Tensor, ...], packed: PackedMask, options: dict[str, Any]
) -> torch.Tensor:
    bunches = zip(*(packed.split(each) for each in states), packed.parts, strict=True)
    mixed = [
        attention_forward(module, query, key, value, part.mask, is_causal=part.is_causal, **options)[0]
        for query, key, value, part in bunches
    ]
    return torch.cat([each.flatten(0, 1) for each in mixed]).unsqueeze(0)


def _attend_by_torch(
    module: nn.Module, states: tuple[torch.Tensor, ...], mask: torch.Tensor | None, options: dict[str, Any]
) -> tuple[torch.Tensor, None]:
    query, key, value = states
    # of a GPU it is not asked: it cannot be told there once Trainer has switched TF32 on
    is_slowed = not torch.compiler.is_compiling() and query.is_cpu and find_product_type() == torch.float32
    with plain_float32() if is_slowed else nullcontext():
        return sdpa_attention_forward(module, query, key, value, mask, **options)


def _multiplies(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    dropout: float,
    causal: bool,
) -> bool:
    """Tell whether matrix products are right and fastest: see the module's first lines."""
    if query.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    if mask is not None and (mask.requires_grad or mask.ndim != 4):
        return False
    if key.shape[2] != query.shape[2] or find_level(dropout) == LEVELS:
        return False
    dtype = _computing_type(query)
    if not dropout and not _wants_gradient(query, key, value):
        is_fast = dtype == torch.bfloat16 or (dtype == torch.float32 and find_product_type() == dtype)
        is_long = is_fast and query.shape[2] >= SHORTEST[dtype]
        return is_long and (causal or mask is None or is_padding(mask))
    pays = dtype == torch.bfloat16 or dropout > 0 or (causal and query.shape[2] > 2 * TILE)
    return pays and dtype in (torch.bfloat16, torch.float32)


def _wants_gradient(*tensors: torch.Tensor) -> bool:
    return torch.is_grad_enabled() and any(each.requires_grad for each in tensors)


def _is_special(arguments: dict[str, Any]) -> bool:
    """Tell whether "sdpa" has to see to a bias of positions, a paged cache, or a wish that it answers by a warning."""
    given = any(arguments.get(name) is not None for name in ("position_bias", "cache"))
    return given or bool(arguments.get("output_attentions"))


def _computing_type(query: torch.Tensor) -> torch.dtype:
    """Return the type that autocast gives products; rotary positions hand over float32 beside it."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
