"""A launch that is started again goes on by itself: what its command wished is done once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here
from interruption import interrupted_after, killed_before_writing
from test_resume import classifier_settings, outcome

from hfpipe.errors import Stopped
from hfpipe.records.run_directory import read_json

Settings = dict[str, Any]


@pytest.fixture
def settings(checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path) -> Settings:
    own = classifier_settings(reviews_csv(44), checkpoints("bert"))
    return {**own, "save_total_limit": 9, "output_dir": tmp_path / "run"}


@pytest.fixture
def start_of_job(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make what follows the start of a Slurm job that was queued again so often."""

    def start(count: int) -> None:
        monkeypatch.setenv("SLURM_JOB_ID", "4711")
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(count))

    return start


def stop_after(events: int, settings: Settings) -> int:
    with interrupted_after(events), pytest.raises(Stopped) as stop:
        run_recipe_here("finetune_classifier", settings)
    return stop.value.step


def test_a_job_that_is_queued_again_begins_anew_once(settings: Settings, start_of_job: Callable[[int], None]) -> None:
    run_recipe_here("finetune_classifier", settings)
    anew, folder = {**settings, "fresh_start": "true"}, settings["output_dir"]
    start_of_job(0)
    steps = [stop_after(3, anew)]
    start_of_job(1)
    steps.append(stop_after(5, anew))
    assert steps[1] > steps[0]
    start_of_job(2)
    run_recipe_here("finetune_classifier", anew)
    assert [session["from_step"] for session in read_json(folder / "run.json")["sessions"]] == [0, *steps]
    assert not folder.with_name("run.2").exists()
    assert outcome(folder) == outcome(folder.with_name("run.1"))


def test_a_job_that_is_queued_again_goes_back_once(settings: Settings, start_of_job: Callable[[int], None]) -> None:
    stop_after(14, settings)
    back = {**settings, "resume_from_checkpoint": "checkpoint-2"}
    start_of_job(0)
    step = stop_after(5, back)
    start_of_job(1)
    run_recipe_here("finetune_classifier", back)
    sessions = read_json(settings["output_dir"] / "run.json")["sessions"]
    assert [session["from_step"] for session in sessions] == [0, 2, step]
    assert step > 2


def test_a_kill_before_the_way_back_is_free_leaves_the_wish(
    settings: Settings, start_of_job: Callable[[int], None]
) -> None:
    stop_after(14, settings)
    back = {**settings, "resume_from_checkpoint": "checkpoint-2"}
    start_of_job(0)
    with killed_before_writing("set_aside/checkpoint-6"), pytest.raises(KeyboardInterrupt):
        run_recipe_here("finetune_classifier", back)
    start_of_job(1)
    stop_after(2, back)
    assert read_json(settings["output_dir"] / "run.json")["sessions"][-1]["from_step"] == 2
