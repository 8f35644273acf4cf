"""Runs on several sources: how much of each, what is counted, and the losses of each."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import make_review, run_recipe_here
from test_resume import classifier_settings, language_model_settings, outcome, stop_and_go_on

from hfpipe.config import load_config
from hfpipe.errors import ConfigError
from hfpipe.records.run_directory import read_history, read_json
from hfpipe.training.checking import check


def write_texts(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Three quarters of short lines about numbers, one quarter of reviews; the sources share one text."""
    plain = [f"line {index} of a corpus of plain words, {index * index}" for index in range(90)]
    reviews = [make_review(index)[0] for index in range(90)]
    files = [
        write_texts(tmp_path / "plain.jsonl", plain),
        write_texts(tmp_path / "reviews.jsonl", [*reviews, plain[0]]),
    ]
    mixture = f"[{{train_file: {files[0]}, weight: 3}}, {{train_file: {files[1]}, weight: 1}}]"
    settings = {**language_model_settings(tmp_path), "dataset_mixture": mixture, "num_train_epochs": 2}
    for key in ("train_file", "document_per", "max_train_samples"):
        del settings[key]
    return settings


def test_a_language_model_on_two_sources(settings: dict[str, Any], tmp_path: Path) -> None:
    run_recipe_here("pretrain_causal_lm", {**settings, "num_train_epochs": 3, "output_dir": tmp_path / "run"})
    record = read_json(tmp_path / "run" / "run.json")
    assert record["data"]["parts"]["validation"]["used"] == 18
    plain, reviews = record["mixture"]["plain"], record["mixture"]["reviews"]
    assert plain["blocks_used"] == plain["blocks"]  # what is used up first ends the epoch
    assert reviews["blocks_used"] == plain["blocks"] // 3 or reviews["blocks_used"] == plain["blocks"] // 3 + 1
    assert reviews["blocks_used"] < reviews["blocks"]
    train = record["data"]["parts"]["train"]
    assert train["read"] == 181
    assert train["left_out"]["duplicate"]["count"] == 1
    last = [event for event in read_history(tmp_path / "run" / "history.jsonl") if "loss" in event][-1]
    rows = plain["blocks_used"] + reviews["blocks_used"]
    assert last["step"] > 2 * -(-rows // 4)
    epochs, steps = divmod(last["step"], -(-rows // 4))
    assert last["rows_plain"] + last["rows_reviews"] == epochs * rows + steps * 4
    assert last["tokens_plain"] == 16 * last["rows_plain"]
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert metrics["eval_loss_plain"] != metrics["eval_loss_reviews"]
    assert min(metrics["eval_loss_plain"], metrics["eval_loss_reviews"]) < metrics["eval_loss"]
    assert metrics["eval_loss"] < max(metrics["eval_loss_plain"], metrics["eval_loss_reviews"])
    assert {"eval_perplexity_plain", "eval_bits_per_byte_reviews"} <= metrics.keys()


def test_checking_shows_the_shares_of_the_run(settings: dict[str, Any], tmp_path: Path) -> None:
    settings |= {"output_dir": tmp_path / "run"}
    argv = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    report = check(load_config(argv, recipe="pretrain_causal_lm"))
    assert report.problems == ()
    run_recipe_here("pretrain_causal_lm", settings)
    found = read_json(tmp_path / "run" / "run.json")["mixture"]
    for name in ("plain", "reviews"):
        (line,) = [line for line in report.lines if line.split()[:1] == [name]]
        assert line.split()[1:3] == [str(found[name]["blocks"]), str(found[name]["blocks_used"])]


def test_scores_by_source_do_not_depend_on_the_batch(settings: dict[str, Any], tmp_path: Path) -> None:
    runs = {size: tmp_path / f"by_{size}" for size in (1, 5)}
    for size, folder in runs.items():
        run_recipe_here("pretrain_causal_lm", {**settings, "per_device_eval_batch_size": size, "output_dir": folder})
    one, five = (read_json(folder / "metrics.json") for folder in runs.values())
    scores = [name for name in one if name.startswith(("eval_loss", "eval_bits"))]
    # of all blocks with the ends of their intervals, and of each of two sources
    assert len(scores) == 2 * (3 + 2)
    assert {name: one[name] for name in scores} == pytest.approx({name: five[name] for name in scores}, rel=1e-6)


def test_a_stopped_mixture_ends_in_the_same_bits(settings: dict[str, Any], tmp_path: Path) -> None:
    run_recipe_here("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "straight"})
    stop_and_go_on("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "stopped"}, events=2)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")


def test_a_classifier_on_two_sources(
    reviews_csv: Callable[[int], Path], checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    rows = [make_review(index) for index in range(100, 130)]
    other.write_text("".join(json.dumps({"body": text, "class": label}) + "\n" for text, label in rows))
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    del settings["train_file"]
    settings["dataset_mixture"] = json.dumps(
        [
            {"name": "small", "train_file": str(reviews_csv(44)), "repeat": 2, "weight": 2},
            {"train_file": str(other), "text_column_names": "body", "label_column_name": "class"},
        ]
    )
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "run"})
    record = read_json(tmp_path / "run" / "run.json")
    train = record["data"]["parts"]["train"]
    assert train["read"] == 74
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert {"eval_accuracy_small", "eval_accuracy_other", "eval_loss_small", "eval_accuracy"} <= metrics.keys()
    last = [event for event in read_history(tmp_path / "run" / "history.jsonl") if "loss" in event][-1]
    assert last["rows_small"] == 2 * last["rows_other"] or abs(last["rows_small"] - 2 * last["rows_other"]) <= 4
    assert train["noted"]["repeated_in_mixture"]["count"] > 0


def refusals(given: Mapping[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_config(
            [word for key, value in given.items() for word in (f"--{key}", str(value))], recipe="pretrain_causal_lm"
        )
    return str(error.value).splitlines()[1:]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (
            "[{train_file: a.txt, wieght: 2}]",
            "source 1: wieght: 2: no such key of a source; did you mean 'weight'?",
        ),
        (
            "[{train_file: a.txt, weight: 0}]",
            "source 1: weight: 0: must be a number above 0; leave a source out that is not to be used",
        ),
        (
            "[{train_file: a.txt, repeat: 1.5}]",
            "source 1: repeat: 1.5: must be a whole number of at least 1; 1 uses each row once an epoch at most",
        ),
        (
            "[{weight: 1}]",
            "source 1: source: names no data; write one of dataset_name and train_file",
        ),
        (
            "[{train_file: a.txt, dataset_name: acme/b}]",
            "source 1: source: names dataset_name and train_file; write one of dataset_name and train_file",
        ),
        (
            "[{train_file: a.txt}, {train_file: b/a.txt}]",
            "source 1: name: a: 2 sources have this name; give each a name of its own",
        ),
        (
            "[{train_file: a.txt, dataset_revision: main}]",
            "source 1: dataset_revision: main: has no effect without one on the Hub; remove it",
        ),
        (
            "[{train_file: a.txt, label_column_name: y}]",
            "source 1: label_column_name: y: is no setting of pretrain_causal_lm; remove it",
        ),
    ],
)
def test_entries_are_checked_as_settings_are(entries: str, expected: str) -> None:
    assert refusals({"dataset_mixture": entries}) == [f"  - --dataset_mixture: {expected}"]


def test_a_mixture_stands_alone() -> None:
    listed = refusals({"dataset_mixture": "[{train_file: a.txt}]", "train_file": "b.txt", "test_file": "c.txt"})
    rule = "has no effect beside dataset_mixture, whose sources bring the data; remove it"
    assert f"  - --train_file [b.txt]: {rule}" in listed
    assert f"  - --test_file [c.txt]: {rule}" in listed
