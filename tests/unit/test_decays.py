"""The schedules step and exponential: each rate against its closed form, their arguments, a resume in the same bits."""

import math
from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, StepLR

from hfpipe.config import RunConfig, load_config
from hfpipe.config.decays import DECAYS, Decay, read_decay
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.errors import ConfigError
from hfpipe.training.state import restore_fields
from hfpipe.training.state_files import read_state, write_state

SOURCES = ("dataset_name=demo:imdb", "model_name_or_path=demo:minilm")
RATE = 0.3


def load(*words: str) -> RunConfig:
    return load_config([*SOURCES, *words], recipe=FINETUNE)


def problems(*words: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*words)
    return [str(problem) for problem in caught.value.problems]


def decay_of(*words: str) -> Decay:
    decay = read_decay(load(*words).trainer_arguments)
    assert decay is not None
    return decay


def schedule(decay: Decay, *, warmup: int, steps_per_epoch: int) -> tuple[torch.optim.Optimizer, LambdaLR]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
    return optimizer, LambdaLR(
        optimizer, lambda step: decay.factor(step, warmup_steps=warmup, steps_per_epoch=steps_per_epoch)
    )


def rates(optimizer: torch.optim.Optimizer, schedule: LambdaLR | StepLR | ExponentialLR, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_drops_are_those_of_torch_in_steps_and_in_epochs() -> None:
    for decay in (Decay(0.5, 3, None, False), Decay(0.5, None, 0.75, False)):
        found = rates(*schedule(decay, warmup=0, steps_per_epoch=4), steps=12)
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
        assert found == rates(optimizer, StepLR(optimizer, step_size=3, gamma=0.5), 12)
        assert found[2] == RATE and found[3] == RATE / 2


def test_the_smooth_decay_is_that_of_torch_where_a_period_is_a_step() -> None:
    found = rates(*schedule(Decay(0.9, 1, None, True), warmup=0, steps_per_epoch=4), steps=9)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
    assert found == pytest.approx(rates(optimizer, ExponentialLR(optimizer, gamma=0.9), 9), rel=1e-12)


def test_each_rate_is_the_closed_form_times_the_warmup() -> None:
    for step in range(40):
        warmup = min(1.0, step / 5)
        dropped = Decay(0.1, 8, None, False).factor(step, warmup_steps=5, steps_per_epoch=10)
        assert dropped == warmup * 0.1 ** (step // 8)
        smooth = Decay(0.25, None, 2.0, True).factor(step, warmup_steps=5, steps_per_epoch=10)
        assert math.isclose(smooth, warmup * 0.25 ** (step / 20), rel_tol=1e-15)


def test_a_share_of_an_epoch_is_a_whole_number_of_steps_where_it_should_be_one() -> None:
    # 0.28 * 25 is 7.000000000000001 in floats, and the drop would come a step late
    found = [Decay(0.5, None, 0.28, False).factor(step, warmup_steps=0, steps_per_epoch=25) for step in range(15)]
    assert found == [1] * 7 + [0.5] * 7 + [0.25]


def test_the_settings_become_the_schedule() -> None:
    assert decay_of("lr_scheduler_type=step", "lr_scheduler_kwargs=step_size=100") == Decay(0.1, 100, None, False)
    assert decay_of("lr_scheduler_type=exponential", "lr_scheduler_kwargs=gamma=0.5,step_epochs=1") == Decay(
        0.5, None, 1.0, True
    )
    assert read_decay(load("lr_scheduler_type=cosine").trainer_arguments) is None
    assert read_decay({}) is None


KWARGS = "lr_scheduler_kwargs={{{}}}"


@pytest.mark.parametrize("name", DECAYS)
@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (
            "gamma: 0.5",
            ["{type}: needs step_size or step_epochs; add lr_scheduler_kwargs: {{gamma: 0.5, step_epochs: 1}}"],
        ),
        (
            "gamma: 0.5, step_size: 10, step_epochs: 1",
            ["{kwargs}: the schedule {name} takes step_size or step_epochs; remove one of them"],
        ),
        ("gamma: 1, step_size: 10", ["{kwargs}: gamma 1 must be above 0 and below 1"]),
        ("gamma: half, step_size: 10", ["{kwargs}: gamma half must be above 0 and below 1"]),
        ("gamma: 0.5, step_size: 2.5", ["{kwargs}: step_size 2.5 must be a whole number of steps, at least 1"]),
        ("gamma: 0.5, step_size: 0", ["{kwargs}: step_size 0 must be a whole number of steps, at least 1"]),
        ("gamma: 0.5, step_epochs: 0", ["{kwargs}: step_epochs 0 must be above 0"]),
        (
            "gamma: 0.5, stepsize: 10, step_epochs: 1",
            ["{kwargs}: the schedule {name} takes no 'stepsize'; did you mean 'step_size'?"],
        ),
    ],
)
def test_wrong_arguments_are_refused(name: str, given: str, wanted: list[str]) -> None:
    kwargs = f"lr_scheduler_kwargs={{{given}}}"
    said = [each.format(type=f"lr_scheduler_type={name}", kwargs=kwargs, name=name) for each in wanted]
    assert problems(f"lr_scheduler_type={name}", kwargs) == said


def test_a_smooth_decay_needs_its_speed_and_names_are_suggested() -> None:
    assert problems("lr_scheduler_type=exponential", "lr_scheduler_kwargs={step_size: 10}") == [
        "lr_scheduler_type=exponential: needs gamma, what the rate is multiplied by in a step_size or in step_epochs; "
        "add lr_scheduler_kwargs: {gamma: 0.5, step_epochs: 1}"
    ]
    (slip,) = problems("lr_scheduler_type=exponentail")
    assert slip.endswith("step, exponential; did you mean 'exponential'?")


def test_a_stream_has_no_epochs_to_count() -> None:
    stream = ("train_file=a.jsonl", "streaming=true", "max_steps=5", "max_eval_samples=2", "tokenizer_name=gpt2")
    with pytest.raises(ConfigError) as caught:
        load_config(
            [*stream, "lr_scheduler_type=step", "lr_scheduler_kwargs={step_epochs: 1}"],
            recipe=PRETRAIN,
        )
    assert [str(problem) for problem in caught.value.problems] == [
        "lr_scheduler_kwargs={step_epochs: 1}: a stream has no epochs known ahead; "
        "write step_size in place of step_epochs"
    ]


def test_a_schedule_goes_on_in_the_same_bits(tmp_path: Path) -> None:
    decay = Decay(0.7, None, 0.5, True)
    straight = rates(*schedule(decay, warmup=3, steps_per_epoch=6), steps=20)
    optimizer, first = schedule(decay, warmup=3, steps_per_epoch=6)
    begun = rates(optimizer, first, 9)
    write_state(tmp_path, "scheduler", first.state_dict(), owner="schedule")
    weights = optimizer.state_dict()
    optimizer, second = schedule(decay, warmup=3, steps_per_epoch=6)
    optimizer.load_state_dict(weights)
    restore_fields(second, read_state(tmp_path, "scheduler"), place=tmp_path)
    assert begun + rates(optimizer, second, 11) == straight
