"""SIGKILL at random moments of a run, up to three times: starting, reading data, training, saving, exporting."""

import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from crash_runs import CASES, OTHERS_AFTER_S, Run, describe_outcome, go_on
from trials import KILLED, run_trial, start_trial

SEED = 20261122
RUNS, ALL_RUNS = 3, 200
KILLS = 3


def kill_at_random(run: Run, target: Path, rng: random.Random, *, lifetime_s: float) -> list[str]:
    """Start the run up to `KILLS` times and kill it after a while each time; return when and whom."""
    told = []
    for _ in range(rng.randint(1, KILLS)):
        delay = rng.uniform(0.0, lifetime_s)
        victims = rng.sample(range(run.processes), rng.randint(1, run.processes))
        options = {**run.start_options(target), "others_after_s": OTHERS_AFTER_S}
        with start_trial(**options) as trial:
            time.sleep(delay)
            trial.kill(victims)
            ending = trial.wait()
        told.append(f"{delay:.3f} s {victims} {ending.codes}")
        assert set(ending.codes) <= {0, KILLED} or run.processes > 1, ending.output
    return told


def try_runs(run: Run, count: int, folder: Path) -> tuple[list[str], int]:
    """Return what went wrong of so many runs, and how many kills met one that was running."""
    wanted = describe_outcome(run.straight)
    lifetime_s = measure_lifetime(run, folder / "measured")
    rng, wrong, kills = random.Random(f"{SEED} {run.recipe} {run.processes}"), [], 0
    for index in range(count):
        target = folder / f"run_{index}"
        told = kill_at_random(run, target, rng, lifetime_s=lifetime_s)
        kills += sum(str(KILLED) in each for each in told)
        found = go_on(run, target, wanted)
        wrong += [f"run {index}, killed after {'; '.join(told)}: {found}"] * bool(found)
        shutil.rmtree(target, ignore_errors=not found)
    return wrong, kills


def measure_lifetime(run: Run, folder: Path) -> float:
    """Return the seconds of a run on this machine now."""
    ending = run_trial(**run.start_options(folder))
    assert ending.codes == (0,) * run.processes, ending.output
    return ending.seconds


@pytest.mark.parametrize("case", ["classifier-1"])
def test_killed_at_any_moment_it_ends_in_the_same_bits(case: str, runs: Callable[[str], Run], tmp_path: Path) -> None:
    wrong, kills = try_runs(runs(case), RUNS, tmp_path)
    assert not wrong, "\n".join(wrong)
    assert kills >= RUNS // 2


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_killed_at_two_hundred_moments_it_ends_in_the_same_bits(
    case: str,
    runs: Callable[[str], Run],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started, count = time.monotonic(), ALL_RUNS // len(CASES)
    wrong, kills = try_runs(runs(case), count, tmp_path)
    with capsys.disabled():
        seconds = time.monotonic() - started
        told = f"{count - len(wrong)} of {count} runs the same bits after {kills} kills, seed {SEED}, {seconds:.0f} s"
        sys.stdout.write(f"\n{case}: {told}\n")
    assert not wrong, "\n".join(wrong)
