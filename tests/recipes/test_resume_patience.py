"""Early stopping in the middle of an epoch: the end of the run logs what the end of an epoch does, killed or not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here
from interruption import killed_before_writing
from test_resume import classifier_settings, outcome, stop_and_go_on

from hfpipe.records.run_directory import read_json

Settings = dict[str, Any]


@pytest.fixture
def settings(checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path]) -> Settings:
    """The rate grows until it ruins the model: patience runs out early; an epoch logs its mean loss at its end."""
    own = classifier_settings(reviews_csv(44), checkpoints("bert"))
    del own["logging_steps"]
    return own | {
        "early_stopping_patience": 2,
        "learning_rate": 0.1,
        # the rate was chosen by the dropout that whole layers draw
        "padding_free": "false",
        "pooled_last_layer": "false",
        "warmup_steps": 12,
        "metric_for_best_model": "loss",
        "num_train_epochs": 4,
        "logging_strategy": "epoch",
    }


def find_last_step(folder: Path, settings: Settings) -> int:
    """Go straight through and return the last step; the loss of the epoch that it cut short is in the history."""
    run_recipe_here("finetune_classifier", {**settings, "output_dir": folder})
    last: int = read_json(folder / "run.json")["steps"]
    assert last < 24
    assert last % 6, "the epoch was left half-way"
    losses = [event["step"] for event in outcome(folder)[1] if "loss" in event]
    assert losses[-1] == last
    return last


def test_a_kill_at_the_last_save_keeps_the_last_loss(settings: Settings, tmp_path: Path) -> None:
    last = find_last_step(tmp_path / "straight", settings)
    killed = {**settings, "output_dir": tmp_path / "killed"}
    with killed_before_writing(f"checkpoint-{last}"), pytest.raises(KeyboardInterrupt):
        run_recipe_here("finetune_classifier", killed)
    assert not (tmp_path / "killed" / "checkpoints" / f"checkpoint-{last}").exists()
    run_recipe_here("finetune_classifier", killed)
    assert outcome(tmp_path / "killed")[:2] == outcome(tmp_path / "straight")[:2]


# at an evaluation of the first epoch and of the last one: the run that goes on has its callbacks in another order
@pytest.mark.parametrize("events", [3, 5])
def test_a_signal_leaves_what_the_end_of_the_run_logs(events: int, settings: Settings, tmp_path: Path) -> None:
    find_last_step(tmp_path / "straight", settings)
    stop_and_go_on("finetune_classifier", {**settings, "output_dir": tmp_path / "stopped"}, events=events)
    assert outcome(tmp_path / "stopped")[:2] == outcome(tmp_path / "straight")[:2]


def test_a_signal_at_the_very_step_where_patience_runs_out(settings: Settings, tmp_path: Path) -> None:
    every_step = {**settings, "eval_steps": 1, "save_steps": 1}
    last = find_last_step(tmp_path / "each", every_step)
    # every step has an evaluation, an epoch's last one a loss before it
    events = (last - 1) + (last - 1) // 6
    stopped = {**every_step, "output_dir": tmp_path / "stopped"}
    assert stop_and_go_on("finetune_classifier", stopped, events=events) == last
    assert outcome(tmp_path / "stopped")[:2] == outcome(tmp_path / "each")[:2]
    sessions = read_json(tmp_path / "stopped" / "run.json")["sessions"]
    assert [session["from_step"] for session in sessions] == [0, last], "what the signal had saved is there"
