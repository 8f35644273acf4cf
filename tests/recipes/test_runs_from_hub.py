"""Runs whose model and data are names on the Hub: the same numbers as from files, and one refusal for all processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, run_recipe_here, to_argv
from hub_contents import REVIEWS, make_rows, publish_data, publish_model
from hub_server import READ_TOKEN, Fault, HubServer
from interruption import interrupted_after

from hfpipe.config import load_config
from hfpipe.data.commits import find_commits
from hfpipe.errors import Stopped
from hfpipe.training.arguments import build_arguments
from hfpipe.training.downloads import download_first
from hfpipe.training.plan import find_plan

MODEL = "acme/encoder"
SETTINGS: dict[str, Any] = {
    "max_seq_length": 16,
    "max_steps": 6,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "eval_strategy": "steps",
    "eval_steps": 3,
    "save_strategy": "steps",
    "save_steps": 3,
    "use_cpu": "true",
    "disable_tqdm": "true",
}


def read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def scores(folder: Path) -> dict[str, float]:
    """Return the metrics that do not depend on how fast a run was."""
    timed = ("runtime", "per_second", "mfu", "memory_mb")
    return {name: value for name, value in read(folder, "metrics.json").items() if not name.endswith(timed)}


def test_a_run_from_the_hub_is_the_run_from_files(
    hub: HubServer, checkpoints: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"train": make_rows(24), "validation": make_rows(8, offset=24), "test": make_rows(6, offset=32)}
    data_commit = publish_data(parts, private=True)
    model_commit = publish_model(checkpoints("bert"), MODEL, private=True)
    for name, rows in parts.items():
        rows.to_parquet(tmp_path / f"{name}.parquet")
    files = {f"{name}_file": tmp_path / f"{name}.parquet" for name in parts}
    named = {"label_names": "0=neg,1=pos", "model_name_or_path": checkpoints("bert")}
    run_recipe_here("finetune_classifier", {**SETTINGS, **files, **named, "output_dir": tmp_path / "files"})
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    from_hub = {"dataset_name": REVIEWS, "model_name_or_path": MODEL, "cache_dir": tmp_path / "cache"}
    run_recipe_here("finetune_classifier", {**SETTINGS, **from_hub, "output_dir": tmp_path / "hub"})

    assert scores(tmp_path / "hub") == scores(tmp_path / "files")
    assert "test_loss" in scores(tmp_path / "hub")
    assert read(tmp_path / "hub", "config.json")["id2label"] == {"0": "neg", "1": "pos"}
    record = read(tmp_path / "hub", "run.json")
    assert record["model_commit"] == model_commit
    assert any(data_commit in note for note in record["data"]["notes"])
    assert read(tmp_path / "files", "run.json")["model_commit"] is None
    written = [path for path in (tmp_path / "hub").rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not any(READ_TOKEN.encode() in path.read_bytes() for path in written)


def launch_two(settings: dict[str, Any], *, timeout: float) -> "subprocess.CompletedProcess[str]":
    config = ROOT / "accelerate_configs" / "multi_cpu.yaml"
    recipe = ROOT / "recipes" / "finetune_classifier.py"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), str(recipe)]
    return subprocess.run(
        [*command, *to_argv(settings)], env=dict(os.environ), capture_output=True, text=True, timeout=timeout
    )


@pytest.mark.slow
def test_two_processes_download_once_and_are_refused_together(
    hub: HubServer, checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    publish_data({"train": make_rows(24), "validation": make_rows(8, offset=24)})
    publish_model(checkpoints("bert"), MODEL)
    settings = {**SETTINGS, "dataset_name": REVIEWS, "model_name_or_path": MODEL, "output_dir": tmp_path / "run"}
    hub.faults.append(Fault("GET", "model.safetensors", seconds=4.0))
    done = launch_two(settings, timeout=300)
    assert done.returncode == 0, done.stderr
    received = hub.requests("GET", "model.safetensors")
    assert len(received) == 1
    before = hub.log[: hub.log.index(received[0])]
    # the first process asks three times what the model has; the second was to wait for the weights
    questions = [seen for seen in before if seen.path.startswith("/api/models/acme/encoder/revision/")]
    assert len(questions) == 3
    refused = launch_two({**settings, "output_dir": tmp_path / "other", "train_split_name": "trian"}, timeout=120)
    assert refused.returncode == 1
    told = "train_split_name: trian: acme/reviews has no split of this name; there are 'train', 'validation'"
    assert refused.stderr.count(told) == 1


@pytest.mark.parametrize("named", [{"dataset_name": REVIEWS}, {"dataset_mixture": f"[{{dataset_name: {REVIEWS}}}]"}])
def test_data_sets_are_downloaded_before_the_other_processes_ask(
    hub: HubServer, named: dict[str, str], checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    publish_data({"train": make_rows(24)})
    cache = tmp_path / "cache"
    settings = {**SETTINGS, **named, "model_name_or_path": checkpoints("bert"), "cache_dir": cache}
    config = load_config(to_argv({**settings, "output_dir": tmp_path / "run"}), recipe="finetune_classifier")
    download_first(config, build_arguments(config, find_plan(config)))
    assert list(cache.rglob("*.arrow"))


def test_a_run_goes_on_with_the_rows_it_began_with(
    hub: HubServer, checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    publish_data({"train": make_rows(24)})
    mixture = f"[{{dataset_name: {REVIEWS}, weight: 2}}, {{train_file: {tmp_path / 'more.jsonl'}}}]"
    rows = [f"another {('bad', 'good')[row % 2]} film number {row}" for row in range(24)]
    labels = ("neg", "pos")
    lines = (json.dumps({"text": text, "label": labels[row % 2]}) + "\n" for row, text in enumerate(rows))
    (tmp_path / "more.jsonl").write_text("".join(lines))
    settings = {**SETTINGS, "dataset_mixture": mixture, "logging_steps": 1}
    settings |= {"model_name_or_path": checkpoints("bert"), "output_dir": tmp_path / "run"}
    with interrupted_after(2, signal.SIGINT), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", settings)
    began = find_commits(read(tmp_path / "run", "run.json")["data"])
    publish_data({"train": make_rows(30)})
    run_recipe_here("finetune_classifier", settings)
    record = read(tmp_path / "run", "run.json")
    assert (record["status"], find_commits(record["data"])) == ("done", began)
