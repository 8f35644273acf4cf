"""A run that was stopped and gone on with ends in the same bits as one that was not."""

import hashlib
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here
from interruption import interrupted_after, killed_before_writing

from hfpipe.errors import CheckpointError, Stopped
from hfpipe.records.run_directory import read_history, read_json, write_json

TIMES = ("_runtime", "_per_second", "train_seconds", "mfu", "memory_mb")
BITS = ("model.safetensors", "inference.json", "predictions", "block_losses")


def classifier_settings(csv: Path, checkpoint: Path) -> dict[str, Any]:
    """Two epochs of 6 steps of 2 micro-batches, dropout on, an evaluation and a checkpoint every second step."""
    return {
        "train_file": csv,
        "model_name_or_path": checkpoint,
        "config_overrides": "hidden_dropout_prob=0.2,attention_probs_dropout_prob=0.2",
        "max_seq_length": 24,
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 2,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "validation_fraction": 0.25,
        "bf16": "false",
        "disable_tqdm": "true",
    }


def language_model_settings(corpus: Path) -> dict[str, Any]:
    """One epoch of packed blocks, a log event every third step: a stop falls between two of them."""
    return {
        "train_file": corpus,
        "document_per": "line",
        "model_size": "tiny",
        "vocab_size": 300,
        "block_size": 16,
        "config_overrides": "hidden_size=32,intermediate_size=48,num_hidden_layers=2,attention_dropout=0.1",
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "logging_steps": 3,
        "max_train_samples": 12,
        "bf16": "false",
        "disable_tqdm": "true",
    }


def outcome(output_dir: Path) -> tuple[dict[str, str], list[Any], dict[str, float], dict[str, Any]]:
    """Return the hashes of weights, calibration and predictions, then history, scores and record without times."""
    files = [path for name in BITS for path in ((output_dir / name), *sorted((output_dir / name).glob("*")))]
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}
    history = [_timeless(event) for event in read_history(output_dir / "history.jsonl")]
    metrics, evaluation = (_timeless(read_json(output_dir / name)) for name in ("metrics.json", "evaluation.json"))
    return hashes, history, metrics, evaluation


def _timeless(value: Any) -> Any:
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _timeless(each) for name, each in value.items() if not name.endswith(TIMES)}


def stop_and_go_on(recipe: str, settings: Mapping[str, Any], *, events: int, number: int = signal.SIGINT) -> int:
    """Run `recipe`, interrupt it after so many log events, run it again; return the step it was stopped at."""
    with interrupted_after(events, number), pytest.raises(Stopped) as stop:
        run_recipe_here(recipe, settings)
    record = read_json(Path(settings["output_dir"]) / "run.json")
    assert record["status"] == "stopped"
    assert record["sessions"][-1]["to_step"] == stop.value.step
    run_recipe_here(recipe, settings)
    return stop.value.step


@pytest.mark.parametrize("events", [1, 5, 6, 8])
def test_stopped_classifier_ends_in_the_same_bits(
    events: int, checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    stopped = {**settings, "output_dir": tmp_path / "stopped"}
    step = stop_and_go_on("finetune_classifier", stopped, events=events)
    assert 0 < step < 12
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")
    record = read_json(tmp_path / "stopped" / "run.json")
    assert [(each["from_step"], each["to_step"], each["status"]) for each in record["sessions"]] == [
        (0, step, "stopped"),
        (step, 12, "done"),
    ]


def test_early_stopping_keeps_its_patience_and_the_best_weights(
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="hfpipe")
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    # a rate that ruins the model: the first evaluation stays the best, and patience runs out before the end
    settings |= {"early_stopping_patience": 3, "learning_rate": 0.5, "metric_for_best_model": "loss"}
    settings |= {"num_train_epochs": 4}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    straight = read_json(tmp_path / "straight" / "run.json")
    assert straight["steps"] < 24
    assert straight["best_step"] < straight["steps"]
    told = f"stopped early at step {straight['steps']} of 24: loss did not improve in 3 evaluations"
    assert told in caplog.text
    stop_and_go_on("finetune_classifier", {**settings, "output_dir": tmp_path / "stopped"}, events=5)
    assert read_json(tmp_path / "stopped" / "run.json")["steps"] == straight["steps"]
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")


def test_a_moved_run_finds_its_best_weights(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    # the rate grows until it ruins the model, which has learned by then: the best step is an early one
    settings |= {"learning_rate": 0.1, "warmup_steps": 12, "metric_for_best_model": "loss", "num_train_epochs": 4}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    best = read_json(tmp_path / "straight" / "run.json")["best_step"]
    assert best < 20, "the last evaluation is the best one: nothing would have to be found again"
    with interrupted_after(best + best // 2 + 1, signal.SIGTERM), pytest.raises(Stopped) as stop:
        run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "here"})
    assert stop.value.step > best
    shutil.move(tmp_path / "here", tmp_path / "there")
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "there"})
    assert outcome(tmp_path / "there") == outcome(tmp_path / "straight")


def test_stopped_language_model_ends_in_the_same_bits(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"line {index} of a corpus of plain words, {index * index}\n" for index in range(40)))
    settings = language_model_settings(corpus)
    run_recipe_here("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "straight"})
    step = stop_and_go_on("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "stopped"}, events=1)
    assert step == 4
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")


def test_a_run_that_is_done_is_left_alone(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "output_dir": tmp_path / "run"}
    run_recipe_here("finetune_classifier", settings)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    run_recipe_here("finetune_classifier", settings)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before
    run_recipe_here("finetune_classifier", {**settings, "fresh_start": "true"})
    assert outcome(tmp_path / "run") == outcome(tmp_path / "run.1")


def test_changed_data_is_refused(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    csv = tmp_path / "own.csv"
    shutil.copy(reviews_csv(44), csv)
    settings = {**classifier_settings(csv, checkpoints("bert")), "output_dir": tmp_path / "run"}
    with interrupted_after(3), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", settings)
    csv.write_text(csv.read_text() + "one more line,pos\n")
    with pytest.raises(CheckpointError, match="its content is no longer what this run began with"):
        run_recipe_here("finetune_classifier", settings)


@pytest.mark.parametrize(
    "ending", [{"max_steps": 7}, {"num_train_epochs": 4, "early_stopping_patience": 2, "learning_rate": 0.5}]
)
def test_a_run_killed_after_its_last_step_makes_no_further_one(
    ending: dict[str, Any], checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    if "max_steps" in ending:
        del settings["num_train_epochs"]
    settings |= ending
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    with killed_before_writing("metrics.json"), pytest.raises(KeyboardInterrupt):
        # as where the kill comes before the last save is followed by its rotation
        run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "killed", "save_total_limit": 9})
    assert read_json(tmp_path / "killed" / "run.json")["status"] == "running"
    left = len(list((tmp_path / "killed" / "checkpoints").iterdir()))
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "killed"})
    kept = [{path.name for path in (tmp_path / name / "checkpoints").iterdir()} for name in ("killed", "straight")]
    assert kept[0] == kept[1]
    assert len(kept[0]) < left
    records = [read_json(tmp_path / name / "run.json") for name in ("killed", "straight")]
    assert records[0]["steps"] == records[1]["steps"]
    assert [session["status"] for session in records[0]["sessions"]] == ["killed", "done"]
    killed, straight = outcome(tmp_path / "killed"), outcome(tmp_path / "straight")
    assert killed[:2] == straight[:2]
    assert killed[2] == {name: straight[2][name] for name in killed[2]}
    assert killed[3] == straight[3]
    assert {"train_loss", "eval_loss"} <= killed[2].keys()


def test_an_evaluation_at_the_start_is_made_once(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert")) | {"eval_on_start": "true"}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    stop_and_go_on("finetune_classifier", {**settings, "output_dir": tmp_path / "stopped"}, events=5)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")


def test_going_back_to_an_earlier_checkpoint_sets_the_later_ones_aside(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert")) | {"save_total_limit": 9}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    back = {**settings, "output_dir": tmp_path / "back"}
    with interrupted_after(14), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", back)
    with interrupted_after(7), pytest.raises(Stopped) as stop:
        run_recipe_here("finetune_classifier", {**back, "resume_from_checkpoint": "checkpoint-2"})
    kept = sorted(path.name for path in (tmp_path / "back" / "checkpoints").glob("checkpoint-*"))
    assert kept[-1] == f"checkpoint-{stop.value.step}"
    assert (tmp_path / "back" / "checkpoints" / "set_aside" / "checkpoint-8").is_dir()
    run_recipe_here("finetune_classifier", back)
    assert outcome(tmp_path / "back") == outcome(tmp_path / "straight")


def test_a_checkpoint_to_go_on_from_needs_its_run(reviews_csv: Callable[[int], Path], tmp_path: Path) -> None:
    settings = {"train_file": reviews_csv(44), "model_name_or_path": "x", "output_dir": tmp_path / "none"}
    with pytest.raises(CheckpointError) as error:
        run_recipe_here("finetune_classifier", {**settings, "resume_from_checkpoint": "checkpoint-2"})
    assert str(error.value) == (
        "the run directory has 1 problem:\n"
        f"  - --resume_from_checkpoint: checkpoint-2: there is no run in {tmp_path / 'none'} to go on with; "
        "name the run's output_dir, or start from weights by model_name_or_path"
    )


def test_another_precision_or_number_of_rows_is_refused(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "output_dir": tmp_path / "run"}
    with interrupted_after(3), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", settings)
    record = read_json(tmp_path / "run" / "run.json")
    # as another launcher or another machine would have left it
    sessions = [{**record["sessions"][0], "cut": {"processes": 2, "rows": 3, "micro_batches": 2}}]
    others = {"rows_per_step": 12, "world_size": 2, "precision": "bf16", "sessions": sessions}
    write_json(tmp_path / "run" / "run.json", {**record, **others})
    with pytest.raises(CheckpointError) as error:
        run_recipe_here("finetune_classifier", settings)
    assert str(error.value) == (
        "the run directory has 2 problems:\n"
        "  - rows_per_step: 6 = 1 process x 3 rows x 2 micro-batches: another value than the run began with, "
        "12 = 2 x 3 x 2; make processes x per_device_train_batch_size x gradient_accumulation_steps 12 again, "
        "or begin anew with fresh_start: true\n"
        "  - precision: no: another value than the run began with, bf16; "
        "set bf16: true, or begin anew with fresh_start: true"
    )


def test_a_signal_at_the_step_where_patience_runs_out_ends_the_run_there(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    settings |= {"early_stopping_patience": 2, "learning_rate": 0.5, "num_train_epochs": 4}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    last = read_json(tmp_path / "straight" / "run.json")["steps"]
    assert last < 24
    # the log event of the step before the last: the signal is acted on at the step whose evaluation ends the run
    events = (last - 1) + (last - 2) // 2
    step = stop_and_go_on("finetune_classifier", {**settings, "output_dir": tmp_path / "stopped"}, events=events)
    assert step == last
    killed, straight = outcome(tmp_path / "stopped"), outcome(tmp_path / "straight")
    assert (*killed[:2], killed[3]) == (*straight[:2], straight[3])
    assert read_json(tmp_path / "stopped" / "run.json")["steps"] == last


def test_a_run_goes_on_at_the_intervals_that_are_given_now(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "output_dir": tmp_path / "run"}
    settings |= {"load_best_model_at_end": "false", "save_steps": 4, "eval_steps": 4, "logging_steps": 4}
    with interrupted_after(2), pytest.raises(Stopped) as stop:
        run_recipe_here("finetune_classifier", settings)
    assert stop.value.step == 5
    settings |= {"save_steps": 3, "eval_steps": 3, "logging_steps": 1, "save_total_limit": 9}
    run_recipe_here("finetune_classifier", settings)
    history = read_history(tmp_path / "run" / "history.jsonl")
    assert [event["step"] for event in history if "loss" in event] == [4, 6, 7, 8, 9, 10, 11, 12]
    assert [event["step"] for event in history if "eval_loss" in event] == [4, 6, 9, 12]
    names = {folder.name for folder in (tmp_path / "run" / "checkpoints").iterdir()}
    assert names == {f"checkpoint-{step}" for step in (4, 5, 6, 9, 12)}
