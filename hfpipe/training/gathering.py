"""Sharded models as whole ones: what FSDP2 and ZeRO-3 spread over processes, gathered by name, and dealt out again.

A sharded parameter of FSDP2 is a `DTensor`, one of ZeRO-3 is empty and knows its shape; a plain one passes through
unchanged, so one path serves every launch. Gathering and dealing out are collective: every process of the run has to
call them, in the same order.

`torch.distributed.checkpoint.state_dict` gathers the same names and bits from FSDP2, which a test on two processes
holds this module to. It does not take its place: it makes a copy of a tied weight for each of its names, steps an
optimizer that has no state yet, casts moments to the dtype of their weights when it loads them, and under
`broadcast_from_rank0` sends what is no tensor pickled; and ZeRO-3 would need this module all the same.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, cast

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

# torch.compile and activation checkpointing wrap modules, and show in the names of their parameters.
_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")


def is_sharded(network: torch.nn.Module) -> bool:
    """Whether FSDP2 or ZeRO-3 has spread the parameters of `network` over the processes."""
    return is_partitioned(network) or any(isinstance(parameter, DTensor) for parameter in network.parameters())


def is_partitioned(network: torch.nn.Module) -> bool:
    """Whether ZeRO-3 has: it marks the parameters themselves."""
    return any("ds_id" in vars(parameter) for parameter in network.parameters())


def name_parameters(network: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the parameters by the names that the model has without wrappers."""
    return {unwrapped_name(name): parameter for name, parameter in network.named_parameters()}


def unwrapped_name(name: str) -> str:
    """Return the name of a parameter or buffer without what wrappers put into it."""
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def gather_tensor(value: torch.Tensor, *, keep: bool = True) -> torch.Tensor | None:
    """Return the whole of `value` on the CPU; None where `keep` is false, as in processes that do not write."""
    with _whole(value):
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        # what ZeRO-3 has put together is taken apart again
        return whole.detach().to("cpu", copy="ds_id" in vars(value)) if keep else None


def gather_weights(network: torch.nn.Module, *, keep: bool = True) -> dict[str, torch.Tensor]:
    """Return the whole state dict by unwrapped names, on the CPU; empty where `keep` is false."""
    own = {unwrapped_name(name): value for name, value in network.state_dict(keep_vars=True).items()}
    # tied weights stay one tensor, of which a file then has one copy
    wholes = {value: gather_tensor(value, keep=keep) for value in dict.fromkeys(own.values())}
    return {name: whole for name, value in own.items() if (whole := wholes[value]) is not None}


def whole_weights(trainer: "PlannedTrainer") -> dict[str, torch.Tensor] | None:
    """Return the weights to save where the model's own tensors are not whole, else None; every process has to call it.

    They are whole in the process that writes, and empty in the others.
    """
    if not is_sharded(trainer.network):
        return None
    return gather_weights(trainer.network, keep=trainer.args.should_save)


def deal_out(whole: torch.Tensor, like: torch.Tensor, *, source: int | None = None) -> torch.Tensor:
    """Return `whole` as a new tensor, sharded and placed as `like`.

    Without `source` every process holds the same `whole` and takes its part of it; with one, that process's is sent.
    """
    if not isinstance(like, DTensor):
        return whole.to(like.device, copy=True)
    dealt = distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=source)
    return dealt.to(like.device)


@torch.no_grad()
def put_weights(network: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy whole weights, by unwrapped names, into `network`, each process its own part.

    In a sharded network those of the first process count: transformers reads a file there alone, to spare memory.
    """
    own = {unwrapped_name(name): value for name, value in network.state_dict(keep_vars=True).items()}
    assert own.keys() == weights.keys(), "weights of another model were not refused"
    spread = is_sharded(network)
    for name, value in own.items():
        put_tensor(value, weights[name], broadcast=spread)


@torch.no_grad()
def put_tensor(own: torch.Tensor, whole: torch.Tensor, *, broadcast: bool) -> None:
    """Copy `whole` into `own`, each process its part; under `broadcast` the first process's, also where it is plain."""
    with _whole(own, changed_by=0):
        own.copy_(deal_out(whole, own, source=0))
        if broadcast and not isinstance(own, DTensor):
            torch.distributed.broadcast(own.data, src=0)


def whole_shape(value: torch.Tensor) -> torch.Size:
    """Return the shape that `value` has when it is whole."""
    return cast("torch.Size", vars(value)["ds_shape"]) if "ds_id" in vars(value) else value.shape


def _whole(value: torch.Tensor, *, changed_by: int | None = None) -> AbstractContextManager[None]:
    """Hold a parameter of ZeRO-3 whole meanwhile; what the process `changed_by` makes of it is dealt out after that."""
    if "ds_id" not in vars(value):
        return nullcontext()
    # an extra: nothing is partitioned without it
    from deepspeed import zero

    return cast("AbstractContextManager[None]", zero.GatheredParameters([value], modifier_rank=changed_by))
