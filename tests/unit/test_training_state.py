"""The state beside the weights goes on in the same bits, by name, and nothing of another run is let in."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import message
from transformers import SchedulerType, get_scheduler
from transformers.optimization import Adafactor

from hfpipe.training.gathering import unwrapped_name
from hfpipe.training.optimizer_state import collect_optimizer_state, restore_optimizer_state
from hfpipe.training.state import collect_random_state, refuse_pickled, restore_fields, restore_random_state
from hfpipe.training.state_files import REMEDY, read_state, write_state


def make_network(*, width: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.Tanh(), torch.nn.Linear(width, 2))


def groups_of(network: torch.nn.Module) -> list[dict[str, Any]]:
    """Two groups, as Trainer makes them: matrices with weight decay, the rest without."""
    matrices = [each for each in network.parameters() if each.ndim > 1]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": [e for e in network.parameters() if e.ndim < 2]}]


def take_step(network: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed), dtype=next(network.parameters()).dtype)
    network(inputs).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def keep(folder: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """Return the state of the optimizer after its way through the files."""
    write_state(folder, "optimizer", collect_optimizer_state(network, optimizer), owner="optimizer")
    return read_state(folder, "optimizer")


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01),
    "adamw_fused": lambda groups: torch.optim.AdamW(groups, lr=0.01, fused=True, amsgrad=True),
    "adafactor": lambda groups: Adafactor(groups, lr=0.01, scale_parameter=False, relative_step=False),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.01, momentum=0.9),
    "plain_sgd": lambda groups: torch.optim.SGD(groups, lr=0.01),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, lr=0.01),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.01, momentum=0.5, centered=True),
    "nadam": lambda groups: torch.optim.NAdam(groups, lr=torch.tensor(0.01)),
    "muon": lambda groups: torch.optim.Muon(groups[:1], lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_in_the_same_bits(name: str, tmp_path: Path) -> None:
    straight = make_network()
    optimizer = OPTIMIZERS[name](groups_of(straight))
    for seed in range(3):
        take_step(straight, optimizer, seed)
    optimizer.param_groups[0]["lr"] = 0.007  # as a schedule leaves it
    resumed = make_network()
    resumed.load_state_dict(straight.state_dict())
    other = OPTIMIZERS[name](groups_of(resumed))
    restore_optimizer_state(resumed, other, keep(tmp_path, straight, optimizer), place=tmp_path)
    assert other.param_groups[0]["lr"] == 0.007
    for seed in range(3, 6):
        take_step(straight, optimizer, seed)
        take_step(resumed, other, seed)
    assert all(mine.equal(own) for mine, own in zip(resumed.parameters(), straight.parameters(), strict=True))
    assert resumed[0].weight.equal(make_network()[0].weight) is False


def test_float32_moments_of_bfloat16_weights_stay_float32(tmp_path: Path) -> None:
    network = make_network().bfloat16()
    optimizer = Adafactor(groups_of(network), lr=0.01, scale_parameter=False, relative_step=False)
    take_step(network, optimizer, 0)
    before = dict(optimizer.state[network[0].weight])
    other = Adafactor(groups_of(network), lr=0.01, scale_parameter=False, relative_step=False)
    restore_optimizer_state(network, other, keep(tmp_path, network, optimizer), place=tmp_path)
    after = other.state[network[0].weight]
    assert after["exp_avg_sq_row"].dtype == torch.float32
    assert after["exp_avg_sq_row"].equal(before["exp_avg_sq_row"])


def test_the_state_is_known_by_names(tmp_path: Path) -> None:
    network = make_network()
    optimizer = OPTIMIZERS["adamw"](groups_of(network))
    take_step(network, optimizer, 0)
    keep(tmp_path, network, optimizer)
    moments = load_file(tmp_path / "optimizer.safetensors")
    assert moments["state/2.bias/exp_avg"].equal(optimizer.state[network[2].bias]["exp_avg"])
    saved = json.loads((tmp_path / "optimizer.json").read_text())["dict"]
    assert saved["parameters"]["dict"]["0.weight"] == "float32 [4, 3]"
    assert saved["param_groups"][1]["dict"]["params"] == ["0.bias", "2.bias"]
    assert unwrapped_name("_orig_mod.layers.0._checkpoint_wrapped_module.weight") == "layers.0.weight"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda saved: saved.update(optimizer="SGD"), "SGD: this run's optimizer is AdamW"),
        (lambda saved: saved.pop("state"), "is not the state of an optimizer"),
        (lambda saved: saved["parameters"].pop("0.bias"), "parameters has no 0.bias, which this run's optimizer has"),
        (
            lambda saved: saved["parameters"].update({"9.bias": "float32 [4]"}),
            "parameters has 9.bias, which this run's optimizer does not have",
        ),
        (
            lambda saved: saved["parameters"].update({"0.bias": "float32 [5]"}),
            "parameters: 0.bias: float32 [5]: this run's is float32 [4]",
        ),
        (lambda saved: saved["state"].update(odd={}), "odd: a state of no parameter of the optimizer"),
        (lambda saved: saved["param_groups"].pop(), "1 groups: the optimizer has 2 groups"),
        (lambda saved: saved["param_groups"][1].pop("lr"), "param_groups 1 has no lr, which this run's optimizer has"),
        (
            lambda saved: saved["param_groups"][0]["params"].append("0.bias"),
            "param_groups 0 has 0.bias, which this run's optimizer does not have",
        ),
    ],
)
def test_the_state_of_another_optimizer_is_refused(
    change: Callable[[dict[str, Any]], object], rule: str, tmp_path: Path
) -> None:
    network = make_network()
    optimizer = OPTIMIZERS["adamw"](groups_of(network))
    take_step(network, optimizer, 0)
    saved = keep(tmp_path, network, optimizer)
    change(saved)
    found = message(lambda: restore_optimizer_state(network, optimizer, saved, place=tmp_path / "optimizer.json"))
    assert found == f"{tmp_path / 'optimizer.json'}: {rule}; {REMEDY}"


NEEDS = {
    "cosine_with_min_lr": {"min_lr": 0.001},
    "cosine_warmup_with_min_lr": {"min_lr": 0.001},
    "warmup_stable_decay": {"num_decay_steps": 4},
}


@pytest.mark.parametrize("kind", [each.value for each in SchedulerType])
def test_each_schedule_goes_on_as_it_was(kind: str, tmp_path: Path) -> None:
    def make() -> tuple[torch.optim.Optimizer, Any]:
        optimizer = OPTIMIZERS["sgd"](groups_of(make_network()))
        options = NEEDS.get(kind, {})
        return optimizer, get_scheduler(kind, optimizer, 3, 12, scheduler_specific_kwargs=options)

    def step(optimizer: torch.optim.Optimizer, schedule: Any, number: int) -> list[float]:
        optimizer.step()
        schedule.step(*([1 / (number % 4 + 1)] if kind in ("reduce_lr_on_plateau", "greedy") else []))
        return [group["lr"] for group in optimizer.param_groups]

    straight, resumed = make(), make()
    for number in range(5):
        step(*straight, number)
    write_state(tmp_path, "scheduler", straight[1].state_dict(), owner="schedule")
    restore_fields(resumed[1], read_state(tmp_path, "scheduler"), place=tmp_path)
    for mine, own in zip(resumed[0].param_groups, straight[0].param_groups, strict=True):
        mine["lr"] = own["lr"]  # the optimizer's state brings it
    assert [step(*resumed, number) for number in range(5, 16)] == [step(*straight, number) for number in range(5, 16)]


def test_the_state_of_another_schedule_is_refused(tmp_path: Path) -> None:
    optimizer = OPTIMIZERS["sgd"](groups_of(make_network()))
    schedule = get_scheduler("linear", optimizer, 1, 5)
    for change, rule in (
        ({"last_epoch": "x"}, "last_epoch: x: this run's is 0"),
        ({"odd": 1}, "odd: is no part of this run's"),
        ({"base_lrs": [0.1]}, "base_lrs: [0.1]: this run's is [0.01, 0.01]"),
    ):
        saved = {**schedule.state_dict(), **change}
        found = message(lambda saved=saved: restore_fields(schedule, saved, place=tmp_path))
        assert found == f"{tmp_path}: {rule}; {REMEDY}"


def test_the_loss_scaler_goes_on_as_it_was(tmp_path: Path) -> None:
    def make() -> torch.amp.GradScaler:
        return torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)

    def step(scaler: torch.amp.GradScaler, gradient: float) -> float:
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        scaler.scale((weight * gradient).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        return scaler.get_scale()

    straight, resumed = make(), make()
    assert [step(straight, gradient) for gradient in (1.0, float("inf"), 1.0)] == [1024.0, 512.0, 512.0]
    write_state(tmp_path, "scaler", straight.state_dict(), owner="the loss scaler")
    restore_fields(resumed, read_state(tmp_path, "scaler"), place=tmp_path)
    # one good step was counted before: the second doubles the scale
    assert step(resumed, 1.0) == step(straight, 1.0) == 1024.0


def draw() -> tuple[float, ...]:
    return random.gauss(0, 1), float(np.random.standard_normal()), torch.randn(1).item()


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    draw()  # an odd number of normal draws leaves one kept in each generator
    write_state(tmp_path, "rng_state_0", collect_random_state(torch.device("cpu")), owner="random numbers")
    expected = [draw() for _ in range(3)]
    restore_random_state(read_state(tmp_path, "rng_state_0"), torch.device("cpu"), place=tmp_path)
    assert [draw() for _ in range(3)] == expected


@pytest.mark.parametrize("part", ["python", "numpy", "cpu", "device"])
def test_a_damaged_random_state_is_refused(part: str, tmp_path: Path) -> None:
    state = collect_random_state(torch.device("cpu"))
    del state[part]
    found = message(lambda: restore_random_state(state, torch.device("cpu"), place=tmp_path))
    assert found == f"{tmp_path}: is not the state of the random numbers; {REMEDY}"


# Trainer's, FSDP's of both kinds, and DeepSpeed's
PICKLED = (
    ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"),
    ("pytorch_model_fsdp.bin", "optimizer.bin"),
    ("optimizer_0/.metadata", "optimizer_0/__0_0.distcp", "pytorch_model_fsdp_0/.metadata"),
    ("global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt", "zero_to_fp32.py"),
)


@pytest.mark.parametrize("files", PICKLED, ids=lambda files: files[0])
def test_checkpoints_of_pickled_state_are_refused(files: tuple[str, ...], tmp_path: Path) -> None:
    refuse_pickled(tmp_path)
    for name in (*files, "model.safetensors", "trainer_state.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pickled = sorted(name for name in files if not name.endswith(".py"))
    others = f" and {len(pickled) - 1} more" if len(pickled) > 1 else ""
    assert message(lambda: refuse_pickled(tmp_path)) == (
        f"{tmp_path}: its state is pickled ({pickled[0]}{others}), which is not read: pickle can run any code; "
        "finish the run with what wrote it, or begin a new one from its weights by model_name_or_path"
    )
