"""The numbers behind `hfpipe check`: memory against a measured step, and arithmetic worked out by hand."""

import shutil
from dataclasses import replace
from pathlib import Path

import measured_step
import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification
from trials import warm_context

from hfpipe.data.batches import BatchPlan
from hfpipe.data.tokens import LengthRule
from hfpipe.records.disk import show_bytes
from hfpipe.training.classifier_survey import make_text_batch
from hfpipe.training.corpus_survey import draw_sample
from hfpipe.training.estimate import StepShape, outline, trace_evaluation, trace_training
from hfpipe.training.lengths import cut_shares, describe_cuts, describe_lengths, find_largest_batch
from hfpipe.training.objectives import ClassificationObjective
from hfpipe.training.resources import DiskNeed, MemoryNeed, Room, check_disk, check_memory, find_room
from hfpipe.training.schedule import Schedule

CPU = torch.device("cpu")
MEGABYTE = 10**6


def test_memory_is_within_30_percent_of_a_measured_step_at_two_shapes() -> None:
    measured = [measure_in_a_process(rows, tokens) for rows, tokens in measured_step.SHAPES]
    outlined = outline(measured_step.build_classifier, CPU)
    for (rows, tokens), bytes_measured in zip(measured_step.SHAPES, measured, strict=True):
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


def measure_in_a_process(rows: int, tokens: int) -> int:
    context = warm_context()
    received, sent = context.Pipe(duplex=False)
    process = context.Process(target=measured_step.send_measured, args=(sent, rows, tokens))
    process.start()
    sent.close()
    measured = int(received.recv())
    process.join()
    received.close()
    return measured


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
    assert schedule.padding_share == 0  # single rows are never padded
    pairs = Schedule(BatchPlan(2, 2, 1, 1, 0), total_steps=1, lengths=np.array([1, 4]))
    assert pairs.padding_share == 3 / 8
    # windows of 4: a text of 9 tokens is three of them, and with one of 2 tokens four, 16 positions
    windowed = Schedule(BatchPlan(2, 2, 1, 1, 0), total_steps=1, lengths=np.array([9, 2]), window_length=4)
    assert windowed.padding_share == 5 / 16


def test_lengths_by_hand() -> None:
    lengths = np.array([2, 4, 10])
    assert cut_shares(lengths, 4) == (1 / 3, 6 / 16)
    assert describe_lengths(lengths, unit="text") == "tokens of a text: min 2, median 4, p90 4, p99 4, max 10"
    assert list(describe_cuts(lengths, LengthRule(4), limit=8, special_tokens=0)) == [
        "  max_seq_length (train)  texts cut  tokens cut",
        "                       1    100.0 %      81.2 %",
        "                       2     66.7 %      62.5 %",
        "                       4     33.3 %      37.5 %  <- this run",
        "                       8     33.3 %      12.5 %",
    ]


def test_lengths_in_windows_by_hand() -> None:
    # windows of 4 with 2 special tokens and 1 shared: 2 tokens of the text, then 1 each; two windows keep 4 + 1
    rule = LengthRule(4, "windows", doc_stride=1, max_windows=2)
    assert list(describe_cuts(np.array([2, 5, 8]), rule, limit=8, special_tokens=2)) == [
        "  max_seq_length (train)  texts cut  tokens cut  (at most 2 windows sharing 1 tokens)",
        "                       4     33.3 %      20.0 %  <- this run",
        "                       8      0.0 %       0.0 %",
    ]


def test_the_largest_batch_has_the_rows_of_most_windows() -> None:
    lengths = np.array([3, 9, 17, 8])  # of windows of 8 tokens: 1, 2, 3 and 1
    assert find_largest_batch(lengths, 2, window_length=8) == (5, 8)
    assert find_largest_batch(lengths, 9, window_length=8) == (7, 8)
    assert find_largest_batch(lengths[:1], 2, window_length=8) == (1, 3)
    assert find_largest_batch(lengths, 2, window_length=None) == (2, 17)
    assert find_largest_batch(lengths[:0], 2, window_length=None) == (1, 1)


def test_sample_says_that_it_is_one() -> None:
    texts = [f"text {index}" for index in range(2_500)]
    sample = draw_sample(texts, seed=0)
    assert (len(sample.texts), sample.of, sample.is_whole) == (2_000, 2_500, False)
    assert sample.note == " (estimated from 2,000 of 2,500 texts)"
    assert draw_sample(texts[:2_000], seed=0).texts == texts[:2_000]


def test_disk_must_hold_two_checkpoints_and_the_model() -> None:
    need = DiskNeed(
        model=100 * MEGABYTE, weights=100 * MEGABYTE, optimizer=200 * MEGABYTE, checkpoints=5, kept_at_most=2
    )
    assert (need.least, need.most) == (700 * MEGABYTE, 1_000 * MEGABYTE)
    lines, found = check_disk(need, Room(699 * MEGABYTE), folder=Path("runs/a"))
    assert lines == [
        "disk: a checkpoint 300 MB = weights 100 MB + optimizer 200 MB; 5 written, at most 3 on disk at once, "
        "with the finished model 1.0 GB; 699 MB free"
    ]
    assert [str(problem) for problem in found] == [
        "output_dir runs/a: 699 MB free: 700 MB needed for 2 checkpoints and the finished model; "
        "free some, choose another output_dir, or save_strategy: no"
    ]
    lines, found = check_disk(need, Room(700 * MEGABYTE), folder=Path("runs/a"))
    assert (lines[1:], found) == (["warning: 3 checkpoints do not fit at once: lower save_total_limit"], [])
    room = Room(1_000 * MEGABYTE)
    assert check_disk(need, room, folder=Path("runs/a")) == ([need.line(room)], [])


def test_the_checkpoints_of_a_run_that_goes_on_are_room_but_for_the_next_one() -> None:
    need = DiskNeed(
        model=100 * MEGABYTE, weights=100 * MEGABYTE, optimizer=200 * MEGABYTE, checkpoints=5, kept_at_most=2
    )
    beside = Room(299 * MEGABYTE, replaceable=600 * MEGABYTE, published=2)
    assert [str(problem) for problem in check_disk(need, beside, folder=Path("runs/a"))[1]] == [
        "output_dir runs/a: 299 MB free: 300 MB needed for the next checkpoint beside the 2 there; "
        "free some, choose another output_dir, or save_strategy: no"
    ]
    assert check_disk(need, replace(beside, free=300 * MEGABYTE), folder=Path("runs/a"))[1] == []
    assert check_disk(replace(need, checkpoints=0), replace(beside, free=100), folder=Path("runs/a"))[1] == []


def test_room_is_what_is_free_and_what_the_run_replaces(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert find_room(tmp_path / "runs" / "new").published == 0
    for name, size in (("checkpoint-2", 300), ("checkpoint-4", 500), ("set_aside/checkpoint-3", 7_000)):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "model.safetensors").write_bytes(bytes(size))
    found = find_room(tmp_path)
    assert (found.replaceable, found.published) == (800, 2)
    assert abs(found.free - free) < 100 * MEGABYTE


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


@pytest.mark.parametrize(("count", "shown"), [(950, "0.9 kB"), (12_345_678, "12 MB"), (1_260_000_000, "1.3 GB")])
def test_bytes_are_shown_in_a_unit_people_read(count: int, shown: str) -> None:
    assert show_bytes(count) == shown


def test_the_best_checkpoint_lies_beside_the_newest_and_the_one_being_written() -> None:
    need = DiskNeed(model=0, weights=MEGABYTE, optimizer=0, checkpoints=5, kept_at_most=1)
    assert [need.at_once, replace(need, keeps_best=True).at_once] == [2, 3]
    assert replace(need, keeps_best=True, kept_at_most=2).at_once == 3
    assert replace(need, keeps_best=True, kept_at_most=None).at_once == 5
    assert replace(need, keeps_best=True, checkpoints=2).at_once == 2
