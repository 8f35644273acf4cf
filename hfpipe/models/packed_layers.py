"""Layers that compute no padding: a batch is packed before a model's first layer and unpacked after its last.

Embeddings, positions, final norm, pooling and head see the padded batch as ever; in between its rows are one row of
tokens (`row_packing`). That is done in hooks of the layers, where a gradient is wanted and there is padding. Without
a gradient nothing changes. No parameter, no name of one and nothing that is saved changes either.

It wants one stack of transformers' layers, and attention that keeps the texts apart: "hfpipe", or FlashAttention by
boundaries. Whether a model computes the same so is asked of the model (`layer_stacks`), not of its name.
"""

import inspect
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from hfpipe.config.model_settings import OWN_ATTENTION
from hfpipe.models.layer_stacks import MASK, Unsuited, compare, find_stack, probe
from hfpipe.models.pooled_layer import find_pooled
from hfpipe.models.row_packing import Packing

FLASH = "flash_attention_2"
STATES = "hidden_states"
PAYS_FROM = 0.15
"""Padding of the batches of a run, as a share, from which packing saves time on a CPU (MiniLM, bf16; 2026-11-23)."""
MULTIPLE_OF = 16
"""Positions of a row on a CPU: fewer sizes of tensors, so that freed memory fits what comes next, and fewer lengths."""


class PackedLayers:
    """The hooks of one model; `packing` is that of its last batch, None where that was not packed.

    It stays until the next batch: layers that are computed anew in backward want it, too.
    """

    def __init__(self, model: PreTrainedModel, layers: nn.ModuleList) -> None:
        """Put the hooks on `layers` of `model`, the model that makes their masks and calls them."""
        self.packing: Packing | None = None
        self.by_boundaries = model.config._attn_implementation == FLASH
        names = list(inspect.signature(type(layers[0]).forward).parameters)[1:]
        self.places = {name: place for place, name in enumerate(names)}
        self.handles = [model.register_forward_pre_hook(self.begin, with_kwargs=True)]
        for layer in layers:
            enter = self.enter_first if layer is layers[0] else self.enter
            self.handles.append(layer.register_forward_pre_hook(enter, with_kwargs=True))
        self.handles.append(layers[-1].register_forward_hook(self.leave))

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self.handles:
            handle.remove()

    def begin(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Decide whether this batch is packed, and how."""
        mask = kwargs.get(MASK)
        packs = torch.is_grad_enabled() and not torch.compiler.is_compiling()
        self.packing = None
        if packs and isinstance(mask, torch.Tensor) and mask.ndim == 2 and not bool(mask.all()):
            self.packing = Packing(mask, multiple_of=1 if self.by_boundaries else MULTIPLE_OF)

    def enter_first(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Return the arguments of the first layer, its states packed."""
        if self.packing is None:
            return None
        if args:
            args = (self.packing.pack(args[0]), *args[1:])
        else:
            kwargs = {**kwargs, STATES: self.packing.pack(kwargs[STATES])}
        return self.enter(layer, args, kwargs)

    def enter(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Return the arguments of a layer, its mask that of the packed row, and what it has of positions packed."""
        if self.packing is None:
            return None
        place = self.places[MASK]
        others = [self._pack(self.packing, value) for value in args[1:]]
        given = {name: value if name == STATES else self._pack(self.packing, value) for name, value in kwargs.items()}
        mask = args[place] if place < len(args) else kwargs[MASK]
        packed: Any = None
        if self.by_boundaries:
            ends, longest = self.packing.boundaries
            given |= {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}
        else:
            packed = self.packing.pack_mask(mask)
        if place < len(args):
            others[place - 1] = packed
        else:
            given[MASK] = packed
        return (*args[:1], *others), given

    def leave(self, layer: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Return the output of the last layer as that of a padded batch."""
        if self.packing is None:
            return None
        if isinstance(output, tuple):
            return (self.packing.unpack(output[0]), *output[1:])
        return self.packing.unpack(output)

    def _pack(self, packing: Packing, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and packing.fits(value):
            return packing.pack_once(value)
        if isinstance(value, tuple):
            return tuple(self._pack(packing, each) for each in value)
        return value


def pack_layers(model: nn.Module) -> PackedLayers:
    """Have the layers of `model` compute no padding in training, and return the hooks that see to it.

    The model may be wrapped by adapters, and on a GPU it has to be there. No random numbers are drawn.

    Raises:
        Unsuited: If `model` computes otherwise so, or not at all; it is left as it was.
    """
    owner, layers = find_stack(model)
    if find_pooled(layers[-1]):
        layers = layers[:-1]  # its queries are no rows of tokens
    if not layers:
        raise Unsuited("are a single one, which is computed for one token")
    if owner.config._attn_implementation not in (OWN_ATTENTION, FLASH):
        raise Unsuited(f"have attention {owner.config._attn_implementation}")
    dropped = [key for key, rate in owner.config.to_dict().items() if key.endswith("layerdrop") and rate]
    if dropped:
        raise Unsuited(f"are left out at random ({dropped[0]})")
    if MASK not in inspect.signature(type(layers[0]).forward).parameters:
        raise Unsuited(f"take no {MASK}")
    plain = probe(model, owner)
    hooks = PackedLayers(owner, layers)
    try:
        packed = probe(model, owner)
        if hooks.packing is None:
            raise Unsuited("get no mask of padding")
        compare(plain, packed, owner=owner, way="without padding")
    except Unsuited:
        hooks.remove()
        raise
    return hooks
