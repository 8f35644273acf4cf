"""Blocks of a stream as rows: who gets which, what is kept of late, what a checkpoint holds, and a row that is bad."""

from pathlib import Path

import numpy as np
import pytest
from test_data_streams import SEPARATOR, corpus_of, encode, write_shards

from hfpipe.config import load_config
from hfpipe.data.batches import BatchPlan
from hfpipe.data.corpus import IGNORED
from hfpipe.data.stream_blocks import BlockStream, Packing, StreamState
from hfpipe.data.streams import Share
from hfpipe.errors import CheckpointError
from hfpipe.training.state_files import write_state
from hfpipe.training.streaming import StreamedBlocks, StreamShape, load_stream, state_tree

SHAPE = StreamShape(total=48, block_size=6, per_device_batch_size=2, gradient_accumulation_steps=2)


def rows_of(paths: tuple[Path, ...], share: Share, state: StreamState | None = None) -> StreamedBlocks:
    stream = BlockStream(corpus_of(paths), share, Packing(encode, SEPARATOR, 6), state or StreamState())
    return StreamedBlocks(stream, share, SHAPE)


def plan_of(world_size: int) -> BatchPlan:
    return BatchPlan(SHAPE.total, SHAPE.per_device_batch_size, 2, world_size, seed=1, in_order=True)


def test_a_plan_in_order_lists_no_rows() -> None:
    plan = BatchPlan(10**12, 2, 2, 2, seed=1, in_order=True)
    batches = plan.micro_batches(0, rank=1)
    assert [next(batches), next(batches)] == [[1, 3], [5, 7]]
    assert plan.window(0, 10**6).tolist() == list(range(8 * 10**6, 8 * 10**6 + 8))


def test_each_process_gets_the_blocks_of_its_own_stream(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, [30, 30, 30])
    for rank in (0, 1):
        rows = rows_of(paths, Share(rank, 2))
        stream = BlockStream(corpus_of(paths), Share(rank, 2), Packing(encode, SEPARATOR, 6), StreamState())
        expected = stream.take(24)[0]
        batches = [rows.__getitems__(ids)["input_ids"].numpy() for ids in plan_of(2).micro_batches(0, rank)]
        assert np.concatenate(batches).tolist() == expected.tolist()


def test_blocks_of_late_come_again_and_those_of_others_have_no_labels(tmp_path: Path) -> None:
    rows = rows_of(write_shards(tmp_path, [30, 30]), Share(0, 2))
    batches = [rows.__getitems__(ids) for ids in ([0, 2], [4, 6])]
    again = [rows.__getitems__([row_id])["input_ids"][0].tolist() for row_id in (0, 2, 4, 6)]
    assert again == [block for batch in batches for block in batch["input_ids"].tolist()]
    assert rows.__getitems__([1])["labels"].eq(IGNORED).all()
    assert rows.name(1) == "block 1 (of process 1)"
    assert rows.name(0).startswith("block 0 (begins in part-")
    assert rows.__getitems__([8, 10])["labels"].tolist() == rows.__getitems__([8, 10])["input_ids"].tolist()


def test_rows_out_of_turn_are_a_mistake_of_ours(tmp_path: Path) -> None:
    rows = rows_of(write_shards(tmp_path, [30, 30]), Share(0, 1))
    with pytest.raises(AssertionError, match="in its order"):
        rows.__getitems__([4, 5])


def test_a_checkpoint_has_the_state_of_its_step(tmp_path: Path) -> None:
    paths, share = write_shards(tmp_path, [30, 30, 30]), Share(1, 2)
    rows = rows_of(paths, share)
    batches = list(plan_of(2).micro_batches(0, 1))
    for ids in batches[:6]:  # step 3, and a micro-batch ahead of it below
        rows.__getitems__(ids)
    ahead = rows.__getitems__(batches[6])["input_ids"].tolist()
    for rank in (0, 1):
        write_state(tmp_path, f"stream_{rank}", state_tree(rows.state_at(12), share), owner="streaming")
    resumed = rows_of(paths, share, load_stream(tmp_path, share))
    assert resumed.__getitems__(batches[6])["input_ids"].tolist() == ahead
    with pytest.raises(CheckpointError) as error:
        load_stream(tmp_path, Share(0, 4))
    assert str(error.value) == (
        "the run directory has 1 problem:\n"
        "  - processes: 4: the run began with 2, and each of them has its own place in the stream; launch 2 again, "
        "or tokenize the corpus before training: drop streaming: true, with another output_dir"
    )


def test_after_a_bad_row_batches_are_empty(tmp_path: Path) -> None:
    (path,) = write_shards(tmp_path, [5])
    path.write_text(path.read_text() + '{"text": 1}\n', encoding="utf-8")
    rows = rows_of((path,), Share(0, 1))
    for ids in ([0, 1], [2, 3]):
        assert rows.__getitems__(ids)["labels"].eq(IGNORED).all()
    assert rows.failure is not None
    assert [problem.place for problem in rows.failure.problems] == ["part-0.jsonl:6"]


@pytest.mark.parametrize(
    ("given", "planned"),
    [
        ([], ("steps", "steps")),
        (["--eval_strategy", "no"], ("no", "steps")),
        (["--save_strategy", "no"], ("steps", "no")),
        (["--eval_strategy", "steps", "--eval_steps", "20"], ("steps", "steps")),
    ],
)
def test_a_stream_evaluates_and_saves_by_steps(given: list[str], planned: tuple[str, str]) -> None:
    settings = ["--streaming", "--train_file", "x.jsonl", "--max_steps", "9", "--max_eval_samples", "2"]
    words = [*settings, "--tokenizer_name", "gpt2", "--load_best_model_at_end", "false", *given]
    config = load_config(words, recipe="pretrain_causal_lm")
    assert (config.trainer_arguments["eval_strategy"], config.training.save_strategy) == planned
