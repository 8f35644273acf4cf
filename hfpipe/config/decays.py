"""The schedules of hfpipe's own: the learning rate times `gamma`, in steps or smoothly, beside those of transformers.

Steps and epochs are counted from the first step, so that drops fall on the ends of epochs whatever the warm-up; the
decayed rate is multiplied by that. The rate of a step does not depend on the length of the run, which may grow.
Nothing of torch is imported.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

STEP, EXPONENTIAL = "step", "exponential"
DECAYS = (STEP, EXPONENTIAL)
GAMMA, STEP_SIZE, STEP_EPOCHS = "gamma", "step_size", "step_epochs"
ARGUMENTS = (GAMMA, STEP_SIZE, STEP_EPOCHS)
DEFAULT_GAMMA = 0.1
"""Of `step` alone, as torch's StepLR has it: how fast a smooth decay should be, nothing tells."""
_PERIODS = "{gamma: 0.5, step_epochs: 1}"


@dataclass(frozen=True)
class Decay:
    """The rate times `gamma` after every `step_size` optimizer steps, or every `step_epochs` epochs; one is given."""

    gamma: float
    step_size: int | None
    step_epochs: float | None
    is_smooth: bool

    def factor(self, step: int, *, warmup_steps: int, steps_per_epoch: int) -> float:
        """Return what the learning rate is multiplied by after `step` optimizer steps.

        It is `gamma ** (step / period)`, of drops with the exponent rounded down, times `step / warmup_steps` during
        the warm-up.
        """
        # exact: 0.28 epochs of 25 steps are 7 steps, and in floats a little more
        period = Fraction(str(self.step_epochs)) * steps_per_epoch if self.step_size is None else self.step_size
        passed = Fraction(step) / period
        warmup = min(1.0, step / warmup_steps) if warmup_steps else 1.0
        return float(warmup * self.gamma ** (float(passed) if self.is_smooth else passed.__floor__()))


def read_decay(arguments: Mapping[str, object]) -> Decay | None:
    """Return the schedule of checked `TrainingArguments`, None where it is one of transformers."""
    name, given = arguments.get("lr_scheduler_type"), arguments.get("lr_scheduler_kwargs") or {}
    if name not in DECAYS:
        return None
    assert isinstance(given, Mapping), "the settings were checked"
    size, epochs = given.get(STEP_SIZE), given.get(STEP_EPOCHS)
    return Decay(
        gamma=float(given.get(GAMMA, DEFAULT_GAMMA)),
        step_size=None if size is None else int(size),
        step_epochs=None if epochs is None else float(epochs),
        is_smooth=name == EXPONENTIAL,
    )


def find_decay_problems(name: str, given: Mapping[str, object], *, streaming: bool) -> Iterator[tuple[str, str, str]]:
    """Yield key, rule and remedy of what is wrong with the arguments of `name`; unknown ones are others' business."""
    periods = [key for key in (STEP_SIZE, STEP_EPOCHS) if given.get(key) is not None]
    if name == EXPONENTIAL and given.get(GAMMA) is None:
        example = f"add lr_scheduler_kwargs: {_PERIODS}"
        yield (
            "lr_scheduler_type",
            "needs gamma, what the rate is multiplied by in a step_size or in step_epochs",
            example,
        )
    elif not periods:
        yield "lr_scheduler_type", f"needs {STEP_SIZE} or {STEP_EPOCHS}", f"add lr_scheduler_kwargs: {_PERIODS}"
    if len(periods) > 1:
        rule = f"the schedule {name} takes {STEP_SIZE} or {STEP_EPOCHS}"
        yield "lr_scheduler_kwargs", rule, "remove one of them"
    if streaming and STEP_EPOCHS in periods:
        yield (
            "lr_scheduler_kwargs",
            "a stream has no epochs known ahead",
            f"write {STEP_SIZE} in place of {STEP_EPOCHS}",
        )
    yield from _find_misfits(given)


def _find_misfits(given: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    rules = {
        GAMMA: ("must be above 0 and below 1", lambda value: 0 < value < 1),
        STEP_SIZE: ("must be a whole number of steps, at least 1", lambda value: value >= 1 and value == int(value)),
        STEP_EPOCHS: ("must be above 0", lambda value: value > 0),
    }
    for key, (rule, fits) in rules.items():
        value = given.get(key)
        if value is None:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not fits(value):
            yield "lr_scheduler_kwargs", f"{key} {value} {rule}", ""
