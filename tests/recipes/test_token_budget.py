"""Runs under a budget of tokens: every row weighs the same, a stop changes no bit, and a cut no step."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run_recipe_here
from interruption import interrupted_after
from order_audit import asked_for, audit
from safetensors.numpy import load_file
from test_data_order import check_alike, check_epochs
from test_resume import classifier_settings, outcome, stop_and_go_on
from trials import run_trial

from hfpipe.errors import CheckpointError, Stopped
from hfpipe.records.run_directory import read_history, read_json

ROWS, SHORT, LONG = 24, 4, 20
NO_DROPOUT = "hidden_dropout_prob=0,attention_probs_dropout_prob=0"
MOVED = ("encoder.layer.0.output.dense.weight", "embeddings.word_embeddings.weight")


def by_tokens(csv: Path, checkpoint: Path, **settings: Any) -> dict[str, Any]:
    """33 rows of 6 to 24 tokens, two micro-batches of 96 positions a step."""
    given = classifier_settings(csv, checkpoint)
    del given["per_device_train_batch_size"]
    return {**given, "max_tokens_per_batch": 96, **settings}


@pytest.mark.parametrize("padding_free", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_run_by_tokens_ends_in_the_same_bits_and_says_what_its_steps_are(
    padding_free: bool,
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="hfpipe")
    # a log event every third step: the session ends with losses and shares that the next one has to take over
    settings = by_tokens(reviews_csv(44), checkpoints("bert"), logging_steps=3, padding_free=str(padding_free).lower())
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    record = read_json(tmp_path / "straight" / "run.json")
    steps = record["steps"] // 2
    assert (record["rows_per_step"], record["tokens_per_step"]) == (None, 192)
    assert record["rows_per_epoch"] == 33
    assert record["padding_free_batches"] is padding_free
    mean = 33 * 2 / record["micro_batches_per_epoch"]
    assert record["mean_rows_per_step"] == mean
    counted, padding = (", padding not counted", "") if padding_free else ("", ", padding ")
    sizes = f"192 = 96 positions x 2 micro-batches x 1 processes{counted}, {mean:.1f} rows on average"
    assert f"tokens_per_step {sizes}; {steps} steps an epoch{padding}" in caplog.text
    card = (tmp_path / "straight" / "README.md").read_text()
    assert f"| rows per step | {mean:.1f} on average, as many as fit in 192 token positions = 96 a device x 2" in card
    assert "per_device_train_batch_size" not in card
    stopped = {**settings, "output_dir": tmp_path / "stopped"}
    step = stop_and_go_on("finetune_classifier", stopped, events=3)
    assert step % steps != 0
    assert step % 3 != 0
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")


def write_reviews(file: Path) -> Path:
    """Write rows whose label is their length: one in three is long, and positive."""
    rows = [("good " * (LONG if row % 3 == 0 else SHORT), "pos" if row % 3 == 0 else "neg") for row in range(ROWS)]
    lines = (f"{text}{file.stem} {row + 10},fine,{label}\n" for row, (text, label) in enumerate(rows))
    file.write_text("text,second,label\n" + "".join(lines))
    return file


def hardly_learning(folder: Path, checkpoint: Path, **settings: Any) -> dict[str, Any]:
    """One epoch of plain gradient descent, so slow that every step sees the weights of the beginning."""
    given = classifier_settings(write_reviews(folder / "train.csv"), checkpoint)
    for key in ("eval_steps", "validation_fraction", "per_device_train_batch_size"):
        del given[key]
    return {
        **given,
        **{"validation_file": write_reviews(folder / "validation.csv"), "text_column_names": "text"},
        **{"optim": "sgd", "learning_rate": 1e-4, "lr_scheduler_type": "constant", "weight_decay": 0},
        **{"gradient_accumulation_steps": 1, "max_grad_norm": 0, "num_train_epochs": 1, "eval_strategy": "no"},
        **{"config_overrides": NO_DROPOUT, "warmup_steps": 0, "baselines": "[]", **settings},
    }


WINDOWS = {"max_seq_length": 12, "long_texts": "windows", "doc_stride": 2, "max_windows": 4}


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({}, marks=pytest.mark.slow, id="plain"),
        pytest.param({"text_pair_column_name": "second"}, marks=pytest.mark.slow, id="pairs"),
        pytest.param({**WINDOWS, "class_weights": "neg=1,pos=3"}, id="windows and weights"),
        pytest.param({"padding_free": "false"}, id="padded"),
    ],
)
def test_every_row_weighs_the_same(
    shape: Mapping[str, Any], checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    """Many small steps move the weights as so many steps over all rows do, and tell the same loss."""
    settings = hardly_learning(tmp_path, checkpoints("bert"), **shape)
    folders = tmp_path / "rows", tmp_path / "tokens"
    sizes = {"per_device_train_batch_size": ROWS}, {"max_tokens_per_batch": 48, "gradient_accumulation_steps": 2}
    for folder, size in zip(folders, sizes, strict=True):
        run_recipe_here("finetune_classifier", {**settings, **size, "output_dir": folder})
    record = read_json(folders[1] / "run.json")
    steps = record["micro_batches_per_epoch"] / 2
    assert record["steps"] >= steps > 3
    losses = [read_json(folder / "metrics.json")["train_loss"] for folder in folders]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    begun, once, often = (load_file(folder / "model.safetensors") for folder in (checkpoints("bert"), *folders))
    moved = [np.concatenate([(end[f"bert.{name}"] - begun[name]).ravel() for name in MOVED]) for end in (once, often)]
    assert np.linalg.norm(moved[1] - steps * moved[0]) < 0.02 * np.linalg.norm(moved[1])


def test_each_log_event_tells_a_mean_over_rows(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    settings = hardly_learning(tmp_path, checkpoints("bert"), max_tokens_per_batch=96, padding_free="false")
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "run"})
    losses = [event["loss"] for event in read_history(tmp_path / "run" / "history.jsonl") if "loss" in event]
    # two kinds of rows, each alone in its steps: a step tells the loss of its kind, however many rows it has
    assert len({round(loss, 2) for loss in losses}) == 2 < len(losses)


@pytest.mark.slow
def test_one_process_and_two_have_the_same_steps(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    without: dict[str, Any] = {"config_overrides": NO_DROPOUT, "learning_rate": 1e-3, "num_train_epochs": 3}
    settings = by_tokens(reviews_csv(44), checkpoints("bert"), **without)
    launches = {"straight": [(1, 2, 0)], "cut": [(1, 2, 3), (2, 1, 5), (1, 2, 0)], "two": [(2, 1, 0)]}
    asked: dict[str, list[list[int]]] = {}
    for name, sessions in launches.items():
        asked[name] = []
        for number, (processes, micro_batches, events) in enumerate(sessions):
            folder = tmp_path / f"{name}_asked_{number}"
            ending = run_trial(
                "finetune_classifier",
                {**settings, "gradient_accumulation_steps": micro_batches, "output_dir": tmp_path / name},
                processes=processes,
                prepare=audit,
                prepare_arguments=(str(folder), events),
            )
            assert set(ending.codes) == {130 if events else 0}, ending.output
            asked[name] += [[row for row in batch if row != -1] for batch in asked_for(folder, 33)]
    rows = {name: [row for batch in batches for row in batch] for name, batches in asked.items()}
    check_epochs([rows["two"]], tmp_path / "two")
    assert rows["two"] == rows["straight"] == rows["cut"]
    check_alike(tmp_path / "two", tmp_path / "straight")
    check_alike(tmp_path / "cut", tmp_path / "straight")


def test_a_run_goes_on_with_the_batches_it_began_with_whatever_its_layers_compute(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = by_tokens(reviews_csv(44), checkpoints("bert"), config_overrides=NO_DROPOUT, baselines="[]")
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    settings = {**settings, "output_dir": tmp_path / "stopped"}
    with interrupted_after(3), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", settings)
    run_recipe_here("finetune_classifier", {**settings, "padding_free": "false"})
    check_alike(tmp_path / "stopped", tmp_path / "straight")
    record = read_json(tmp_path / "stopped" / "run.json")
    assert (record["padding_free_batches"], record["performance_plan"]["padding_free"]["value"]) == (True, False)


def test_other_tokens_a_step_are_refused(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = by_tokens(reviews_csv(44), checkpoints("bert"), output_dir=tmp_path / "run")
    with interrupted_after(3), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", settings)
    with pytest.raises(CheckpointError) as raised:
        run_recipe_here("finetune_classifier", {**settings, "gradient_accumulation_steps": 1})
    assert [str(problem) for problem in raised.value.problems] == [
        "tokens_per_step: 96 = 1 process x 96 token positions x 1 micro-batch: another value than the run began with, "
        "192 = 1 x 96 x 2; make processes x gradient_accumulation_steps 2 again, or begin anew with fresh_start: true"
    ]
    with pytest.raises(CheckpointError) as raised:
        run_recipe_here(
            "finetune_classifier", {**settings, "max_tokens_per_batch": 192, "gradient_accumulation_steps": 1}
        )
    assert [str(problem).partition(";")[0] for problem in raised.value.problems] == [
        "--max_tokens_per_batch: 192: another value than the run began with, 96"
    ]
