"""A run directory as a finished run leaves it, without the training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hub_server import HubServer
from safetensors.numpy import save_file

from hfpipe.config import load_config
from hfpipe.hub.card_facts import CardFacts
from hfpipe.records.run_directory import append_history, write_json
from hfpipe.records.sessions import RUN_FORMAT, describe_settings

# What lies at the top of a repository that a finished run was pushed to.
TOP = {
    "README.md",
    "config.json",
    "history.jsonl",
    "inference.json",
    "loss_curve.png",
    "metrics.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
# What a classifier that was really trained has there besides.
JUDGED = {"evaluation.json", "confusion_matrix.png", "reliability.png"}
METRICS = {"train_loss": 0.5, "eval_loss": 0.25, "eval_accuracy": 0.875, "eval_runtime": 3.0, "test_accuracy": 0.8}
HISTORY = (
    {"step": 2, "epoch": 0.5, "loss": 0.7},
    {"step": 2, "epoch": 0.5, "eval_loss": 0.4, "eval_accuracy": 0.75},
    {"step": 4, "epoch": 1.0, "loss": 0.3},
    {"step": 4, "epoch": 1.0, "eval_loss": 0.25, "eval_accuracy": 0.875},
)
TOKENIZER = {"tokenizer.json": {"model": {"vocab": {"/srv/x": 0}}}, "tokenizer_config.json": {"model_max_length": 64}}


def make_record(recipe: str = "finetune_classifier", **settings: Any) -> dict[str, Any]:
    """Return a record of a run of these settings."""
    defaults = {"train_file": "/data/secret place/reviews.csv"}
    if recipe == "finetune_classifier":
        defaults["model_name_or_path"] = "google/bert_uncased_L-2_H-128_A-2"
    argv = [
        word
        for key, value in {**defaults, **settings}.items()
        if value is not None
        for word in (f"--{key}", str(value))
    ]
    config = load_config(argv, recipe=recipe)
    train = {
        "read": 50,
        "used": 40,
        "left_out": {"duplicate": {"count": 10, "examples": ["reviews.csv:3"]}},
        "noted": {},
    }
    held_out = {"read": 16, "used": 16, "left_out": {}, "noted": {"over_long": {"count": 4, "examples": []}}}
    return {
        "format": RUN_FORMAT,
        "status": "done",
        "recipe": recipe,
        "config": describe_settings(config.flat(), {key: str(origin) for key, origin in config.origins.items()}),
        "seed": 42,
        "world_size": 1,
        "rows_per_step": 8,
        "precision": "no",
        "data": {
            "parts": {"train": train, "validation": held_out},
            "labels": {"neg": {"train": 35, "validation": 10}, "pos": {"train": 5, "validation": 6}},
            "files": [{"name": "/data/secret place/reviews.csv", "size_bytes": 900, "sha256": "ab" * 32}],
        },
        "label_names": ["neg", "pos"],
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "hardware": {"cpu": "A processor", "cores": 2, "gpus": []},
        "parameters": {"class": "BertForSequenceClassification", "count": 1234},
        "sessions": [],
        "label_examples": [["neg", "a dull | <b>film</b> by somebody"], ["pos", "a *fine* film"]],
        "best_step": 4,
        "steps": 4,
    }


def make_facts(run: Mapping[str, Any], **changes: Any) -> CardFacts:
    """Return what a card of the finished run says."""
    return CardFacts(**{"name": "reviews", "run": run, "metrics": METRICS, "history": HISTORY, "step": 4, **changes})


def save_run(folder: Path, *, status: str = "done", **settings: Any) -> Path:
    """Write the directory of a run with checkpoints 2 and 4."""
    folder.mkdir(parents=True)
    save_model(folder, 4)
    for step in (2, 4):
        checkpoint = folder / "checkpoints" / f"checkpoint-{step}"
        save_model(checkpoint, step)
        best = {"best_global_step": 2, "best_model_checkpoint": str(checkpoint), "global_step": step}
        write_json(checkpoint / "trainer_state.json", best)
        write_json(checkpoint / "progress.json", {})
        save_file({"exp_avg": np.ones(2, np.float32)}, checkpoint / "optimizer.safetensors")
    write_json(folder / "metrics.json", METRICS)
    write_json(folder / "inference.json", {"format": "hfpipe inference 1"})
    write_json(folder / "run.json", {**make_record(**settings), "status": status})
    for event in HISTORY:
        append_history(folder / "history.jsonl", event)
    return folder


def save_model(folder: Path, step: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weight": np.full(4, step, np.float32)}, folder / "model.safetensors")
    write_json(folder / "config.json", {"_name_or_path": "/srv/somebody/bert", "hidden_size": 4})
    for name, content in TOKENIZER.items():
        write_json(folder / name, content)


def list_titles(hub: HubServer, name: str, *, revision: str = "main") -> list[str]:
    """Return the titles of a branch's commits, oldest first."""
    repository = hub.repository(name)
    found, commit = [], repository.find(revision)
    while commit is not None:
        found.append(commit.title)
        commit = repository.commits.get(commit.parent or "")
    return found[::-1]
