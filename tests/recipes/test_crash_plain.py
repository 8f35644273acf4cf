"""The same kills and damages on plain Trainer: what its own resuming does with them, for comparison.

What is found is printed; that these trials tell a framework that survives from one that does not is what is tested.
"""

import hashlib
import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crash_runs import timeless
from kill_points import Kill, Window, kill_at, list_points, read_events, record_events
from test_damaged_checkpoints import draw_damage
from trials import KILLED, run_trial

SEED = 20261122
SCRIPT = Path(__file__).with_name("plain_run.py")
DAMAGES = 40
STEP, LATER, LAST = 12, 14, 15
SAME, REFUSED, OTHER = "the same bits", "refused", "another model, without a word"


class PlainRun:
    """A command of plain Trainer, and how its end compares with one straight through."""

    def __init__(self, csv: Path, checkpoint: Path, folder: Path) -> None:
        self.folder = folder
        self._settings = {"train_file": csv, "model_name_or_path": checkpoint}
        assert self.start(folder / "straight").codes == (0,)
        self._wanted = self._describe(folder / "straight")
        assert self._wanted[1][-1]["step"] == LAST

    def start(self, target: Path, **options: Any) -> Any:
        """Give the command and return how it ended."""
        return run_trial(SCRIPT, {**self._settings, "output_dir": target}, **options)

    def go_on(self, target: Path) -> str:
        """Give the command again and return what became of it."""
        if self.start(target).codes != (0,):
            return REFUSED
        return SAME if self._describe(target) == self._wanted else OTHER

    def _describe(self, target: Path) -> tuple[str, list[dict[str, Any]]]:
        history = [each for each in json.loads((target / "history.json").read_text()) if "train_loss" not in each]
        return hashlib.sha256((target / "model.safetensors").read_bytes()).hexdigest(), timeless(history)


@pytest.fixture(scope="module")
def plain(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> PlainRun:
    return PlainRun(reviews_csv(44), checkpoints("bert"), tmp_path_factory.mktemp("plain"))


def tell(what: str, found: Counter[str], capsys: pytest.CaptureFixture[str]) -> None:
    counts = ", ".join(f"{name} {count}" for name, count in found.most_common())
    with capsys.disabled():
        sys.stdout.write(f"\nplain Trainer, {what}, seed {SEED}: {counts}\n")


@pytest.mark.slow
def test_plain_trainer_killed_in_a_save(plain: PlainRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "events.log"
    window = Window(tmp_path / "counted", "save", STEP, STEP - 2, staging="checkpoint-")
    assert plain.start(window.folder, prepare=record_events, prepare_arguments=(window, log)).codes == (0,)
    points = list_points(read_events(log.with_suffix(".0")))
    found = Counter[str]()
    for index, (number, mode) in enumerate(points):
        target, meeting = tmp_path / f"run_{index}", tmp_path / f"meeting_{index}"
        meeting.mkdir()
        own = Window(target, "save", STEP, STEP - 2, staging="checkpoint-")
        killed = plain.start(target, prepare=kill_at, prepare_arguments=(own, Kill(number, mode), meeting))
        assert killed.codes == (KILLED,), killed.output
        found[plain.go_on(target)] += 1
    tell(f"killed at all {len(points)} points of a save", found, capsys)
    assert found[REFUSED] > len(points) // 2


@pytest.mark.slow
def test_plain_trainer_on_damaged_checkpoints(
    plain: PlainRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, meeting = tmp_path / "killed", tmp_path
    window = Window(target, "end", LATER, LATER - 2, staging="checkpoint-")
    assert plain.start(target, prepare=kill_at, prepare_arguments=(window, Kill(0), meeting)).codes == (KILLED,)
    rng, found = random.Random(SEED), Counter[str]()
    assert plain.go_on(Path(shutil.copytree(target, tmp_path / "whole"))) == SAME
    for index in range(DAMAGES):
        copied = tmp_path / f"run_{index}"
        shutil.copytree(target, copied)
        steps = sorted(int(each.name.partition("-")[2]) for each in copied.glob("checkpoint-*"))
        draw_damage(rng, *(copied / f"checkpoint-{step}" for step in (steps[-1], steps[0]))).apply()
        found[plain.go_on(copied)] += 1
    tell(f"newest checkpoint damaged {DAMAGES} times", found, capsys)
    assert found[OTHER]
