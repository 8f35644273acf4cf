"""The optimizer state of DeepSpeed's ZeRO stages 1 and 2 by the names of parameters, without its pickled checkpoints.

ZeRO flattens a group of parameters, gives each process one piece, and keeps weights in float32 beside lower precision.
Here each parameter's part is put together, in every process alike, and cut up again on loading. Refuses stage 3, whose
parameters themselves are in pieces, and states that are not as long as the weights.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from hfpipe.errors import CheckpointError, Problem, TrainingError
from hfpipe.training.gathering import name_parameters
from hfpipe.training.state_files import damaged

# Float32 weights beside those of lower precision: part of the state, or a resumed run would begin from rounded ones.
MASTER = "float32"
_SCALER_FIELDS = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")


def refuse_stage_3(stage: int) -> None:
    """Raise a TrainingError for a stage whose checkpoints only DeepSpeed's own pickles could hold."""
    if stage > 2:
        rule = "its weights are in pieces that are not put together here"
        remedy = "set zero_stage: 2, or shard the weights too with accelerate_configs/fsdp2.yaml"
        raise TrainingError(Problem("the accelerate file", f"zero_stage {stage}", rule, remedy))


def collect_zero_state(network: torch.nn.Module, zero: Any, *, keep: bool = True) -> dict[str, Any]:
    """Return the whole state of a ZeRO optimizer as a tree; every process has to call it, tensors come where `keep`.

    Raises:
        CheckpointError: If a state is not as long as the weights it belongs to.
    """
    states: dict[str, dict[str, Any]] = {}
    for name, parameter, flat in _members(network, zero):
        state: dict[str, Any] = {}
        for key, value in zero.optimizer.state[flat].items():
            if isinstance(value, torch.Tensor) and value.shape == flat.shape:
                state[key] = _join(value, parameter, keep=keep)
            elif isinstance(value, torch.Tensor) and value.ndim:
                rule = f"ZeRO keeps its {key} in pieces of another shape, which cannot be put together"
                remedy = "choose another optim, or launch without DeepSpeed"
                raise CheckpointError(Problem(f"optimizer {type(zero.optimizer).__name__}", name, rule, remedy))
            else:
                state[key] = value
        if parameter.dtype != torch.float32:
            state[MASTER] = _join(flat, parameter, keep=keep)
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
    for name, parameter, flat in _members(network, zero):
        pieces = zero.optimizer.state[flat]
        for key, value in saved["state"][name].items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                target = flat.data if key == MASTER else pieces.setdefault(key, torch.zeros_like(flat.data))
                _cut(value, parameter, target)
            else:
                pieces[key] = value.clone() if isinstance(value, torch.Tensor) else value
    for group, options in zip(zero.optimizer.param_groups, saved["param_groups"], strict=True):
        group.update(options)
    for field, value in saved["loss_scaler"].items():
        setattr(zero.loss_scaler, field, value)


def _members(network: torch.nn.Module, zero: Any) -> Iterator[tuple[str, Any, torch.Tensor]]:
    """Yield name and parameter of all that ZeRO trains, and the piece of their group that this process has."""
    names = {parameter: name for name, parameter in name_parameters(network).items()}
    for members, flat in zip(zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True):
        for parameter in members:
            yield names[parameter], parameter, flat


def _join(piece: torch.Tensor, parameter: Any, *, keep: bool) -> torch.Tensor | None:
    """Return the values of `parameter` in the pieces of all processes; each value is in one of them."""
    whole = torch.zeros(parameter.numel(), dtype=piece.dtype, device=piece.device)
    mapping = parameter._hp_mapping
    if mapping is not None:
        source, target = mapping.hp_fragment_address, mapping.lp_fragment_address
        whole.narrow(0, target.start, target.numel).copy_(piece.detach().narrow(0, source.start, source.numel))
    torch.distributed.all_reduce(whole, group=parameter._dp_group)
    return whole.view(parameter.shape).cpu() if keep else None


def _cut(whole: torch.Tensor, parameter: Any, piece: torch.Tensor) -> None:
    """Copy the part of `whole` that this process keeps into `piece`, where ZeRO has put it."""
    mapping = parameter._hp_mapping
    if mapping is None:
        return
    source, target = mapping.lp_fragment_address, mapping.hp_fragment_address
    values = whole.flatten().narrow(0, source.start, source.numel)
    piece.narrow(0, target.start, target.numel).copy_(values.to(piece.dtype))


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
    parameters = {name: parameter for name, parameter, _ in _members(network, zero)}
    for name in sorted(saved["state"].keys() ^ parameters.keys()):
        raise damaged(place, "is in only one of the checkpoint and this run's optimizer", name)
    for name, state in saved["state"].items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.ndim and value.shape != parameters[name].shape:
                rule = f"has the shape {list(value.shape)}, its parameter {list(parameters[name].shape)}"
                raise damaged(place, rule, f"{name}: {key}")
    mine = [_options(group).keys() for group in zero.optimizer.param_groups]
    if [group.keys() for group in saved["param_groups"]] != mine or saved["loss_scaler"].keys() != _read_scaler(
        zero
    ).keys():
        raise damaged(place, "its groups or its loss scaler are not those of this run's optimizer")
