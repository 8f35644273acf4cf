"""A model and its baselines: the same rows, the numbers they give by themselves, and a ladder that survives a stop."""

import hashlib
import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import load_recipe, run_recipe_here, to_argv
from moments import signal_at
from test_resume import language_model_settings
from trials import KILLED, run_trial
from waiting_processes import SLOW_SECONDS

from hfpipe.config import load_config
from hfpipe.config.baseline_runs import derive_baseline
from hfpipe.data.corpora import load_labelled
from hfpipe.evaluation.intervals import compare_paired
from hfpipe.evaluation.predictions import read_predictions
from hfpipe.evaluation.record import EvaluationRecord, read_evaluation
from hfpipe.records.run_directory import read_json

RECIPE = "finetune_classifier"
CLOCK = ("train_seconds", "rows_per_second", "session_seconds", "mfu", "memory_mb")


@pytest.fixture(scope="module")
def settings(checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path]) -> dict[str, Any]:
    """A classifier of few steps, with a test part."""
    return {
        "train_file": reviews_csv(64),
        "test_file": reviews_csv(24),
        "model_name_or_path": checkpoints("bert"),
        "max_seq_length": 24,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 1,
        "validation_fraction": 0.25,
        "bf16": "false",
        "disable_tqdm": "true",
    }


@pytest.fixture(scope="module")
def climbed(settings: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with three baselines, which nobody stopped."""
    folder = tmp_path_factory.mktemp("climbed") / "run"
    run_recipe_here(RECIPE, {**settings, "baselines": "[majority, tfidf, gru]", "output_dir": folder})
    return folder


def outcome(folder: Path) -> dict[str, Any]:
    """Return what a run came to, its baselines among it, without times."""
    found = {name: timeless(read_json(folder / name)) for name in ("evaluation.json", "metrics.json")}
    weights = sorted(folder.rglob("model.safetensors"))
    hashes = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in weights}
    return found | {name: value for name, value in hashes.items() if "checkpoints" not in name}


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if not name.endswith(("_runtime", "_per_second", *CLOCK))}
        return {name: timeless(each) for name, each in kept.items()}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def read_ladder(folder: Path) -> EvaluationRecord:
    record = read_evaluation(folder)
    assert [each.name for each in record.baselines] == ["majority", "tfidf", "gru"]
    return record


def test_each_baseline_has_its_scores_and_cost(climbed: Path, settings: Mapping[str, Any]) -> None:
    record, metrics = read_ladder(climbed), read_json(climbed / "metrics.json")
    test = read_predictions(climbed / "predictions" / "test.parquet")
    majority, tfidf, gru = record.baselines
    frequencies = np.bincount(test.targets) / len(test)
    assert majority.parts["test"].metrics["accuracy"].value == pytest.approx(max(frequencies))
    parts = load_labelled(load_config(to_argv(settings), recipe=RECIPE))
    logarithms = np.log(np.bincount(parts.train.targets) / len(parts.train.targets))
    log_loss = majority.parts["validation"].metrics["log_loss"].value
    assert log_loss == pytest.approx(-logarithms[parts.validation.targets].mean())
    for each in record.baselines:
        score = each.parts["test"].metrics["accuracy"]
        assert metrics[f"test_{each.name}_accuracy"] == score.value
        assert metrics[f"eval_{each.name}_accuracy"] == each.parts["validation"].metrics["accuracy"].value
        assert score.value is not None and score.low is not None and score.high is not None
        assert score.low <= score.value <= score.high
        assert each.train_seconds is not None and each.rows_per_second is not None and each.rows_per_second > 0
    assert (tfidf.title, gru.title, majority.parameters) == ("TF-IDF + logistic regression", "GRU", 2)
    own = read_json(climbed / "baselines" / "gru" / "run.json")
    assert (own["status"], own["parameters"]["count"]) == ("done", gru.parameters)
    # its data and its rows are those of the run, whose report tells of both
    told = {name for name in ("findings.json", "attributions.json", "report.html") if (climbed / name).is_file()}
    assert told == {"findings.json", "attributions.json", "report.html"}
    assert [name for name in told if (climbed / "baselines" / "gru" / name).exists()] == []
    assert "GRU" in (climbed / "report.html").read_text(encoding="utf-8")


def test_the_comparison_is_of_the_rows_both_have_scored(climbed: Path) -> None:
    record = read_ladder(climbed)
    parts = ("predictions", "test.parquet")
    model, gru = (read_predictions(folder.joinpath(*parts)) for folder in (climbed, climbed / "baselines" / "gru"))
    assert list(model.places) == list(gru.places) and list(model.texts) == list(gru.texts)
    expected = compare_paired(model.problem_type, model.logits, gru.logits, model.targets, metric="accuracy", seed=42)
    found = record.baselines[2].comparison
    assert found is not None and (found.part, found.metric, found.test) == ("test", "accuracy", expected.test)
    assert (found.difference, found.p_value) == (expected.difference, expected.p_value)
    mine, theirs = ((each.logits.argmax(axis=1) == each.targets).mean() for each in (model, gru))
    assert found.difference == pytest.approx(mine - theirs)


def test_a_baseline_is_the_run_it_would_be_by_itself(
    climbed: Path, settings: Mapping[str, Any], tmp_path: Path
) -> None:
    config = load_config(to_argv({**settings, "output_dir": climbed}), recipe=RECIPE)
    derived = derive_baseline(config, "gru", data=config.data, model=config.model)
    alone = replace(derived, training=replace(derived.training, output_dir=str(tmp_path / "alone")))
    load_recipe(RECIPE).run(alone)
    assert outcome(tmp_path / "alone") == outcome(climbed / "baselines" / "gru")


def test_baselines_change_nothing_of_the_model(
    climbed: Path, settings: Mapping[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="hfpipe")
    run_recipe_here(RECIPE, {**settings, "baselines": "[]", "output_dir": tmp_path / "run"})
    found, wanted = outcome(tmp_path / "run"), outcome(climbed)
    assert found["evaluation.json"].pop("baselines") == []
    del wanted["evaluation.json"]["baselines"]
    assert (found["evaluation.json"], found["model.safetensors"]) == (
        wanted["evaluation.json"],
        wanted["model.safetensors"],
    )
    assert not (tmp_path / "run" / "baselines").exists()
    assert "parameters  trained in" not in caplog.text


def test_the_same_command_again_shows_the_ladder(
    climbed: Path, settings: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    before = {path: path.stat().st_mtime_ns for path in climbed.rglob("*") if path.is_file() and path.name != ".lock"}
    caplog.set_level(logging.INFO, logger="hfpipe")
    run_recipe_here(RECIPE, {**settings, "baselines": "[majority, tfidf, gru]", "output_dir": climbed})
    assert {path: path.stat().st_mtime_ns for path in before} == before
    head = next(at for at, line in enumerate(caplog.messages) if line.startswith("test accuracy"))
    assert sorted(line.split("  ")[0][:2] for line in caplog.messages[head + 1 : head + 5]) == ["", "", "", "* "]
    assert "points" in caplog.messages[head + 5]


@pytest.mark.parametrize(
    ("function", "call", "numbers", "code"),
    [
        pytest.param("fit_tfidf", 1, [signal.SIGKILL], KILLED, marks=pytest.mark.slow),
        # of the baseline, before its first step
        pytest.param("train_tokenizer", 1, [signal.SIGTERM], 143, marks=pytest.mark.slow),
        ("find_spread", 5, [signal.SIGTERM, signal.SIGINT], 143),  # in its third step
        pytest.param("read_trained", 1, [signal.SIGKILL], KILLED, marks=pytest.mark.slow),
    ],
)
def test_a_ladder_that_was_stopped_is_climbed_to_the_same_numbers(
    function: str,
    call: int,
    numbers: list[int],
    code: int,
    climbed: Path,
    settings: Mapping[str, Any],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    mine = {**settings, "baselines": "[majority, tfidf, gru]", "output_dir": folder}
    stopped = run_trial(RECIPE, mine, prepare=signal_at, prepare_arguments=(function, numbers, 0, call))
    assert stopped.codes == (code,), stopped.output
    assert not stopped.traceback
    ending = run_trial(RECIPE, mine)
    assert ending.codes == (0,), ending.output
    assert outcome(folder) == outcome(climbed)
    sessions = [each["status"] for each in read_json(folder / "run.json")["sessions"]]
    assert sessions == (["stopped", "done"] if function == "find_spread" else ["killed", "done"])
    of_baseline = [each["status"] for each in read_json(folder / "baselines" / "gru" / "run.json")["sessions"]]
    expected = {"fit_tfidf": ["done"], "train_tokenizer": ["killed", "done"], "find_spread": ["stopped", "done"]}
    assert of_baseline == expected.get(function, ["done"])


def test_two_processes_climb_together_and_are_connected_once(settings: Mapping[str, Any], tmp_path: Path) -> None:
    own = {"baselines": "[tfidf, gru]", "output_dir": tmp_path / "run", "per_device_train_batch_size": 2}
    ending = run_trial(RECIPE, {**settings, **own}, processes=2)
    assert ending.codes == (0, 0), ending.output
    assert "ended without a word" not in ending.output and not ending.traceback
    assert [each.name for each in read_evaluation(tmp_path / "run").baselines] == ["tfidf", "gru"]
    assert read_json(tmp_path / "run" / "baselines" / "gru" / "run.json")["world_size"] == 2


def test_a_process_that_dies_while_a_baseline_is_trained_ends_the_other(
    settings: Mapping[str, Any], tmp_path: Path
) -> None:
    own = {"baselines": "[gru]", "output_dir": tmp_path / "run", "per_device_train_batch_size": 2}
    killed = ("find_spread", [signal.SIGKILL], 1, 5)
    ending = run_trial(
        RECIPE, {**settings, **own}, processes=2, prepare=signal_at, prepare_arguments=killed, timeout_s=90
    )
    assert ending.codes == (1, KILLED), ending.output
    assert "process 1 of 2" in ending.output.splitlines()[-1] and not ending.traceback


def test_others_wait_for_the_main_process_longer_than_a_collective_may(tmp_path: Path) -> None:
    ending = run_trial(Path(__file__).with_name("waiting_processes.py"), {"output": tmp_path}, processes=2)
    assert ending.codes == (0, 0), ending.output
    assert (tmp_path / "0").read_text() == "done" and (tmp_path / "1").read_text() == "None"
    assert ending.seconds > SLOW_SECONDS


def test_language_models_are_compared_block_by_block(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"line {index} of plain words, {index * index}\n" for index in range(40)), "utf-8")
    settings = {**language_model_settings(corpus), "num_train_epochs": 1, "output_dir": tmp_path / "run"}
    run_recipe_here("pretrain_causal_lm", {**settings, "baselines": "lstm"})
    record = read_evaluation(tmp_path / "run")
    (lstm,) = record.baselines
    theirs = lstm.parts["validation"].metrics["bits_per_byte"].value
    mine = record.parts["validation"].metrics["bits_per_byte"].value
    assert lstm.comparison is not None and mine is not None and theirs is not None
    assert (lstm.comparison.metric, lstm.comparison.test) == ("bits_per_byte", "paired bootstrap")
    assert lstm.comparison.difference == pytest.approx(mine - theirs)
    assert read_json(tmp_path / "run" / "metrics.json")["eval_lstm_bits_per_byte"] == theirs
