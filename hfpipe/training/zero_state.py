"""The optimizer state of DeepSpeed's ZeRO by the names of parameters, without its pickled checkpoints.

ZeRO flattens a group of parameters, gives each process one piece of it (stages 1 and 2) or of each parameter (stage 3),
and keeps weights in float32 beside lower precision. Here each parameter's part is put together, in every process alike,
and cut up again on loading. Refuses states that are not as long as the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hfpipe.errors import CheckpointError, Problem
from hfpipe.training.gathering import is_partitioned, name_parameters
from hfpipe.training.state_files import damaged

# Float32 weights beside those of lower precision: part of the state, or a resumed run would begin from rounded ones.
MASTER = "float32"
_SCALER_FIELDS = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")


@dataclass(frozen=True)
class _Member:
    """A parameter that ZeRO trains, and what of it lies in `flat`, this process's piece of several parameters.

    `length` values from `start` on, which are those of the whole parameter from `whole_start` on; none where 0.
    """

    parameter: torch.nn.Parameter
    shape: torch.Size
    flat: torch.Tensor
    start: int
    whole_start: int
    length: int
    group: Any

    def join(self, piece: torch.Tensor, *, keep: bool) -> torch.Tensor | None:
        """Return the parameter's values from the pieces like `flat` of all processes; each value is in one of them."""
        # under offload the pieces are on the CPU, where NCCL does not reach
        whole = torch.zeros(self.shape.numel(), dtype=piece.dtype, device=self.parameter.device)
        whole.narrow(0, self.whole_start, self.length).copy_(piece.detach().narrow(0, self.start, self.length))
        torch.distributed.all_reduce(whole, group=self.group)
        return whole.view(self.shape).cpu() if keep else None

    def cut(self, whole: torch.Tensor, piece: torch.Tensor) -> None:
        """Copy the part of `whole` that this process keeps into `piece`, where ZeRO has put it."""
        values = whole.flatten().narrow(0, self.whole_start, self.length)
        piece.narrow(0, self.start, self.length).copy_(values.to(piece.dtype))


def collect_zero_state(network: torch.nn.Module, zero: Any, *, keep: bool = True) -> dict[str, Any]:
    """Return the whole state of a ZeRO optimizer as a tree; every process has to call it, tensors come where `keep`.

    Raises:
        CheckpointError: If a state is not as long as the weights it belongs to.
    """
    states: dict[str, dict[str, Any]] = {}
    for name, member in _members(network, zero).items():
        state: dict[str, Any] = {}
        for key, value in zero.optimizer.state[member.flat].items():
            if isinstance(value, torch.Tensor) and value.shape == member.flat.shape:
                state[key] = member.join(value, keep=keep)
            elif isinstance(value, torch.Tensor) and value.ndim:
                rule = f"ZeRO keeps its {key} in pieces of another shape, which cannot be put together"
                remedy = "choose another optim, or launch without DeepSpeed"
                raise CheckpointError(Problem(f"optimizer {type(zero.optimizer).__name__}", name, rule, remedy))
            else:
                state[key] = value
        if member.parameter.dtype != torch.float32:
            state[MASTER] = member.join(member.flat, keep=keep)
        states[name] = state
    return {
        "optimizer": type(zero.optimizer).__name__,
        "param_groups": [_options(group) for group in zero.optimizer.param_groups],
        "loss_scaler": _read_scaler(zero),
        "state": states,
    }


@torch.no_grad()
def restore_zero_state(network: torch.nn.Module, zero: Any, saved: Any, *, place: Path) -> None:
    """Cut what `collect_zero_state` returned up again; the weights of `network` have to be those of the checkpoint.

    Raises:
        CheckpointError: If it is the state of another optimizer or of other parameters.
    """
    _check(saved, network, zero, place)
    zero.refresh_fp32_params()
    zero.optimizer.state.clear()
    for name, member in _members(network, zero).items():
        flat = member.flat.data
        pieces = zero.optimizer.state[member.flat]
        for key, value in saved["state"][name].items():
            if isinstance(value, torch.Tensor) and value.shape == member.shape:
                member.cut(value, flat if key == MASTER else pieces.setdefault(key, torch.zeros_like(flat)))
            else:
                pieces[key] = value.clone() if isinstance(value, torch.Tensor) else value
    for group, options in zip(zero.optimizer.param_groups, saved["param_groups"], strict=True):
        group.update(options)
    for field, value in saved["loss_scaler"].items():
        setattr(zero.loss_scaler, field, value)


def _members(network: torch.nn.Module, zero: Any) -> dict[str, _Member]:
    """Return all that ZeRO trains by the names that the model has for it."""
    names = {parameter: name for name, parameter in name_parameters(network).items()}
    if is_partitioned(network):
        return {names[each]: _of_stage_3(each, zero) for members in zero.fp16_groups for each in members}
    groups = zip(zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True)
    return {names[each]: _of_stage_2(each, flat) for members, flat in groups for each in members}


def _of_stage_2(parameter: Any, flat: torch.Tensor) -> _Member:
    mapping, group = parameter._hp_mapping, parameter._dp_group
    if mapping is None:
        return _Member(parameter, parameter.shape, flat, start=0, whole_start=0, length=0, group=group)
    piece, whole = mapping.hp_fragment_address, mapping.lp_fragment_address
    return _Member(parameter, parameter.shape, flat, piece.start, whole.start, length=piece.numel, group=group)


def _of_stage_3(parameter: Any, zero: Any) -> _Member:
    """All processes keep equally many values of each parameter; past its end they are filled up."""
    index, start, length = zero.grad_position[zero.get_param_id(parameter)]
    group = parameter.ds_process_group
    shape, flat = parameter.ds_shape, zero.fp32_partitioned_groups_flat[index]
    whole_start = min(length * torch.distributed.get_rank(group), shape.numel())
    length = min(length, shape.numel() - whole_start)
    return _Member(parameter, shape, flat, start, whole_start, length=length, group=group)


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}


def _read_scaler(zero: Any) -> dict[str, Any]:
    """Return what the dynamic loss scaler of fp16 has counted; nothing where the scale is fixed."""
    return {field: getattr(zero.loss_scaler, field) for field in _SCALER_FIELDS} if zero.dynamic_loss_scale else {}


def _check(saved: Any, network: torch.nn.Module, zero: Any, place: Path) -> None:
    if not isinstance(saved, dict) or saved.keys() != {"optimizer", "param_groups", "loss_scaler", "state"}:
        raise damaged(place, "is not the state of an optimizer under DeepSpeed")
    own = type(zero.optimizer).__name__
    if saved["optimizer"] != own:
        raise damaged(place, f"this run's optimizer is {own}", saved["optimizer"])
    members = _members(network, zero)
    for name in sorted(saved["state"].keys() ^ members.keys()):
        raise damaged(place, "is in only one of the checkpoint and this run's optimizer", name)
    for name, state in saved["state"].items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.ndim and value.shape != members[name].shape:
                rule = f"has the shape {list(value.shape)}, its parameter {list(members[name].shape)}"
                raise damaged(place, rule, f"{name}: {key}")
    mine = [_options(group).keys() for group in zero.optimizer.param_groups]
    if [group.keys() for group in saved["param_groups"]] != mine or saved["loss_scaler"].keys() != _read_scaler(
        zero
    ).keys():
        raise damaged(place, "its groups or its loss scaler are not those of this run's optimizer")
