"""What starts a command again, and whether what the command wished has been done by then."""

import os
from pathlib import Path

import pytest

from hfpipe.records.launches import LAUNCHES, find_launches, wishes_hold
from hfpipe.records.run_directory import read_json
from hfpipe.records.sessions import begin_session

VARIABLES = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_RESTART_COUNT")
STARTERS = [VARIABLES[:2], VARIABLES[2:]]


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def start(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], launch: str, count: int) -> None:
    monkeypatch.setenv(names[0], launch)
    monkeypatch.setenv(names[1], str(count))


def test_a_command_given_by_hand_is_no_launch(tmp_path: Path) -> None:
    begin_session(tmp_path, {}, from_step=0)
    assert LAUNCHES not in read_json(tmp_path / "run.json")["sessions"][0]
    assert wishes_hold(tmp_path)


@pytest.mark.parametrize("names", STARTERS)
def test_a_restart_of_the_launch_that_began_has_no_wishes(
    names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(monkeypatch, names, "7", 0)
    begin_session(tmp_path, {}, from_step=0)
    assert wishes_hold(tmp_path), "the same command within one launch means what it says"
    start(monkeypatch, names, "7", 1)
    assert not wishes_hold(tmp_path)
    assert wishes_hold(tmp_path / "elsewhere"), "the start before ended before it began"
    start(monkeypatch, names, "8", 1)
    assert wishes_hold(tmp_path), "an earlier launch began this run"


def test_any_session_of_the_launch_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, STARTERS[1], "7", 0)
    begin_session(tmp_path, {}, from_step=0)
    for name in STARTERS[1]:
        monkeypatch.delenv(name)
    begin_session(tmp_path, {}, from_step=2)
    start(monkeypatch, STARTERS[1], "7", 2)
    assert not wishes_hold(tmp_path)


def test_a_launcher_without_a_name_is_told_by_its_process() -> None:
    unnamed = {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0"}
    named = {**unnamed, "TORCHELASTIC_RUN_ID": f"none {os.getppid()}"}
    assert find_launches(unnamed) == find_launches(named)
    assert [*find_launches({**unnamed, "SLURM_JOB_ID": "7"}).values()] == [False, False]
