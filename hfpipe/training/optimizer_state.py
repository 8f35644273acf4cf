"""The state of an optimizer by the names of its parameters: exact, whole, and readable under another sharding.

Torch's own `load_state_dict` takes parameters by their number and casts their state to their dtype; here a state is put
back by name, as it was. Refuses a state of other parameters, groups or options, rather than train a different run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch.distributed.tensor import DTensor

from hfpipe.errors import CheckpointError, Problem
from hfpipe.training.gathering import deal_out, gather_tensor, name_parameters
from hfpipe.training.state_files import damaged

_FIELDS = {"optimizer", "parameters", "kept_on_cpu", "param_groups", "state"}


def collect_optimizer_state(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, *, keep: bool = True
) -> dict[str, Any]:
    """Return the whole state as a tree; of a sharded network in every process, with tensors only where `keep`.

    `kept_on_cpu` names the states that lie on the CPU while their parameter does not, as step counts may.

    Raises:
        CheckpointError: If a state is sharded otherwise than its parameter.
    """
    parameters = {name: each for name, each in name_parameters(network).items() if each in _members(optimizer)}
    names = {parameter: name for name, parameter in parameters.items()}
    states = {names[cast("torch.nn.Parameter", parameter)]: state for parameter, state in optimizer.state.items()}
    on_cpu = {
        key
        for name, state in states.items()
        for key, value in state.items()
        if isinstance(value, torch.Tensor) and value.device.type == "cpu" != parameters[name].device.type
    }
    return {
        "optimizer": name_optimizer(optimizer),
        "parameters": {name: _describe(parameter) for name, parameter in parameters.items()},
        "kept_on_cpu": sorted(on_cpu),
        "param_groups": [
            {**_gather(_options(group), None, keep), "params": [names[each] for each in group["params"]]}
            for group in optimizer.param_groups
        ],
        "state": {name: _gather(state, parameters[name], keep) for name, state in states.items()},
    }


def restore_optimizer_state(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, saved: Any, *, place: Path
) -> None:
    """Put what `collect_optimizer_state` returned back, under any sharding; `place` is where it was read from.

    Raises:
        CheckpointError: If it is the state of another optimizer, of other parameters or of other groups.
    """
    parameters = {name: each for name, each in name_parameters(network).items() if each in _members(optimizer)}
    _check(saved, optimizer, parameters, place)
    optimizer.state.clear()
    for name, state in saved["state"].items():
        optimizer.state[parameters[name]] = {
            key: _place(value, parameters[name], on_cpu=key in saved["kept_on_cpu"]) for key, value in state.items()
        }
    for group, options in zip(optimizer.param_groups, saved["param_groups"], strict=True):
        group.update(_options(options))


def name_optimizer(optimizer: torch.optim.Optimizer) -> str:
    """Return the name of the optimizer's class without accelerate's wrapper."""
    own = optimizer.optimizer if isinstance(optimizer, AcceleratedOptimizer) else optimizer
    return type(own).__name__


def _members(optimizer: torch.optim.Optimizer) -> set[torch.Tensor]:
    return {parameter for group in optimizer.param_groups for parameter in group["params"]}


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}


def _describe(parameter: torch.Tensor) -> str:
    return f"{str(parameter.dtype).removeprefix('torch.')} {list(parameter.shape)}"


def _gather(value: Any, parameter: torch.Tensor | None, keep: bool) -> Any:
    """Return `value` with every tensor in it whole and on the CPU."""
    if isinstance(value, DTensor) and (parameter is None or value.shape != parameter.shape):
        rule = f"a sharded state of the shape {list(value.shape)} cannot be put together"
        raise CheckpointError(Problem("the optimizer", rule=rule, remedy="choose another optim"))
    if isinstance(value, torch.Tensor):
        return gather_tensor(value, keep=keep)
    if type(value) is dict:
        return {key: _gather(each, parameter, keep) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_gather(each, parameter, keep) for each in value)
    return value


def _place(value: Any, parameter: torch.Tensor, *, on_cpu: bool) -> Any:
    """Return `value` with every tensor in it where and as the parameter lies."""
    if isinstance(value, torch.Tensor):
        if on_cpu:
            return value.clone()
        # sharded is what has the parameter's shape: moments are, step counts and tables are not
        if value.shape == parameter.shape:
            return deal_out(value, parameter)
        return value.to(parameter.device, copy=True)
    if isinstance(value, dict):
        return {key: _place(each, parameter, on_cpu=on_cpu) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_place(each, parameter, on_cpu=on_cpu) for each in value)
    return value


def _check(saved: Any, optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.Tensor], place: Path) -> None:
    if not isinstance(saved, dict) or saved.keys() != _FIELDS:
        raise damaged(place, "is not the state of an optimizer")
    if saved["optimizer"] != name_optimizer(optimizer):
        raise damaged(place, f"this run's optimizer is {name_optimizer(optimizer)}", saved["optimizer"])
    own = {name: _describe(parameter) for name, parameter in parameters.items()}
    _compare(saved["parameters"], own, place, "parameters")
    for name in saved["state"].keys() - own.keys():
        raise damaged(place, "a state of no parameter of the optimizer", name)
    _check_groups(saved["param_groups"], optimizer, parameters, place)


def _check_groups(
    saved: Sequence[Mapping[str, Any]],
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, torch.Tensor],
    place: Path,
) -> None:
    names = {parameter: name for name, parameter in parameters.items()}
    if len(saved) != len(optimizer.param_groups):
        raise damaged(place, f"the optimizer has {len(optimizer.param_groups):,} groups", f"{len(saved):,} groups")
    for number, (options, group) in enumerate(zip(saved, optimizer.param_groups, strict=True)):
        where = f"param_groups {number}"
        _compare(dict.fromkeys(options), dict.fromkeys(group), place, where)
        members = {names[parameter]: number for parameter in group["params"]}
        _compare(dict.fromkeys(options["params"], number), members, place, where)


def _compare(saved: Mapping[str, Any], own: Mapping[str, Any], place: Path, where: str) -> None:
    """Raise for the first name that only one of the two has, or has with another value."""
    for name in sorted({*saved, *own}):
        if name not in saved:
            raise damaged(place, f"{where} has no {name}, which this run's optimizer has")
        if name not in own:
            raise damaged(place, f"{where} has {name}, which this run's optimizer does not have")
        if saved[name] != own[name]:
            raise damaged(place, f"this run's is {own[name]}", f"{where}: {name}: {saved[name]}")
