"""`hfpipe check`: what it says of a run before it starts, every refusal by its message, and that it writes nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measured_step
import numpy as np
import pytest
import torch
from conftest import run_recipe_here, to_argv
from transformers import BertConfig, BertForSequenceClassification

from hfpipe.config import load_config
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.data.batches import BatchPlan
from hfpipe.errors import ConfigError
from hfpipe.training.checking import CheckReport, check
from hfpipe.training.classifier_survey import make_text_batch
from hfpipe.training.corpus_survey import draw_sample
from hfpipe.training.estimate import StepShape, outline, trace_evaluation, trace_training
from hfpipe.training.lengths import cut_shares, describe_cuts, describe_lengths
from hfpipe.training.objectives import ClassificationObjective
from hfpipe.training.resources import DiskNeed, MemoryNeed, check_disk, check_memory, show_bytes
from hfpipe.training.schedule import Schedule

CPU = torch.device("cpu")
MEGABYTE = 10**6

Checkpoints = Callable[[str], Path]
Reviews = Callable[[int], Path]


@pytest.fixture
def settings(checkpoints: Checkpoints, reviews_csv: Reviews, tmp_path: Path) -> dict[str, Any]:
    return {
        "train_file": reviews_csv(28),
        "model_name_or_path": checkpoints("bert"),
        "output_dir": tmp_path / "run",
        "max_seq_length": 24,
        "validation_fraction": 0.25,
        "per_device_train_batch_size": 4,
        "bf16": "false",
    }


def check_recipe(settings: dict[str, Any], recipe: str = FINETUNE) -> CheckReport:
    return check(load_config(to_argv(settings), recipe=recipe))


def problems(settings: dict[str, Any], recipe: str = FINETUNE) -> list[str]:
    return [str(problem) for problem in check_recipe(settings, recipe).problems]


def line(report: CheckReport, beginning: str) -> str:
    return next(each for each in report.lines if each.startswith(beginning))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def test_memory_is_within_30_percent_of_a_measured_step_at_two_shapes() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, measured_step.__file__]
    measured = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    outlined = outline(measured_step.build_classifier, CPU)
    for (rows, tokens), bytes_measured in zip(measured_step.SHAPES, map(int, measured), strict=True):
        shape = StepShape(rows, tokens, "no")
        need = MemoryNeed(
            program=0,
            weights=outlined.weight_bytes,
            gradients=outlined.gradient_bytes,
            optimizer=outlined.optimizer_bytes("adamw_torch_fused"),
            training=trace_training(outlined, shape, make_batch=make_text_batch, objective=ClassificationObjective()),
            evaluation=trace_evaluation(
                outlined, shape, make_batch=make_text_batch, objective=ClassificationObjective()
            ),
            processes=1,
        )
        assert need.on(CPU) == pytest.approx(bytes_measured, rel=0.3), (rows, tokens)


def test_outline_counts_what_the_model_has() -> None:
    config = BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    real = BertForSequenceClassification(config)
    outlined = outline(lambda: BertForSequenceClassification(config), CPU)
    count = sum(parameter.numel() for parameter in real.parameters())
    assert outlined.parameters == outlined.trainable == count
    assert outlined.gradient_bytes == 4 * count
    assert outlined.optimizer_bytes("adamw_torch_fused") == 8 * count
    assert outlined.optimizer_bytes("adamw_8bit") == 2 * count
    assert outlined.optimizer_bytes("sgd") == 0


def test_gradients_of_a_micro_batch_stay_while_the_next_is_computed() -> None:
    outlined = outline(measured_step.build_classifier, CPU)
    peaks = [
        trace_training(
            outlined, StepShape(8, 64, "no", **more), make_batch=make_text_batch, objective=ClassificationObjective()
        )
        for more in ({}, {"accumulates": True}, {"gradient_checkpointing": True})
    ]
    whole, accumulating, recomputing = peaks
    assert accumulating == pytest.approx(whole + outlined.gradient_bytes, rel=0.02)
    assert recomputing < 0.7 * whole
    assert (
        trace_evaluation(
            outlined, StepShape(8, 64, "no"), make_batch=make_text_batch, objective=ClassificationObjective()
        )
        < whole / 2
    )


def test_schedule_by_hand() -> None:
    plan = BatchPlan(num_rows=5, per_device_batch_size=1, gradient_accumulation_steps=2, world_size=1, seed=0)
    lengths = np.array([1, 2, 3, 4, 5])
    schedule = Schedule(plan, total_steps=7, lengths=lengths)  # 3 steps an epoch: two epochs and one step more
    assert schedule.total_rows == 5 + 5 + 2
    assert schedule.total_tokens == 15 + 15 + lengths[plan.order(2)[:2]].sum()
    assert schedule.padding_share() == 0  # single rows are never padded
    pairs = Schedule(BatchPlan(2, 2, 1, 1, 0), total_steps=1, lengths=np.array([1, 4]))
    assert pairs.padding_share() == 3 / 8


def test_lengths_by_hand() -> None:
    lengths = np.array([2, 4, 10])
    assert cut_shares(lengths, 4) == (1 / 3, 6 / 16)
    assert describe_lengths(lengths, unit="text") == "tokens of a text: min 2, median 4, p90 9, p99 10, max 10"
    assert list(describe_cuts(lengths, 4, limit=8)) == [
        "  max_seq_length  texts cut  tokens cut",
        "               1    100.0 %      81.2 %",
        "               2     66.7 %      62.5 %",
        "               4     33.3 %      37.5 %  <- this run",
        "               8     33.3 %      12.5 %",
    ]


def test_steps_rows_and_tokens_of_a_csv(settings: dict[str, Any]) -> None:
    # 28 reviews leave 21 for training: windows of 8, 8 and 5 rows, and 2.5 epochs are 7.5 steps, rounded up
    report = check_recipe({**settings, "gradient_accumulation_steps": 2, "num_train_epochs": 2.5})
    assert report.problems == ()
    assert line(report, "rows_per_step") == (
        "rows_per_step 8 = 4 x 2 x 1 (rows x micro-batches x processes); a row is a text"
    )
    assert line(report, "steps") == "steps: 8 = 3 an epoch, epochs 2.667"
    assert line(report, "rows:") == "rows: 21 an epoch, 58 in total"
    assert line(report, "output_dir").endswith("run: a new run begins")
    # 390 tokens x 32, positions and types 66 x 32, 2 layers of 8,544, norm 64, pooler 1,056, head 66
    assert line(report, "BertForSequenceClassification") == (
        "BertForSequenceClassification: 32,866 parameters, 32,866 trainable"
    )
    assert line(report, "label 1") == "label 1: 'pos': 11 train, 3 validation"
    assert line(report, "disk").startswith(
        "disk: a checkpoint 395.4 kB = weights 132.5 kB + optimizer 262.9 kB; 3 written"
    )


def test_blocks_of_a_corpus_read_whole(checkpoints: Checkpoints, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(f'{{"text": "a film with a plot number {index}"}}\n' for index in range(40)))
    given = {"train_file": corpus, "model_size": "tiny", "vocab_size": 300, "block_size": 16, "bf16": "false"}
    report = check_recipe({**given, "output_dir": tmp_path / "run"}, PRETRAIN)
    assert report.problems == ()
    assert not any("estimated" in each for each in report.lines)
    assert line(report, "tokens of a document").startswith("tokens of a document: min ")
    run_recipe_here(PRETRAIN, {**given, "output_dir": tmp_path / "run", "max_steps": 1, "eval_strategy": "no"})
    again = check_recipe({**given, "output_dir": tmp_path / "run", "max_steps": 1, "eval_strategy": "no"}, PRETRAIN)
    assert line(again, "train:") == line(report, "train:")
    assert line(again, "LlamaForCausalLM") == line(report, "LlamaForCausalLM")


def test_sample_says_that_it_is_one() -> None:
    texts = [f"text {index}" for index in range(2_500)]
    sample = draw_sample(texts, seed=0)
    assert (len(sample.texts), sample.of, sample.is_whole) == (2_000, 2_500, False)
    assert sample.note == " (estimated from 2,000 of 2,500 texts)"
    assert draw_sample(texts[:2_000], seed=0).texts == texts[:2_000]


def test_max_seq_length_over_the_positions_is_refused_as_in_the_run(settings: dict[str, Any]) -> None:
    over = {**settings, "max_seq_length": 65}
    expected = "--max_seq_length 65: over the model's 64 positions; lower it, or choose a model for longer texts"
    report = check_recipe(over)
    assert [str(problem) for problem in report.problems] == [expected]
    assert line(report, "tokens:")  # what does not depend on it is still said
    with pytest.raises(ConfigError, match=expected):
        run_recipe_here(FINETUNE, over)


def test_block_size_over_the_positions_is_refused(
    checkpoints: Checkpoints, reviews_csv: Reviews, tmp_path: Path
) -> None:
    given = {"train_file": reviews_csv(64), "model_name_or_path": checkpoints("llama"), "block_size": 65}
    assert problems({**given, "output_dir": tmp_path / "run", "bf16": "false"}, PRETRAIN) == [
        "block_size 65: over the model's 64 positions; lower it, or raise max_position_embeddings by config_overrides"
    ]


def test_problems_of_all_parts_come_together(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    wrong = {**settings, "max_seq_length": 65, "class_weights": "pos=1,neu=2", "bf16": "null", "fp16": "true"}
    assert problems(wrong) == [
        f"{tmp_path}/run: holds files (notes.txt) but no run.json, so it is not a run of ours; "
        "choose another output_dir",
        "--fp16: needs a GPU; use bf16 or leave it out",
        "--max_seq_length 65: over the model's 64 positions; lower it, or choose a model for longer texts",
        "class_weights: neu: no label of this data; the labels are neg, pos",
        "class_weights: neg: has no weight; give every label one",
    ]


def test_data_and_model_that_are_not_there_are_both_told(settings: dict[str, Any], tmp_path: Path) -> None:
    found = problems({**settings, "train_file": tmp_path / "none.csv", "model_name_or_path": "no-such/model"})
    assert len(found) == 2
    assert "none.csv" in found[0]
    assert found[1].startswith("model_name_or_path: no-such/model: cannot be loaded; ")


def test_too_little_text_for_a_block_is_refused(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": "a"}\n{"text": "b"}\n')
    given = {"train_file": corpus, "output_dir": tmp_path / "run", "vocab_size": 300, "bf16": "false"}
    assert problems({**given, "model_size": "tiny"}, PRETRAIN) == [
        "train: 3 tokens: fewer than one block of block_size 512; lower block_size or add text"
    ]


def test_training_part_below_one_step_is_a_warning(settings: dict[str, Any]) -> None:
    report = check_recipe({**settings, "per_device_train_batch_size": 32})
    assert report.problems == ()
    assert line(report, "warning") == (
        "warning: the training part (21 rows) is smaller than one step (32 rows): every epoch is one short step"
    )


def test_disk_must_hold_two_checkpoints_and_the_model() -> None:
    need = DiskNeed(weights=100 * MEGABYTE, optimizer=200 * MEGABYTE, checkpoints=5, kept_at_most=2)
    assert (need.least, need.most) == (700 * MEGABYTE, 1_000 * MEGABYTE)
    lines, found = check_disk(need, 699 * MEGABYTE, folder=Path("runs/a"))
    assert lines == [
        "disk: a checkpoint 300 MB = weights 100 MB + optimizer 200 MB; 5 written, at most 3 on disk at once, "
        "with the finished model 1.0 GB; 699 MB free"
    ]
    assert [str(problem) for problem in found] == [
        "output_dir runs/a: 699 MB free: 700 MB needed for 2 checkpoints and the finished model; "
        "free some, choose another output_dir, or save_strategy: no"
    ]
    lines, found = check_disk(need, 700 * MEGABYTE, folder=Path("runs/a"))
    assert (lines[1:], found) == (["warning: 3 checkpoints do not fit at once: lower save_total_limit"], [])
    assert check_disk(need, 1_000 * MEGABYTE, folder=Path("runs/a")) == ([need.line(10**9)], [])


def test_memory_must_hold_a_step_of_every_process() -> None:
    megabytes = {"program": 500, "weights": 100, "gradients": 100, "optimizer": 200, "training": 500, "evaluation": 300}
    sizes = {name: count * MEGABYTE for name, count in megabytes.items()}
    need = MemoryNeed(**sizes, processes=1)
    assert need.step(CPU) == (200 + 100 + 1.25 * 400) * MEGABYTE
    # two processes: buckets of the gradients' size, and all of it twice
    assert MemoryNeed(**sizes, processes=2).on(CPU) == 2 * (500 + 200 + 100 + 100 + 1.25 * 400) * MEGABYTE
    assert need.step(torch.device("cuda")) == 700 * MEGABYTE
    _, found = check_memory(need, 1_299 * MEGABYTE, device=CPU, shape="4 x 64 tokens")
    assert [str(problem) for problem in found] == [
        "per_device_train_batch_size: 4 x 64 tokens: does not fit in memory: 1.3 GB needed, 1.3 GB there; lower "
        "per_device_train_batch_size and raise gradient_accumulation_steps, or set gradient_checkpointing: true"
    ]
    lines, found = check_memory(need, 1_400 * MEGABYTE, device=CPU, shape="4 x 64 tokens")
    assert found == []
    assert lines[-1] == "warning: memory is tight: 1.3 GB needed, 1.4 GB there; the estimate is good to about 30 %"
    lines, found = check_memory(need, 2_000 * MEGABYTE, device=CPU, shape="4 x 64 tokens")
    assert (found, lines[-1]) == ([], "memory of cpu: 1.3 GB needed, 2.0 GB there")


def test_earlier_run_is_told_and_left_alone(settings: dict[str, Any], tmp_path: Path) -> None:
    given = {**settings, "max_steps": 2, "disable_tqdm": "true"}
    run_recipe_here(FINETUNE, given)
    before = files(tmp_path)
    assert line(check_recipe(given), "output_dir").endswith(
        "run: the run in it is done, and the same command would change nothing"
    )
    assert problems({**given, "seed": 7}) == [
        "--seed: 7: another value than the run began with, 42; "
        "set it back, or begin anew with fresh_start: true or another output_dir"
    ]
    fresh = check_recipe({**given, "seed": 7, "fresh_start": "true"})
    assert fresh.problems == ()
    assert line(fresh, "output_dir").endswith("run: the run in it is moved aside")
    assert files(tmp_path) == before


def test_nothing_is_written(settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_recipe(settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("architecture", ["distilbert", "modernbert", "gpt2", "llama"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_memory_of_every_architecture(
    architecture: str, attention: str, settings: dict[str, Any], checkpoints: Checkpoints
) -> None:
    model = {"model_name_or_path": checkpoints(architecture), "attn_implementation": attention}
    report = check_recipe({**settings, **model, "gradient_accumulation_steps": 2})
    assert report.problems == ()
    assert "activations and gradients" in line(report, "memory of a step")


def test_model_that_needs_numbers_is_told(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(f'{{"text": "a film with a plot number {index}"}}\n' for index in range(40)))
    given = {"train_file": corpus, "output_dir": tmp_path / "run", "vocab_size": 300, "block_size": 16}
    small = {"model_size": "tiny", "model_type": "mixtral", "config_overrides": "num_local_experts=2"}
    report = check_recipe({**given, **small, "bf16": "false"}, PRETRAIN)
    assert report.problems == ()
    assert line(report, "memory of a step").startswith(
        "memory of a step: not known: this model does not run without numbers ("
    )


@pytest.mark.parametrize(("count", "shown"), [(950, "0.9 kB"), (12_345_678, "12 MB"), (1_260_000_000, "1.3 GB")])
def test_bytes_are_shown_in_a_unit_people_read(count: int, shown: str) -> None:
    assert show_bytes(count) == shown
