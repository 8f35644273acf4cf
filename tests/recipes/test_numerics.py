"""Runs that meet numbers that are not finite, or losses that leap.

A row is spoilt by a word whose embedding is so large that the model overflows on it: its weights are finite, and its
loss is not.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import run_recipe_here, save_tiny_checkpoint
from interruption import interrupted_after
from safetensors.torch import load_file, save_file
from spoilt_rows import read_strictly, step_of_row, write_rows
from test_finetune_classifier import poison_token
from test_resume import outcome
from trials import run_trial

from hfpipe.errors import Stopped, TrainingError
from hfpipe.records.run_directory import read_history, read_json
from hfpipe.training.state_files import read_state


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint that overflows on the word of the bad rows."""
    folder = tmp_path_factory.mktemp("poisoned") / "bert"
    save_tiny_checkpoint("bert", folder)
    poison_token(folder, " number")
    return folder


@pytest.fixture
def settings(poisoned: Path, tmp_path: Path) -> dict[str, Any]:
    """One epoch of 8 steps of 2 micro-batches of 2 rows, dropout on, a checkpoint and a log event at each step."""
    return {
        "train_file": write_rows(tmp_path / "train.csv", (10,)),
        "validation_file": write_rows(tmp_path / "validation.csv", rows=6, noun="plot"),
        "model_name_or_path": poisoned,
        "config_overrides": "hidden_dropout_prob=0.2",
        "output_dir": tmp_path / "run",
        "max_seq_length": 16,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "logging_steps": 1,
        "eval_strategy": "no",
        "load_best_model_at_end": "false",
        "save_strategy": "steps",
        "save_steps": 1,
        "save_total_limit": 99,
        "bf16": "false",
        "disable_tqdm": "true",
        "nonfinite_policy": "skip",
    }


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"max_grad_norm": 0},
        {"gradient_checkpointing": "true"},
        {"bf16": "true"},
        {"optim": "sgd", "optim_args": "momentum=0.9"},
    ],
    ids=["clipped", "not clipped", "checkpointing", "bf16", "momentum"],
)
def test_a_skipped_step_moves_nothing_but_the_schedule(
    given: dict[str, Any], settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_recipe_here("finetune_classifier", {**settings, **given})
    bad, run = step_of_row(10), tmp_path / "run"
    assert 1 < bad < 8
    before, after, later = (run / "checkpoints" / f"checkpoint-{step}" for step in (bad - 1, bad, bad + 1))
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (before / name).read_bytes() == (after / name).read_bytes()
        assert (later / name).read_bytes() != (after / name).read_bytes()
    assert [read_state(folder, "scheduler")["last_epoch"] for folder in (before, after)] == [bad - 1, bad]
    warnings = [record.getMessage() for record in caplog.records if record.name == "hfpipe.training.numerics"]
    assert warnings == [
        f"step {bad}: rows {tmp_path / 'train.csv'}:12: their loss is not finite; "
        "the update would have destroyed the weights and was not made: skipped"
    ]
    history = read_history(run / "history.jsonl")
    assert [event for event in history if "skipped_steps" in event] == [
        {"step": bad, "skipped_steps": 1, "epoch": bad / 8}
    ]
    losses = {event["step"]: event["loss"] for event in history if "loss" in event}
    assert list(losses) == [step for step in range(1, 9) if step != bad]
    metrics = read_json(run / "metrics.json")
    assert metrics["train_loss"] == pytest.approx(sum(losses.values()) / 7, rel=1e-6)
    assert len(list(read_strictly(run))) > 50


def test_the_mean_that_is_logged_is_one_over_the_steps_that_were_made(settings: dict[str, Any], tmp_path: Path) -> None:
    run_recipe_here("finetune_classifier", settings)
    seldom = {**settings, "output_dir": tmp_path / "seldom", "logging_steps": 4}
    run_recipe_here("finetune_classifier", seldom)
    each = {
        event["step"]: event["loss"] for event in read_history(tmp_path / "run" / "history.jsonl") if "loss" in event
    }
    assert step_of_row(10) not in each
    means = [event["loss"] for event in read_history(tmp_path / "seldom" / "history.jsonl") if "loss" in event]
    halves = [[loss for step, loss in each.items() if (step - 1) // 4 == half] for half in (0, 1)]
    assert means == pytest.approx([sum(half) / len(half) for half in halves], rel=1e-6)


@pytest.mark.parametrize("events", [5])
def test_a_run_with_skipped_steps_goes_on_in_the_same_bits(
    events: int, settings: dict[str, Any], tmp_path: Path
) -> None:
    # two bad rows, an epoch of its own each time, a log event every third step
    settings |= {"train_file": write_rows(tmp_path / "train.csv", (3, 10)), "num_train_epochs": 2, "logging_steps": 3}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    stopped = {**settings, "output_dir": tmp_path / "stopped"}
    with interrupted_after(events), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", stopped)
    run_recipe_here("finetune_classifier", stopped)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")
    counts = [
        event["skipped_steps"]
        for event in read_history(tmp_path / "straight" / "history.jsonl")
        if "skipped_steps" in event
    ]
    assert counts == [1, 2, 3, 4]


def test_a_run_that_stopped_goes_on_by_skipping(settings: dict[str, Any], tmp_path: Path) -> None:
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    bad = step_of_row(10)
    with pytest.raises(TrainingError) as error:
        run_recipe_here("finetune_classifier", {**settings, "nonfinite_policy": "stop"})
    assert str(error.value) == (
        "the training has 1 problem:\n"
        f"  - step {bad}: rows {tmp_path / 'train.csv'}:12: their loss is not finite; the update would have destroyed "
        "the weights and was not made; look at these rows, lower learning_rate, or train in float32 (bf16: false)"
    )
    assert read_json(tmp_path / "run" / "run.json")["status"] == "failed"
    run_recipe_here("finetune_classifier", settings)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "straight")


def test_skipping_ends_after_ten_steps_in_a_row(settings: dict[str, Any], tmp_path: Path) -> None:
    settings |= {"train_file": write_rows(tmp_path / "train.csv", tuple(range(0, 48)), rows=48)}
    settings |= {"gradient_accumulation_steps": 1}
    with pytest.raises(TrainingError) as error:
        run_recipe_here("finetune_classifier", settings)
    message = str(error.value)
    assert message.startswith(f"the training has 1 problem:\n  - step 11: rows {tmp_path / 'train.csv'}:")
    assert (
        "their loss is not finite; the update would have destroyed the weights and was not made, "
        "as those of the 10 steps before, which were skipped; look at these rows"
    ) in message
    assert not [event for event in read_history(tmp_path / "run" / "history.jsonl") if "loss" in event]


def test_two_processes_skip_together(settings: dict[str, Any], tmp_path: Path) -> None:
    settings |= {"config_overrides": "hidden_dropout_prob=0.0", "gradient_accumulation_steps": 1}
    ending = run_trial("finetune_classifier", settings, processes=2)
    assert ending.codes == (0, 0), ending.output
    alone = {**settings, "output_dir": tmp_path / "alone", "gradient_accumulation_steps": 2}
    run_recipe_here("finetune_classifier", alone)
    together, one = (read_history(tmp_path / name / "history.jsonl") for name in ("run", "alone"))
    bad = step_of_row(10)
    assert f"step {bad}: rows {tmp_path / 'train.csv'}:12: their loss is not finite" in ending.output
    assert ending.output.count(": skipped") == 1
    assert [(event["step"], event.get("skipped_steps")) for event in together] == [
        (event["step"], event.get("skipped_steps")) for event in one
    ]
    losses = [[event["loss"] for event in history if "loss" in event] for history in (together, one)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    folder = tmp_path / "run" / "checkpoints"
    for name in ("model.safetensors", "optimizer.safetensors"):
        states = [(folder / f"checkpoint-{step}" / name).read_bytes() for step in (bad - 1, bad)]
        assert states[0] == states[1]


def test_an_infinite_loss_with_a_finite_gradient_stops_the_run(settings: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    sure = tmp_path / "sure"
    save_tiny_checkpoint("bert", sure)
    model = AutoModelForSequenceClassification.from_pretrained(sure)
    # the cross entropy of 'pos' is 6e38, which float32 has not; its gradient is 1
    model.classifier.bias.data = torch.tensor([3e38, -3e38])
    model.save_pretrained(sure)
    with pytest.raises(TrainingError, match=r"step 1: rows .*: their loss is not finite; the update would have"):
        run_recipe_here("finetune_classifier", {**settings, "model_name_or_path": sure, "nonfinite_policy": "stop"})


def test_weights_that_are_not_finite_are_no_start(
    checkpoints: Callable[[str], Path], settings: dict[str, Any], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    save_tiny_checkpoint("bert", broken)
    weights = load_file(broken / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][7, 3] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingError) as error:
        run_recipe_here("finetune_classifier", {**settings, "model_name_or_path": broken})
    assert str(error.value) == (
        "the training has 1 problem:\n"
        "  - step 1: bert.embeddings.word_embeddings.weight: not finite in the weights that training starts from; "
        "every checkpoint would be refused; choose another checkpoint, or mend this one"
    )


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_weights_that_are_lost_are_never_saved(policy: str, settings: dict[str, Any], tmp_path: Path) -> None:
    # the large embedding, which no row has, is decayed beyond all bounds: loss and gradient stay finite
    settings |= {"train_file": write_rows(tmp_path / "train.csv"), "nonfinite_policy": policy, "optim": "sgd"}
    settings |= {"learning_rate": 10, "weight_decay": 1, "lr_scheduler_type": "constant"}
    with pytest.raises(TrainingError) as error:
        run_recipe_here("finetune_classifier", settings)
    assert str(error.value) == (
        "the training has 1 problem:\n"
        "  - step 1: bert.embeddings.word_embeddings.weight: not finite, so these weights are lost; they were neither "
        "saved nor taken for the best; go on from the newest checkpoint with a lower learning_rate; "
        "in float32 (bf16: false) numbers are finer"
    )
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_an_evaluation_without_a_score_is_never_the_best(
    settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings |= {"validation_file": write_rows(tmp_path / "validation.csv", (2,), rows=6, noun="plot"), "save_steps": 4}
    settings |= {"eval_strategy": "steps", "eval_steps": 4, "load_best_model_at_end": "true"}
    settings |= {"metric_for_best_model": "accuracy"}
    with pytest.raises(TrainingError, match="evaluation 'eval' at step 8"):
        run_recipe_here("finetune_classifier", settings)
    told = f"evaluation 'eval' at step 4: rows {tmp_path / 'validation.csv'}:4: the loss is not finite, so no score"
    assert f"{told} means anything; training goes on" in caplog.text
    state = read_json(tmp_path / "run" / "checkpoints" / "checkpoint-8" / "trainer_state.json")
    assert (state["best_metric"], state["best_global_step"]) == (None, None)
    history = read_history(tmp_path / "run" / "history.jsonl")
    assert [event["eval_accuracy"] for event in history if "eval_loss" in event] == [None, None]
    assert len(list(read_strictly(tmp_path / "run"))) > 8


def test_an_evaluation_without_any_score_does_not_score_all_rows_alone(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "validation.csv", tuple(range(80)), rows=80, noun="plot")
    settings |= {"validation_file": path, "eval_strategy": "steps", "eval_steps": 1, "eval_on_start": "true"}
    with pytest.raises(TrainingError) as error:
        run_recipe_here("finetune_classifier", settings | {"nonfinite_policy": "stop"})
    assert error.value.problems[0].value.endswith(f"{path}:9 and 56 more (of 64 looked at among 80)")


SPIKE_ROWS, FLIPPED = 400, (150, 333)


def test_a_spike_is_told_with_its_rows_and_again_after_a_resume(
    checkpoints: Callable[[str], Path], settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_rows(tmp_path / "train.csv", rows=SPIKE_ROWS)
    lines = path.read_text().splitlines()
    flipped = [row for row in range(SPIKE_ROWS) if step_of_row(row, rows=SPIKE_ROWS) in (70, 90)]
    for row in flipped:
        lines[row + 1] = lines[row + 1].replace(",pos", ",x").replace(",neg", ",pos").replace(",x", ",neg")
    path.write_text("\n".join(lines) + "\n")
    settings |= {"model_name_or_path": checkpoints("bert"), "per_device_train_batch_size": 4, "learning_rate": 3e-3}
    settings |= {"gradient_accumulation_steps": 1, "config_overrides": "hidden_dropout_prob=0.0", "save_steps": 80}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    history = read_history(tmp_path / "straight" / "history.jsonl")
    spikes = [event for event in history if "loss_spike" in event]
    assert [event["step"] for event in spikes] == [70, 90]
    losses = {event["step"]: event["loss"] for event in history if "loss" in event}
    for event in spikes:
        assert event["loss_spike"] == losses[event["step"]] > event["expected_loss_to"] > event["expected_loss_from"]
    warning = next(record.getMessage() for record in caplog.records if "loss spike" in record.getMessage())
    assert warning.startswith(f"step 70: loss spike: {losses[70]:.4f}, where ")
    assert all(f"{path}:{row + 2}" in warning for row in flipped if step_of_row(row, rows=SPIKE_ROWS) == 70)
    with interrupted_after(82), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", settings)
    run_recipe_here("finetune_classifier", settings)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "straight")
    unwatched = {**settings, "output_dir": tmp_path / "unwatched", "watch_loss": "false"}
    run_recipe_here("finetune_classifier", unwatched)
    assert not [event for event in read_history(tmp_path / "unwatched" / "history.jsonl") if "loss_spike" in event]
    assert outcome(tmp_path / "unwatched")[0] == outcome(tmp_path / "straight")[0]
