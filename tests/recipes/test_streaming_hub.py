"""A stream from the Hub of this machine: shards are read where they lie, and nothing of them is kept."""

import gzip
import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
from conftest import make_review, run_recipe_here
from hub_server import WRITE_TOKEN, Fault, HubServer
from huggingface_hub import HfApi
from interruption import interrupted_after
from test_resume import outcome, stop_and_go_on
from test_streaming import stream_settings

from hfpipe.config import DataSettings
from hfpipe.data.commits import find_commits
from hfpipe.data.streamed_parts import load_streamed_parts
from hfpipe.errors import DataError, Stopped
from hfpipe.records.run_directory import read_json

NAME = "acme/corpus"


def publish(files: Mapping[str, bytes], name: str = NAME) -> str:
    """Put files into a data set and return the commit."""
    api = HfApi(token=WRITE_TOKEN)
    api.create_repo(name, repo_type="dataset", exist_ok=True)
    for path, content in files.items():
        commit = api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=name, repo_type="dataset")
    return str(commit.oid)


def make_shards(folder: Path, *, count: int = 4, documents: int = 40) -> dict[str, bytes]:
    """Return Parquet files and compressed JSON lines by their paths in a data set."""
    parquet, lines = {}, {}
    for number in range(count):
        texts = [make_review(number * documents + row)[0] for row in range(documents)]
        path = folder / f"train-{number}.parquet"
        datasets.Dataset.from_dict({"text": texts}).to_parquet(path, batch_size=16)
        parquet[f"data/{path.name}"] = path.read_bytes()
        content = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        lines[f"data/train-{number}.jsonl.gz"] = gzip.compress(content.encode())
    return {**parquet, **lines}


def of_kind(files: Mapping[str, bytes], suffix: str) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path.endswith(suffix)}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl.gz"])
def test_a_stream_from_the_hub_goes_on_exactly(
    hub: HubServer, suffix: str, checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    publish(of_kind(make_shards(tmp_path), suffix))
    settings: dict[str, Any] = {**stream_settings(Path(), checkpoints("llama")), "dataset_name": NAME}
    del settings["train_file"]
    run_recipe_here("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "straight"})
    stop_and_go_on("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "stopped"}, events=2)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")
    files = read_json(tmp_path / "straight" / "run.json")["data"]["files"]
    assert [file["name"].partition("@")[0] for file in files] == [NAME] * 4
    kept = [path for path in Path(datasets.config.HF_DATASETS_CACHE).parent.rglob(f"*{suffix}") if path.is_file()]
    assert kept == []


def test_a_run_goes_on_with_the_commit_it_began_with(
    hub: HubServer, checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    shards = of_kind(make_shards(tmp_path), ".parquet")
    first = publish(shards)
    settings: dict[str, Any] = {**stream_settings(Path(), checkpoints("llama")), "dataset_name": NAME}
    del settings["train_file"]
    run_recipe_here("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "straight"})
    stopped = {**settings, "output_dir": tmp_path / "stopped"}
    with interrupted_after(2, signal.SIGINT), pytest.raises(Stopped):
        run_recipe_here("pretrain_causal_lm", stopped)
    second = publish(dict.fromkeys(shards, shards["data/train-0.parquet"]))
    assert second != first
    run_recipe_here("pretrain_causal_lm", stopped)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")
    files = read_json(tmp_path / "stopped" / "run.json")["data"]["files"]
    assert [file["identity"] for file in files] == [f"{NAME}@{first}/{path}" for path in sorted(shards)]
    run_recipe_here("pretrain_causal_lm", {**stopped, "fresh_start": "true"})
    assert find_commits(read_json(tmp_path / "stopped" / "run.json")["data"]) == {NAME: second}


def test_another_commit_is_another_stream(hub: HubServer, tmp_path: Path) -> None:
    shards = of_kind(make_shards(tmp_path, count=2), ".parquet")
    first = publish(shards)
    settings = DataSettings(dataset_name=NAME, streaming=True, max_eval_samples=3)
    parts = load_streamed_parts(settings, seed=1)
    assert [shard.name for shard in parts.train.shards] == [f"{NAME}@{first[:12]}/{path}" for path in sorted(shards)]
    second = publish({"README.md": b"a new word\n"})
    names = [file.name for file in load_streamed_parts(settings, seed=1).summary.files]
    assert names == [f"{NAME}@{second[:12]}/{path}" for path in sorted(shards)]


def test_what_cannot_be_streamed_is_refused(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset_name: acme/nothing: "):
        load_streamed_parts(DataSettings(dataset_name="acme/nothing", streaming=True, max_eval_samples=3), seed=1)
    publish(of_kind(make_shards(tmp_path, count=1), ".parquet"))
    named = DataSettings(dataset_name=NAME, streaming=True, max_eval_samples=3, validation_split_name="dev")
    with pytest.raises(DataError) as error:
        load_streamed_parts(named, seed=1)
    assert str(error.value) == (
        "the data has 1 problem:\n"
        "  - validation_split_name: dev: acme/corpus has no split of this name; there are 'train'"
    )


def test_a_hub_that_fails_in_the_middle_is_told_with_its_shard(
    hub: HubServer, checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    publish(of_kind(make_shards(tmp_path, count=2), ".parquet"))
    settings: dict[str, Any] = {**stream_settings(Path(), checkpoints("llama")), "dataset_name": NAME}
    del settings["train_file"]
    hub.faults.append(Fault("GET", r"resolve/.*/data/train-\d\.parquet", status=403, times=100))
    with pytest.raises(DataError) as error:
        run_recipe_here("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "run"})
    (problem,) = error.value.problems
    assert problem.place.startswith(f"{NAME}@")
    assert (problem.value, problem.remedy) == (
        "cannot be read",
        "look at your connection; the same command goes on from the newest checkpoint",
    )
