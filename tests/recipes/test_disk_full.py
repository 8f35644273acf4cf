"""A disk that fills up at any write: path and bytes are told, checkpoints stay good; with room again, the same bits."""

import random
import re
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from crash_runs import CASES, Run, count_events, describe_outcome, find_unlike, tell_end
from kill_points import Part
from small_disk import SmallDisk, fill_at, join, mounted
from trials import Ending, run_trial

from hfpipe.records.manifest import find_damage
from hfpipe.records.run_directory import list_folders, step_of

SEED = 20261122
DISK_BYTES = 48 << 20
POINTS = {"classifier-1": 2, "classifier-2": 1}
PARTS: tuple[Part, ...] = ("save", "end")
FULL = re.compile(r"(\S+): [\d.,]+ [kMGT]?B needed, [\d.,]+ [kMGT]?B free: the disk is full; free some")
TIMEOUT_S = 60


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    (tmp_path / "disk").mkdir()
    with mounted(tmp_path / "disk", size_bytes=DISK_BYTES) as small:
        if small is None:
            pytest.skip("this system lets nobody mount a tmpfs of their own")
        yield small


def fill_and_go_on(run: Run, part: Part, number: int, disk: SmallDisk) -> tuple[str, bool]:
    """Fill the disk at an event of a new run; return what is wrong, and whether the run met the full disk."""
    target, outside = disk.path / "run", disk.outside / "run"
    arguments = (disk.keeper, run.window(target, part), number, disk.path)
    options = {**run.start_options(target), "timeout_s": TIMEOUT_S}
    ending = run_trial(**options, prepare=fill_at, prepare_arguments=arguments)
    wrong = find_wrong(run, part, ending, outside)
    disk.make_room()
    again = run_trial(**options, prepare=join, prepare_arguments=(disk.keeper,))
    if again.codes != (0,) * run.processes:
        wrong.append(f"with room again it ended with {again.codes}: {tell_end(again)}")
    elif unlike := find_unlike(outside, describe_outcome(run.straight)):
        wrong.append(unlike)
    shutil.rmtree(outside)
    return "; ".join(wrong), any(ending.codes)


def find_wrong(run: Run, part: Part, ending: Ending, folder: Path) -> list[str]:
    """Return what is wrong with the end of a run on a full disk; one that had nothing more to write may be done."""
    wrong = []
    # in the export the others may have nothing more to do
    together = part == "end" or len(set(ending.codes)) == 1
    if not set(ending.codes) <= {0, 2} or not together or ending.traceback:
        wrong.append(f"ended with {ending.codes}: {ending.output[-1500:]}")
    if 2 in ending.codes and not FULL.search(ending.output):
        wrong.append(f"does not say what is full: {tell_end(ending)}")
    checkpoints = list_folders(folder / "checkpoints")
    needed = run.middle - 2 if part == "save" else run.last
    wrong += [f"no checkpoint of step {needed} or later"] * all(step_of(each) < needed for each in checkpoints)
    return wrong + [str(problem) for each in checkpoints for problem in find_damage(each)]


def try_points(run: Run, points: Sequence[tuple[Part, int]], disk: SmallDisk) -> tuple[list[str], int]:
    """Return what went wrong at these points, and how many met a full disk."""
    found = [(part, number, *fill_and_go_on(run, part, number, disk)) for part, number in points]
    wrong = [f"{part} event {number}: {told}" for part, number, told, _ in found if told]
    return wrong, sum(was_full for *_, was_full in found)


def list_points(run: Run, folder: Path) -> list[tuple[Part, int]]:
    """Return every event of the first process, and the moment before all of them."""
    found: list[tuple[Part, int]] = []
    for part in PARTS:
        (folder / part).mkdir()
        found += [(part, number) for number in range(len(count_events(run, part, folder / part)[0]) + 1)]
    return found


@pytest.mark.parametrize("case", POINTS)
def test_a_disk_that_fills_up_in_a_save(case: str, runs: Callable[[str], Run], disk: SmallDisk) -> None:
    run = runs(case)
    points: list[tuple[Part, int]] = [("save", number) for number in range(20)]
    wrong, full = try_points(run, random.Random(SEED).sample(points, POINTS[case]), disk)
    assert not wrong, "\n".join(wrong)
    assert full == POINTS[case]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_disk_that_fills_up_at_every_write(
    case: str, runs: Callable[[str], Run], disk: SmallDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started, run = time.monotonic(), runs(case)
    points = list_points(run, tmp_path)
    wrong, full = try_points(run, points, disk)
    with capsys.disabled():
        seconds = time.monotonic() - started
        told = f"{len(points) - len(wrong)} of {len(points)} events right, the disk was met full at {full}"
        sys.stdout.write(f"\n{case}: {told}, {seconds:.0f} s\n")
    assert not wrong, "\n".join(wrong)
    assert full > len(points) // 2


def limit_files(size_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def test_a_limit_on_the_size_of_files_is_told_as_such(runs: Callable[[str], Run], tmp_path: Path) -> None:
    options = runs("classifier-1").start_options(tmp_path / "run")
    ending = run_trial(**options, prepare=limit_files, prepare_arguments=(100_000,))
    assert ending.codes == (2,), ending.output
    assert not ending.traceback
    staged = tmp_path / "run" / "checkpoints" / ".writing-2"
    assert re.search(rf"{staged}\S*: a file may not be so large here \(\S+ [kM]B needed\)", ending.output), (
        ending.output
    )
    assert list_folders(tmp_path / "run" / "checkpoints") == []
