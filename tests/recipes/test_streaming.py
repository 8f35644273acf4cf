"""A run that reads its corpus while it trains: what comes out, how it goes on, and what ends or refuses it."""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import make_review, run_recipe_here
from interruption import interrupted_after
from test_resume import outcome, stop_and_go_on

from hfpipe.config import load_config
from hfpipe.data.corpora import load_corpus
from hfpipe.errors import CheckpointError, ConfigError, DataError, Stopped
from hfpipe.records.run_directory import read_history, read_json, write_json
from hfpipe.training.checking import check


def write_corpus(folder: Path, *, shards: int = 4, documents: int = 40) -> Path:
    """Write made-up reviews as JSON lines, every second file compressed."""
    folder.mkdir()
    for number in range(shards):
        texts = [make_review(number * documents + index)[0] for index in range(documents)]
        content = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
        if number % 2:
            (folder / f"part-{number}.jsonl.gz").write_bytes(gzip.compress(content))
        else:
            (folder / f"part-{number}.jsonl").write_bytes(content)
    return folder


def stream_settings(corpus: Path, checkpoint: Path) -> dict[str, Any]:
    """Twenty steps of two micro-batches, which is more than an epoch of the corpus."""
    return {
        "train_file": corpus,
        "streaming": "true",
        "model_name_or_path": checkpoint,
        "config_overrides": "attention_dropout=0.1",
        "block_size": 32,
        "max_steps": 20,
        "max_eval_samples": 8,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "learning_rate": 3e-3,
        "logging_steps": 3,
        "save_steps": 10,
        "load_best_model_at_end": "false",
        "bf16": "false",
        "disable_tqdm": "true",
    }


@pytest.fixture
def settings(checkpoints: Callable[[str], Path], tmp_path: Path) -> dict[str, Any]:
    return stream_settings(write_corpus(tmp_path / "corpus"), checkpoints("llama"))


@pytest.mark.parametrize("events", [1, 3, 5])
def test_a_stopped_stream_ends_in_the_same_bits(events: int, settings: Mapping[str, Any], tmp_path: Path) -> None:
    """The stops lie inside a shard of the first epoch, near its end, and in the second."""
    run_recipe_here("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "straight"})
    step = stop_and_go_on("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "stopped"}, events=events)
    assert 0 < step < 20
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")
    records = [read_json(tmp_path / name / "run.json")["stream"] for name in ("stopped", "straight")]
    assert records[0] == records[1]
    assert records[1]["stream_epoch"] >= 1
    assert records[1]["stream_tokens"] == 20 * 8 * 32
    fates = [count for name, count in records[1].items() if name.startswith("documents_") and name != "documents_read"]
    assert sum(fates) == records[1]["documents_read"] > 160
    events_of = [event for event in read_history(tmp_path / "straight" / "history.jsonl") if "loss" in event]
    assert [event["stream_tokens"] for event in events_of] == [step * 8 * 32 for step in (3, 6, 9, 12, 15, 18)]


def test_more_steps_continue_the_stream(settings: dict[str, Any], tmp_path: Path) -> None:
    constant = {**settings, "lr_scheduler_type": "constant", "warmup_steps": 0}
    run_recipe_here("pretrain_causal_lm", {**constant, "output_dir": tmp_path / "long"})
    run_recipe_here("pretrain_causal_lm", {**constant, "max_steps": 12, "output_dir": tmp_path / "grown"})
    run_recipe_here("pretrain_causal_lm", {**constant, "output_dir": tmp_path / "grown"})
    assert outcome(tmp_path / "grown")[0] == outcome(tmp_path / "long")[0]


def test_other_processes_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    settings |= {"output_dir": tmp_path / "run"}
    with interrupted_after(2), pytest.raises(Stopped):
        run_recipe_here("pretrain_causal_lm", settings)
    record = read_json(tmp_path / "run" / "run.json")
    # as two processes with micro-batches of half the size would have left it
    write_json(tmp_path / "run" / "run.json", {**record, "world_size": 2})
    with pytest.raises(CheckpointError) as error:
        run_recipe_here("pretrain_causal_lm", settings)
    assert str(error.value) == (
        "the run directory has 1 problem:\n"
        "  - processes: 1: the run began with 2, and each of them has its own place in the stream; launch 2 again, "
        "or tokenize the corpus before training: drop streaming: true, with another output_dir"
    )


def test_a_changed_shard_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    settings |= {"output_dir": tmp_path / "run"}
    with interrupted_after(2), pytest.raises(Stopped):
        run_recipe_here("pretrain_causal_lm", settings)
    with (tmp_path / "corpus" / "part-2.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    with pytest.raises(
        CheckpointError,
        match=r"part-2\.jsonl: 3448 bytes: its content is no longer what this run began with, 3427 bytes",
    ):
        run_recipe_here("pretrain_causal_lm", settings)


def test_a_bad_row_ends_the_run_before_its_update(settings: dict[str, Any], tmp_path: Path) -> None:
    shards = load_corpus(load_config(_argv(settings), recipe="pretrain_causal_lm")).train
    last = shards.shards[shards.order(0)[-1]].file.path  # type: ignore[union-attr]
    lines = (gzip.decompress(last.read_bytes()) if last.suffix == ".gz" else last.read_bytes()).splitlines()
    lines[9] = b'{"text": 10}'
    content = b"\n".join(lines) + b"\n"
    last.write_bytes(gzip.compress(content) if last.suffix == ".gz" else content)
    with pytest.raises(DataError) as error:
        run_recipe_here("pretrain_causal_lm", {**settings, "save_steps": 1, "output_dir": tmp_path / "run"})
    assert str(error.value) == (
        f"the data has 1 problem:\n  - {last}:10: column 'text' holds a number, '10': a text is expected; "
        "write it as a text, or name another column"
    )
    record = read_json(tmp_path / "run" / "run.json")
    assert record["status"] == "failed"
    assert record["sessions"][-1]["to_step"] >= 3
    saved = sorted((tmp_path / "run" / "checkpoints").glob("checkpoint-*"))
    assert saved[-1].name == f"checkpoint-{record['sessions'][-1]['to_step']}"


def test_validation_and_test_files_are_read_to_their_limits(settings: dict[str, Any], tmp_path: Path) -> None:
    shared = [make_review(index)[0] for index in (0, 1, 2)]
    for name in ("validation", "test"):
        (tmp_path / f"{name}.txt").write_text("\n\n".join([*shared, f"only in {name}"]) + "\n", encoding="utf-8")
    settings |= {"validation_file": tmp_path / "validation.txt", "test_file": tmp_path / "test.txt"}
    settings |= {"document_per": "paragraph", "max_eval_samples": 2, "max_predict_samples": 3}
    run_recipe_here("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "run"})
    record = read_json(tmp_path / "run" / "run.json")
    assert {name: part["used"] for name, part in record["data"]["parts"].items()} == {"validation": 2, "test": 3}
    assert record["stream"]["documents_in_validation_or_test"] >= 3
    assert record["stream"]["documents_held_out_for_validation"] == 0
    assert {"eval_loss", "test_loss"} <= read_json(tmp_path / "run" / "metrics.json").keys()


def test_one_shard_for_two_processes_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    settings |= {"train_file": tmp_path / "corpus" / "part-0.jsonl"}
    config = load_config(_argv(settings), recipe="pretrain_causal_lm")
    with pytest.raises(DataError) as error:
        load_corpus(config, processes=2)
    assert str(error.value) == (
        f"the data has 1 problem:\n  - {tmp_path / 'corpus' / 'part-0.jsonl'}: 1 shard for 2 processes: each process "
        "reads files of its own; split it, for instance: "
        "split -n l/8 --additional-suffix=.jsonl FILE.jsonl part-"
    )


def test_empty_shards_are_refused_before_they_are_met(settings: dict[str, Any], tmp_path: Path) -> None:
    empty = [tmp_path / "corpus" / f"part-{number}.jsonl" for number in (1, 2)]
    for path in empty:
        path.write_text("")
    config = load_config(_argv({**settings, "max_eval_samples": 1}), recipe="pretrain_causal_lm")
    with pytest.raises(DataError) as error:
        load_corpus(config)
    assert [(problem.place, problem.value) for problem in error.value.problems] == [
        (str(path), "the file is empty") for path in empty
    ]


def test_what_a_stream_cannot_have_is_refused_at_once() -> None:
    given = {
        "train_file": "x.jsonl",
        "streaming": "true",
        "max_train_samples": 5,
        "eval_strategy": "epoch",
        "dataloader_num_workers": 2,
    }
    with pytest.raises(ConfigError) as error:
        load_config(_argv(given), recipe="pretrain_causal_lm")
    listed = str(error.value).splitlines()
    expected = [
        "  - max_steps: a stream has no length that would end the run; set max_steps",
        "  - max_eval_samples: validation documents of a stream are taken from its head, and how many is not said; "
        "set max_eval_samples, as in max_eval_samples: 1000",
        "  - tokenizer_name: no tokenizer is trained on a stream; set tokenizer_name, as in tokenizer_name: gpt2",
        "  - --max_train_samples 5: a stream is not sampled: its length is max_steps; remove it",
        "  - --eval_strategy epoch: a stream has no epochs that all processes end together; write eval_strategy: steps",
        "  - --dataloader_num_workers 2: a stream is read by the process that trains, which knows where it stands; "
        "remove it",
    ]
    assert [line for line in expected if line not in listed] == []


def test_checking_reads_the_head_and_says_so(settings: dict[str, Any], tmp_path: Path) -> None:
    config = load_config(_argv({**settings, "output_dir": tmp_path / "run"}), recipe="pretrain_causal_lm")
    report = check(config)
    assert report.problems == ()
    lines = "\n".join(report.lines)
    assert "rows_per_step 8 = 4 x 2 x 1 (rows x micro-batches x processes); a row is a block" in lines
    assert "steps: 20 (max_steps)" in lines
    assert "tokens: 5,120 in total = 20 x 8 x 32" in lines
    assert "(the head of the stream: " in lines
    assert "memory" in lines


def _argv(settings: Mapping[str, Any]) -> list[str]:
    return [word for key, value in settings.items() for word in (f"--{key}", str(value))]
