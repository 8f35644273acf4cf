"""Loss spikes: every injected one is found, and none in curves that are only steep, noisy or heavy-tailed.

`clean_losses.json` holds the losses, step by step, of six short runs of the recipes on IMDB reviews: tiny models from
scratch, two of which learn their rows by heart, and MiniLM; warm-up, linear and cosine schedules.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.training.spikes import LOSSES_OF_CENTRE, RISES_NEEDED, Spike, SpikeFinder

SEED = 20_261_123
CURVES_OF_A_KIND = 10
STEPS = 1_000
INJECTED = 20
RECORDED: dict[str, list[float]] = json.loads((Path(__file__).parent / "clean_losses.json").read_text())

Curve = Callable[[np.random.Generator], np.ndarray]


def find(losses: Sequence[float] | np.ndarray, finder: SpikeFinder | None = None) -> list[tuple[int, Spike]]:
    """Return the index and the spike of each loss that is one."""
    finder = finder or SpikeFinder()
    found = [(index, finder.observe(float(loss))) for index, loss in enumerate(losses)]
    return [(index, spike) for index, spike in found if spike is not None]


def language_model(random: np.random.Generator) -> np.ndarray:
    """Fall steeply from 7.5, with the noise of small or of large batches."""
    fall = 2.5 + 5 * np.exp(-np.arange(STEPS) / random.uniform(30, 300))
    return fall * np.exp(random.choice([0.01, 0.03, 0.08]) * random.standard_normal(STEPS))


def power_law(random: np.random.Generator) -> np.ndarray:
    """Fall by a power law, with a rise of the loss while a warm-up ends."""
    steps = np.arange(STEPS)
    hump = 0.4 * np.exp(-(((steps - 80) / 30) ** 2))
    return (1.7 + 8 * (steps + 10.0) ** -0.4 + hump) * np.exp(0.02 * random.standard_normal(STEPS))


def exponential_rows(random: np.random.Generator) -> np.ndarray:
    """Mean of few rows whose losses are exponential: the mean of four leaps threefold every few hundred steps."""
    rows = random.exponential(1.0, (STEPS, random.choice([4, 8, 16, 64])))
    return rows.mean(axis=1) * 0.7 * np.exp(-np.arange(STEPS) / random.uniform(100, 2000)) + 1e-3


def lognormal_rows(random: np.random.Generator) -> np.ndarray:
    """Mean of few rows whose losses have heavy tails."""
    rows = random.lognormal(0.0, 1.5, (STEPS, random.choice([4, 8, 16, 64])))
    return rows.mean(axis=1) * 0.7 * np.exp(-np.arange(STEPS) / 500)


def margins(random: np.random.Generator) -> np.ndarray:
    """Cross entropy of two labels whose margin grows from none: quiet about ln 2 first, then wild."""
    mean = 4 * (1 - np.exp(-np.arange(STEPS) / 300))
    rows = random.standard_normal((STEPS, random.choice([4, 8, 16, 32]))) * 2 + mean[:, None]
    return np.log1p(np.exp(-rows)).mean(axis=1)


def restarts(random: np.random.Generator) -> np.ndarray:
    """Go up and down with a learning rate that restarts."""
    steps = np.arange(STEPS)
    waves = 2 + 3 * np.exp(-steps / 150) + 0.3 * np.abs(np.sin(steps / 80))
    return waves * np.exp(0.03 * random.standard_normal(STEPS))


@pytest.mark.parametrize("curve", [language_model, power_law, exponential_rows, lognormal_rows, margins, restarts])
def test_clean_curves_have_no_spike(curve: Curve) -> None:
    random = np.random.default_rng(SEED)
    assert [find(curve(random)) for _ in range(CURVES_OF_A_KIND)] == [[]] * CURVES_OF_A_KIND


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_runs_have_no_spike(name: str) -> None:
    assert find(RECORDED[name]) == []


@pytest.mark.parametrize("times", [2, 3, 10])
@pytest.mark.parametrize("curve", [language_model, power_law, restarts])
def test_twenty_of_twenty_injected_spikes_are_found_and_nothing_else(curve: Curve, times: float) -> None:
    random = np.random.default_rng(SEED)
    for _ in range(INJECTED):
        losses = curve(random)
        place = int(random.integers(LOSSES_OF_CENTRE + RISES_NEEDED + 60, STEPS))
        losses[place] *= times * 1.3  # over noise that may have lowered this very loss
        assert [index for index, _ in find(losses)] == [place]


@pytest.mark.parametrize("name", ["classifier_batch_8", "language_model_batch_4_cosine", "language_model_batch_16"])
def test_twenty_spikes_in_one_recorded_run_are_all_found(name: str) -> None:
    places = np.linspace(60, len(RECORDED[name]) - 2, INJECTED).astype(int)
    losses = np.array(RECORDED[name])
    losses[places] *= 2.5
    assert [index for index, _ in find(losses)] == places.tolist()


def test_a_spike_is_told_with_the_range_that_was_expected() -> None:
    quiet = [2.0] * 48
    assert find([*quiet, 2.79]) == []
    ((index, spike),) = find([*quiet, 2.81])
    assert index == 48
    assert (spike.loss, spike.lowest, spike.highest) == pytest.approx((2.81, 2.0 / 1.4, 2.8))


def test_the_first_steps_are_not_judged() -> None:
    assert find([2.0] * 47 + [20.0]) == []


def test_what_stays_up_is_told_once_and_becomes_the_level() -> None:
    finder = SpikeFinder()
    assert [index for index, _ in find([2.0] * 60 + [6.0] * 40, finder)] == [60]
    assert find([2.0] * 40, finder) == []
    assert [index for index, _ in find([6.0], finder)] == [0]


def test_spikes_do_not_teach_that_spikes_are_usual() -> None:
    losses = [2.0] * 60
    for _ in range(INJECTED):
        losses += [5.0, 2.0, 2.0]
    assert len(find(losses)) == INJECTED


def test_a_mean_over_fewer_rows_may_stand_off_further() -> None:
    finder = SpikeFinder()
    assert find([2.0] * 60, finder) == []
    # one row of four at 4.0, the others as expected, would have been a mean of 2.5
    assert finder.observe(4.0, share=0.25) is None
    spike = finder.observe(5.3, share=0.25)
    assert spike is not None
    assert spike.highest == pytest.approx(2.0 + (2.8 - 2.0) / 0.25)


def test_a_loss_of_zero_is_no_error() -> None:
    assert find([0.0] * 80) == []


def test_a_fall_from_a_huge_loss_is_no_error() -> None:
    assert find([1e30] * 60 + [0.0] * 20) == []


@given(st.lists(st.floats(1e-3, 1e3), min_size=60, max_size=120), st.integers(0, 119))
def test_a_state_that_travelled_as_json_finds_the_same(losses: list[float], cut: int) -> None:
    straight, before, after = SpikeFinder(), SpikeFinder(), SpikeFinder()
    begun = find(losses[:cut], before)
    after.restore(json.loads(json.dumps(before.state(), allow_nan=False)))
    rest = [(index + len(losses[:cut]), spike) for index, spike in find(losses[cut:], after)]
    assert [*begun, *rest] == find(losses, straight)


@given(st.floats(1.0, 1.2), st.integers(50, 300))
def test_a_fall_is_never_a_spike(factor: float, steps: int) -> None:
    assert find([math.exp(3) / factor**step for step in range(steps)]) == []
