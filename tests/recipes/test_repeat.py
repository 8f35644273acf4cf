"""Several seeds through the recipe: the same rows, the test part scored once and as an ordinary run scores it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import load_recipe, make_review, run_recipe_here, to_argv

from hfpipe.config import load_config
from hfpipe.data.corpora import load_labelled
from hfpipe.errors import CheckpointError
from hfpipe.evaluation.predictions import read_predictions
from hfpipe.inference.loading import load_classifier
from hfpipe.launch import Launch, find_opening
from hfpipe.records.run_directory import read_history, read_json
from hfpipe.studies.plan import Study, check_runs, plan_repeat
from hfpipe.studies.repeat import Surroundings, run_study

KINDS = ("short", "long", "")
TINY_RUN = {
    "max_seq_length": 24,
    "num_train_epochs": 1,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 8,
    "logging_steps": 1,
    "validation_fraction": 0.25,
    "baselines": "[majority]",
    "bf16": "false",
    "disable_tqdm": "true",
}


def write_run(folder: Path, checkpoint: Path) -> Path:
    """Write a run on 32 reviews and 12 to test with, and return its YAML file."""
    for name, numbers in (("train", range(32)), ("test", range(40, 52))):
        rows = [(*make_review(number), KINDS[number % 3]) for number in numbers]
        lines = [",".join(row) + "\n" for row in [("text", "label", "kind"), *rows]]
        (folder / f"{name}.csv").write_text("".join(lines))
    settings = {
        "recipe": "finetune_classifier",
        "model_name_or_path": checkpoint,
        "train_file": folder / "train.csv",
        "test_file": folder / "test.csv",
        "slice_column_names": "kind",
        **TINY_RUN,
    }
    path = folder / "tiny.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    return path


def run_here(launch: Launch) -> int:
    """Run what would be started in this process; what it raises comes through."""
    recipe = launch.recipe.stem
    load_recipe(recipe).run(load_config(launch.command[2:], recipe=recipe))
    return 0


def scores_of(folder: Path, prefix: str) -> dict[str, Any]:
    metrics = read_json(folder / "metrics.json")
    return {name: value for name, value in metrics.items() if name.startswith(f"{prefix}_")}


def study_of(folder: Path, checkpoint: Path) -> Study:
    return plan_repeat(str(write_run(folder, checkpoint)), [f"output_dir={folder / 'study'}"], seeds="1,2")


def test_seeds_differ_in_training_alone_and_the_best_is_scored_as_an_ordinary_run(
    checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    study = study_of(tmp_path, checkpoints("bert"))
    check_runs(study)
    trained, study_dir = [], tmp_path / "study"

    def run(launch: Launch) -> int:
        config = load_config(launch.command[2:])
        trained.append((config.training.seed, config.evaluation.score_test))
        if config.evaluation.score_test:
            # validation has chosen while nobody had met the test part
            assert read_json(study_dir / "study.json")["status"] == "chosen"
            assert [scores_of(study_dir / f"seed-{seed}", "test") for seed in (1, 2)] == [{}, {}]
        return run_here(launch)

    assert run_study(study, Surroundings(lambda line: None, run)) == 0
    record = read_json(study_dir / "study.json")
    kept = record["kept"]["seed"]
    assert trained == [(1, False), (2, False), (kept, True)]

    # the same rows in the same files, and other weights
    first, second = (load_labelled(study.config_of(seed)) for seed in (1, 2))
    assert (first.train.texts, first.validation.texts) == (second.train.texts, second.validation.texts)
    losses = {seed: scores_of(study_dir / f"seed-{seed}", "eval")["eval_loss"] for seed in (1, 2)}
    assert (losses[1] != losses[2], kept) == (True, min(losses, key=losses.__getitem__))
    other = study_dir / f"seed-{3 - kept}"
    assert scores_of(other, "test") == {}
    assert not (other / "predictions" / "test.parquet").exists()
    notes = read_json(other / "run.json")["data"]["notes"]
    assert any(note.startswith("test: held back: none of its rows is scored") for note in notes)

    # a run that scores its test part at once, without slices, comes to the same numbers, without a further step
    straight = tmp_path / "straight"
    settings = {"seed": kept, "split_seed": 42, "output_dir": straight, "slice_column_names": "[]"}
    run_recipe_here("finetune_classifier", {"config": tmp_path / "tiny.yaml", **settings})
    for prefix in ("eval", "test"):
        assert len(scores_of(straight, prefix)) > 5
        assert scores_of(study_dir / "best", prefix) == scores_of(straight, prefix)
    assert read_history(study_dir / "best" / "history.jsonl")[-1]["step"] == 3
    last = read_json(study_dir / "best" / "run.json")["sessions"][-1]
    assert (last["from_step"], last["to_step"], last["ended"]) == (3, 3, record["test"]["scored_at"])
    assert record["test"]["metrics"]["loss"] == scores_of(straight, "test")["test_loss"]
    assert record["validation"]["loss"]["mean"] == pytest.approx((losses[1] + losses[2]) / 2)
    assert not any(name.endswith(("_low", "_high")) or "majority" in name for name in record["validation"])
    assert load_classifier(study_dir / "best").label_names == ("neg", "pos")
    predictions = read_predictions(study_dir / "best" / "predictions" / "test.parquet")
    assert predictions.slices == {"kind": [KINDS[number % 3] for number in range(40, 52)]}
    assert read_predictions(straight / "predictions" / "test.parquet").slices == {}


def test_the_test_part_of_a_run_that_is_done_needs_a_checkpoint(
    checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    output_dir = tmp_path / "run"
    settings = {"config": write_run(tmp_path, checkpoints("bert")), "output_dir": output_dir}
    settings |= {"save_strategy": "no", "load_best_model_at_end": "false", "max_steps": 1, "num_train_epochs": "null"}
    run_recipe_here("finetune_classifier", {**settings, "score_test": "false"})
    done = load_config(to_argv({**settings, "score_test": "false"}))
    assert (find_opening(done).kind, scores_of(output_dir, "test")) == ("done", {})
    with pytest.raises(CheckpointError) as raised:
        run_recipe_here("finetune_classifier", settings)
    rule = "no checkpoint is there to score the test part with, so the finished run would be trained anew; leave score_"
    assert rule in str(raised.value)
    assert find_opening(done).kind == "done"


@pytest.mark.slow
def test_the_command_is_stopped_and_goes_on(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    file = write_run(tmp_path, checkpoints("bert"))
    words = ["repeat", str(file), "--seeds", "1,2", f"output_dir={tmp_path / 'study'}"]
    command = [sys.executable, "-c", "from hfpipe.cli import main; main()", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 300
        while not (tmp_path / "study" / "seed-1" / "run.json").exists():
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert "seed 1 ended with exit code 130; the same command goes on from there" in said
    assert "Traceback" not in said
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    # a DeepSpeed that is installed speaks first
    told = [line for line in ended.stdout.splitlines() if "real_accelerator" not in line]
    assert told[0] == "2 runs that differ in their seed alone; the rows are the same (split_seed 42)"
    assert read_json(tmp_path / "study" / "study.json")["status"] == "done"
