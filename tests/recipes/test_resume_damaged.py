"""A damaged checkpoint is never gone on from: the one before is, to the same bits, or the run is refused.

Nor does a whole one hide that something was to follow it.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import run_recipe_here
from interruption import interrupted_after, killed_before_writing
from test_resume import classifier_settings, outcome

from hfpipe.errors import CheckpointError, Stopped
from hfpipe.records.run_directory import read_history, read_json, write_json


def test_a_run_whose_only_checkpoint_is_damaged_is_refused_and_stays_as_it_was(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "output_dir": tmp_path / "run"}
    with interrupted_after(1), pytest.raises(Stopped) as stop:
        run_recipe_here("finetune_classifier", settings)
    (newest,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert newest.name == f"checkpoint-{stop.value.step}"
    state = [f"{name}.{kind}" for name in ("optimizer", "rng_state_0") for kind in ("json", "safetensors")]
    assert {*state, "scheduler.json", "manifest.json"} <= {path.name for path in newest.iterdir()}
    assert {path.suffix for path in newest.iterdir()} == {".json", ".safetensors"}
    for name in (*state, "scheduler.json"):
        whole = (newest / name).read_bytes()
        (newest / name).unlink()
        with pytest.raises(CheckpointError, match=f"{name}: is missing; put the files back as they were saved"):
            run_recipe_here("finetune_classifier", settings)
        (newest / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CheckpointError, match=rf"{name}: [\d,]+ bytes: {len(whole):,} were written; put the files"):
            run_recipe_here("finetune_classifier", settings)
        (newest / name).write_bytes(whole)
    (newest / "optimizer.pt").write_bytes(b"of an earlier version")
    with pytest.raises(CheckpointError, match=r"optimizer\.pt: is not part of the checkpoint"):
        run_recipe_here("finetune_classifier", settings)
    (newest / "optimizer.pt").unlink()
    run_recipe_here("finetune_classifier", settings)


def test_a_damaged_checkpoint_is_passed_over_and_the_run_ends_in_the_same_bits(
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "save_total_limit": 9}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    damaged = {**settings, "output_dir": tmp_path / "damaged"}
    with interrupted_after(8), pytest.raises(Stopped) as stop:
        run_recipe_here("finetune_classifier", damaged)
    there = tmp_path / "damaged" / "checkpoints"
    weights = there / f"checkpoint-{stop.value.step}" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    caplog.set_level("INFO", logger="hfpipe")
    run_recipe_here("finetune_classifier", damaged)
    assert f"{weights}: its content is not what was written; it now lies in {there}/set_aside" in caplog.text
    assert (there / "set_aside" / weights.parent.name).is_dir()
    assert outcome(tmp_path / "damaged") == outcome(tmp_path / "straight")
    assert read_json(tmp_path / "damaged" / "run.json")["sessions"][1]["from_step"] < stop.value.step


def test_damaged_best_weights_are_made_again(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    # the rate grows until it ruins the model: an early evaluation stays the best, and the end needs its checkpoint
    settings |= {"learning_rate": 0.1, "warmup_steps": 12, "metric_for_best_model": "loss", "num_train_epochs": 4}
    settings |= {"save_total_limit": 99}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    record = read_json(tmp_path / "straight" / "run.json")
    best = record["best_step"]
    assert 2 < best < record["steps"], "there is a checkpoint before the best one, and the last one is another"
    shutil.copytree(tmp_path / "straight", tmp_path / "damaged")
    write_json(tmp_path / "damaged" / "run.json", {**record, "status": "running"})
    (tmp_path / "damaged" / "checkpoints" / f"checkpoint-{best}" / "model.safetensors").write_bytes(b"")
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "damaged"})
    assert outcome(tmp_path / "damaged") == outcome(tmp_path / "straight")


def test_a_kill_between_the_save_of_a_step_and_the_log_of_its_epoch_loses_no_event(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    del settings["eval_strategy"], settings["eval_steps"], settings["logging_steps"]
    settings |= {"save_strategy": "steps", "save_steps": 3, "eval_strategy": "no", "logging_strategy": "epoch"}
    settings |= {"save_total_limit": 1}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    assert [event["step"] for event in read_history(tmp_path / "straight" / "history.jsonl")] == [6, 12]
    killed = {**settings, "output_dir": tmp_path / "killed"}
    # checkpoint-6 is published, and the one before it is about to be removed
    with killed_before_writing(".removing-3"), pytest.raises(KeyboardInterrupt):
        run_recipe_here("finetune_classifier", killed)
    run_recipe_here("finetune_classifier", killed)
    assert read_json(tmp_path / "killed" / "run.json")["sessions"][1]["from_step"] == 6
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "straight")


def test_a_folder_that_nothing_may_be_written_into_is_a_mistake_of_the_user(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "output_dir": tmp_path / "run"}
    with interrupted_after(4), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", settings)
    folder = tmp_path / "run" / "checkpoints"
    newest = max(folder.iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    (newest / "config.json").write_text("{}")
    # as a folder of another user would refuse it
    (folder / "set_aside").write_text("")
    with pytest.raises(CheckpointError, match=rf"{folder}: cannot be written \(File exists\)"):
        run_recipe_here("finetune_classifier", settings)
    (folder / "set_aside").unlink()
    run_recipe_here("finetune_classifier", settings)
