"""Layers that compute no padding: a batch is packed before a model's first layer and unpacked after its last.

Embeddings, positions, final norm, pooling and head see the padded batch as ever; in between its rows are one row of
tokens (`row_packing`). That is done in hooks of the layers, where a gradient is wanted and there is padding. Without
a gradient nothing changes. No parameter, no name of one and nothing that is saved changes either.

It wants one stack of transformers' layers, and attention that keeps the texts apart: "hfpipe", or FlashAttention by
boundaries. Whether a model computes the same so is asked of the model (`find_obstacle`), not of its name.
"""

import inspect
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpipe.config.model_settings import OWN_ATTENTION
from hfpipe.models.row_packing import Packing

FLASH = "flash_attention_2"
MASK = "attention_mask"
STATES = "hidden_states"
PAYS_FROM = 0.15
"""Padding of the batches of a run, as a share, from which packing saves time on a CPU (MiniLM, bf16; 2026-11-23)."""
MULTIPLE_OF = 16
"""Positions of a row on a CPU: fewer sizes of tensors, so that freed memory fits what comes next, and fewer lengths."""
PROBE_LENGTHS = (7, 3, 5, 3)
PROBE_TOLERANCE = 1e-4
"""Relative, in float32; states of a text that sees another one, or wrong positions, differ by tens of percent."""
MIXED_TOLERANCE = 3e-2
"""The same in types of 16 bits."""
# what a model raises that does with a mask or with rows what cannot be done with packed ones
_UNUSABLE = (RuntimeError, ValueError, LookupError, TypeError, AttributeError)


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


class CannotPack(Exception):
    """Why a model's layers cannot be run on packed rows; the message follows "the layers of this model"."""


def pack_layers(model: nn.Module) -> PackedLayers:
    """Have the layers of `model` compute no padding in training, and return the hooks that see to it.

    The model may be wrapped by adapters, and on a GPU it has to be there. No random numbers are drawn.

    Raises:
        CannotPack: If `model` computes otherwise so, or not at all; it is left as it was.
    """
    owner, layers = _find_stack(model)
    if owner.config._attn_implementation not in (OWN_ATTENTION, FLASH):
        raise CannotPack(f"have attention {owner.config._attn_implementation}")
    dropped = [key for key, rate in owner.config.to_dict().items() if key.endswith("layerdrop") and rate]
    if dropped:
        raise CannotPack(f"are left out at random ({dropped[0]})")
    if MASK not in inspect.signature(type(layers[0]).forward).parameters:
        raise CannotPack(f"take no {MASK}")
    plain = _probe(model, owner)
    hooks = PackedLayers(owner, layers)
    try:
        packed = _probe(model, owner)
        if hooks.packing is None:
            raise CannotPack("get no mask of padding")
        is_exact = owner.device.type == "cpu" and owner.dtype == torch.float32
        _compare(plain, packed, tolerance=PROBE_TOLERANCE if is_exact else MIXED_TOLERANCE)
    except CannotPack:
        hooks.remove()
        raise
    return hooks


def _find_stack(model: nn.Module) -> tuple[PreTrainedModel, nn.ModuleList]:
    """Return the one stack of layers, and the innermost model that has it."""
    stacks = [part for part in model.modules() if isinstance(part, nn.ModuleList) and _is_stack(part)]
    if len(stacks) != 1:
        raise CannotPack("are no stack of transformers' layers" if not stacks else f"are {len(stacks)} stacks")
    owners = [part for part in model.modules() if isinstance(part, PreTrainedModel) and stacks[0] in part.modules()]
    return owners[-1], stacks[0]


def _is_stack(layers: nn.ModuleList) -> bool:
    return len(layers) > 0 and all(isinstance(layer, GradientCheckpointingLayer) for layer in layers)


def _probe(model: nn.Module, owner: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the states (tokens, width) of a few texts and the logits (texts, labels), without dropout."""
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
        raise CannotPack(f"fail on a few texts: {reason}") from error
    finally:
        model.train(was_training)


def _compare(plain: tuple[torch.Tensor, ...], packed: tuple[torch.Tensor, ...], *, tolerance: float) -> None:
    for one, other in zip(plain, packed, strict=True):
        difference = (one - other).abs().max()
        if not bool(difference <= tolerance * one.abs().max()):
            raise CannotPack(f"compute otherwise without padding (by {difference.item():.2g})")
