"""Optimizers and schedules: their packages, the settings they read, the arguments they take."""

import re

import pytest

from hfpipe.config import Origin, RunConfig, load_config
from hfpipe.config.installed import find_package
from hfpipe.config.keys import read_keys
from hfpipe.config.optimizers import FAMILIES
from hfpipe.config.schedules import read_schedules
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.errors import ConfigError

SOURCES = ("dataset_name=demo:imdb", "model_name_or_path=demo:minilm")


def load(*words: str, recipe: str = FINETUNE) -> RunConfig:
    return load_config([*SOURCES, *words], recipe=recipe)


def problems(*words: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*words)
    return [str(problem) for problem in caught.value.problems]


def test_every_installed_optimizer_is_of_one_family() -> None:
    for name in read_keys()["optim"].bounds.choices:
        assert sum(re.fullmatch(family.names, name) is not None for family in FAMILIES) == 1, name


@pytest.mark.parametrize(
    ("optim", "package"),
    [
        ("adamw_bnb_8bit", "bitsandbytes"),
        ("paged_lion_8bit", "bitsandbytes"),
        ("lomo", "lomo-optim"),
        ("grokadamw", "grokadamw"),
        ("schedule_free_radam", "schedulefree"),
        ("stable_adamw", "torch-optimi"),
    ],
)
def test_the_package_of_an_optimizer_must_be_installed(optim: str, package: str) -> None:
    (module,) = {family.module for family in FAMILIES if family.distribution == package}
    if find_package(module) is not None:
        pytest.skip(f"{package} is installed")
    assert problems(f"optim={optim}") == [
        f"optim={optim}: {package} is not installed; pip install {package}, or use another"
    ]


@pytest.mark.parametrize(
    ("optim", "kept"),
    [
        ("galore_adamw", "projector objects"),
        ("galore_adafactor_layerwise", "projector objects"),
        ("apollo_adamw", "projector objects"),
        ("adamw_torch_4bit", "quantized tensors of a class of torchao's own"),
        ("adamw_torch_8bit", "quantized tensors of a class of torchao's own"),
        ("adamw_anyprecision", "torch dtypes among its options"),
        ("adalomo", "moments outside the state it gives out"),
    ],
)
def test_an_optimizer_whose_state_cannot_be_stored_is_refused(optim: str, kept: str) -> None:
    assert problems(f"optim={optim}") == [
        f"optim={optim}: keeps {kept}, which a checkpoint without pickle cannot hold; "
        "use another, such as adamw_torch_fused or adafactor"
    ]


def test_settings_of_adam_reach_adam_alone() -> None:
    assert load(recipe=PRETRAIN).trainer_arguments["adam_beta2"] == 0.95
    without = load("optim=sgd", "optim_args=momentum=0.9", recipe=PRETRAIN)
    assert "adam_beta2" not in without.trainer_arguments
    assert without.trainer_arguments["optim_args"] == "momentum=0.9"


def test_arguments_of_schedules_are_read_from_the_source() -> None:
    schedules = read_schedules()
    assert set(schedules) == set(read_keys()["lr_scheduler_type"].bounds.choices)
    assert schedules["linear"].takes == schedules["constant_with_warmup"].takes == ()
    assert schedules["cosine"].takes == ("num_cycles",)
    assert schedules["warmup_stable_decay"].needs == ("num_decay_steps",)
    assert {"mode", "factor", "patience"} <= set(schedules["reduce_lr_on_plateau"].takes)
    assert {"mode", "factor", "patience"} <= set(schedules["greedy"].takes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["lr_scheduler_type=cosine_with_min_lr"],
            "lr_scheduler_type=cosine_with_min_lr: needs min_lr or min_lr_rate; "
            "add lr_scheduler_kwargs: {min_lr_rate: 0.1}",
        ),
        (
            ["lr_scheduler_type=cosine_with_min_lr", "lr_scheduler_kwargs=min_lr=0,min_lr_rate=0.1"],
            "lr_scheduler_kwargs={min_lr: 0, min_lr_rate: 0.1}: "
            "the schedule cosine_with_min_lr takes min_lr or min_lr_rate; remove one of them",
        ),
        (
            ["lr_scheduler_type=warmup_stable_decay"],
            "lr_scheduler_type=warmup_stable_decay: needs num_decay_steps; "
            "add lr_scheduler_kwargs: {num_decay_steps: 100}",
        ),
        (
            ["lr_scheduler_type=cosine", "lr_scheduler_kwargs=num_cycle=1"],
            "lr_scheduler_kwargs={num_cycle: 1}: the schedule cosine takes no 'num_cycle'; did you mean 'num_cycles'?",
        ),
        (
            ["lr_scheduler_type=polynomial", "lr_scheduler_kwargs=x=1"],
            "lr_scheduler_kwargs={x: 1}: the schedule polynomial takes no 'x'; it takes lr_end, power",
        ),
        (
            ["lr_scheduler_kwargs=num_cycles=1"],
            "lr_scheduler_kwargs={num_cycles: 1}: the schedule linear takes none; set it to null",
        ),
        (
            ["lr_scheduler_type=greedy", "metric_for_best_model=mcc", "lr_scheduler_kwargs=mode=min"],
            "lr_scheduler_kwargs={mode: min}: mcc is better when greater; leave mode out",
        ),
    ],
)
def test_arguments_must_be_those_of_the_schedule(words: list[str], message: str) -> None:
    assert problems(*words) == [message]


@pytest.mark.parametrize("schedule", ["reduce_lr_on_plateau", "greedy"])
def test_schedules_that_watch_the_metric_know_its_direction(schedule: str) -> None:
    falling = load(f"lr_scheduler_type={schedule}")
    assert "lr_scheduler_kwargs" not in falling.trainer_arguments
    rising = load(f"lr_scheduler_type={schedule}", "metric_for_best_model=accuracy")
    assert rising.trainer_arguments["lr_scheduler_kwargs"] == {"mode": "max"}
    assert rising.origins["lr_scheduler_kwargs"] == Origin("plan", "metric_for_best_model")
    given = load(f"lr_scheduler_type={schedule}", "metric_for_best_model=accuracy", "lr_scheduler_kwargs=patience=2")
    assert given.trainer_arguments["lr_scheduler_kwargs"] == {"patience": 2, "mode": "max"}
    assert given.origins["lr_scheduler_kwargs"] == Origin("plan", "lr_scheduler_kwargs")
