"""Weights of linear layers laid out once as oneDNN multiplies by them, for as long as many batches are scored.

A layer otherwise has its weight laid out anew for each batch, and its bias copied into the whole output before: a
fifth of the time of a product, in float32 and in bfloat16. The numbers are the same to the bit. Nothing is done where
another library multiplies, on a device, or for layers that are no plain linear ones. The weights are there twice
meanwhile, those of the layers in the type of the products.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from hfpipe.models.hardware import find_product_type

_SMALLEST = 1 << 14  # weights; a head of two labels gains nothing


@contextmanager
def prepacked(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Have the linear layers of `model` multiply by laid-out weights in the block, which must not change them.

    What autocast and the float32 precision of products are when the block begins decides on the type; where a layer is
    called under others, or with a gradient, it computes as ever.
    """
    dtype = find_product_type()
    if device.type != "cpu" or dtype not in (torch.bfloat16, torch.float32) or not torch.backends.mkldnn.is_available():
        yield
        return
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and _is_plain(layer)]
    try:
        for layer in layers:
            layer.forward = _multiply_by(layer, dtype)  # type: ignore[assignment, method-assign]
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _is_plain(layer: nn.Linear) -> bool:
    is_whole = layer.weight.dtype == torch.float32 and layer.weight.numel() >= _SMALLEST
    return type(layer) is nn.Linear and is_whole and "forward" not in vars(layer)


def _multiply_by(layer: nn.Linear, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    bias = None if layer.bias is None else layer.bias.detach().to(dtype)
    laid_out = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().to(dtype), None)

    def forward(values: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or find_product_type() != dtype or not values.numel():
            return functional.linear(values, layer.weight, layer.bias)
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(values.to(dtype), laid_out, bias, "none", [], "")
        return product

    return forward
