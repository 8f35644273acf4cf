"""kill -9 at every write of a save, of the final export and of the record: the same command ends in the same bits."""

import functools
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from crash_runs import (
    CASES,
    Point,
    Run,
    count_events,
    describe_outcome,
    kill_and_go_on,
    list_kills,
)
from kill_points import Event, Part

SEED = 20261122
POINTS = {"classifier-1": 3, "language_model-1": 2, "classifier-2": 2}
Runs = Callable[[str], Run]
Events = Callable[[str, Part], Sequence[Sequence[Event]]]
PARTS: tuple[Part, ...] = ("start", "save", "end")
OF_A_SAVE: tuple[Part, ...] = ("save", "end")


@pytest.fixture(scope="module")
def events(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Events:
    """Return a function that gives the events of a part of a run by rank, counted once."""
    return functools.cache(lambda case, part: count_events(runs(case), part, tmp_path_factory.mktemp(part)))


def list_grid(case: str, parts: Sequence[Part], *, runs: Runs, events: Events) -> list[Point]:
    """Return every point of these parts."""
    return [point for part in parts for point in list_kills(runs(case), part, events(case, part))]


def try_points(run: Run, points: Sequence[Point], folder: Path) -> list[str]:
    """Return what went wrong, a line for each point where something did."""
    wanted = describe_outcome(run.straight)
    found = [kill_and_go_on(run, point, folder / f"point_{index}", wanted) for index, point in enumerate(points)]
    return [wrong for wrong in found if wrong]


def test_a_save_writes_every_file_of_its_manifest_where_it_can_be_killed(runs: Runs, events: Events) -> None:
    run = runs("classifier-2")
    own, other = events("classifier-2", "save")
    written = {name.rpartition("/")[2] for event in (*own, *other) for name in named(event)}
    checkpoint = run.straight / "checkpoints" / f"checkpoint-{run.last}"
    assert {path.name for path in checkpoint.iterdir()} <= written
    assert {"manifest.json", "model.safetensors", "optimizer.safetensors", "rng_state_1.json"} <= written
    assert 30 <= len(own) <= 200
    assert 4 <= len(other) <= 20
    # a function that writes unseen would make two files change at once; the other process may write its own meanwhile
    assert [event for event in own if len(without_rank(event, 1)) > 1] == []
    assert [event for event in other if len(without_rank(event, 0)) > 1] == []
    assert any(f"checkpoint-{run.middle - 4}" in name for event in own for name in event.removed)
    assert not any(f"checkpoint-{run.middle - 2}" in name for event in own for name in event.removed)


def without_rank(event: Event, rank: int) -> list[str]:
    """Return what was written but the random state of a process, by its name and under that of safetensors' draft."""
    names = [name.rpartition("/")[2] for name in event.written]
    return [name for name in names if not name.startswith((".tmp", f"rng_state_{rank}."))]


def named(event: Event) -> list[str]:
    return [*event.written, *event.moved]


def test_the_runs_have_what_a_checkpoint_must_not_lose(runs: Runs) -> None:
    run = runs("classifier-1")
    outcome = describe_outcome(run.straight)
    assert (outcome["run.json:best_step"], outcome["run.json:steps"]) == (run.middle - 2, run.last)
    assert run.last < 15
    best, last = (f"checkpoints/checkpoint-{step}/model.safetensors" for step in (run.middle - 2, run.last))
    assert {best, last} <= outcome.keys()
    assert outcome["model.safetensors"] != outcome[last]


@pytest.mark.parametrize("case", POINTS)
def test_killed_at_any_write_of_a_save_or_the_export_it_ends_in_the_same_bits(
    case: str, runs: Runs, events: Events, tmp_path: Path
) -> None:
    run = runs(case)
    grid = list_grid(case, OF_A_SAVE, runs=runs, events=events)
    points = random.Random(SEED).sample(grid, POINTS[case])
    wrong = try_points(run, points, tmp_path)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_killed_at_every_write_it_ends_in_the_same_bits(
    case: str, runs: Runs, events: Events, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started, run = time.monotonic(), runs(case)
    grid = list_grid(case, PARTS, runs=runs, events=events)
    wrong = try_points(run, grid, tmp_path)
    with capsys.disabled():
        seconds = time.monotonic() - started
        sys.stdout.write(f"\n{case}: {len(grid) - len(wrong)} of {len(grid)} kill points, {seconds:.0f} s\n")
    assert not wrong, "\n".join(wrong)
