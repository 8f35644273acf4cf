"""Runs on cleaned texts under schedules of hfpipe's own: rates by their closed form, a resume in the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import make_review, run_recipe_here
from test_resume import outcome, stop_and_go_on

from hfpipe.records.inference_settings import read_inference_settings
from hfpipe.records.run_directory import read_history, read_json

RATE = 4e-3


@pytest.fixture
def settings(checkpoints: Callable[[str], Path], tmp_path: Path) -> dict[str, Any]:
    """Two epochs of 6 steps over reviews with markup; a log event a step, a checkpoint every fourth one."""
    rows = [make_review(index) for index in range(48)]
    lines = [f"<p>{text.replace(' ', '<br />')}</p>,{label}" for text, label in rows]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *lines, "<br />,pos"]) + "\n")
    return {
        "train_file": tmp_path / "reviews.csv",
        "model_name_or_path": checkpoints("bert"),
        "cleaning_steps": "strip_html,collapse_whitespace,deduplicate",
        "sample_texts": "[<b>good</b> film, good film, <br />]",
        "validation_fraction": 0.25,
        "max_seq_length": 24,
        "per_device_train_batch_size": 6,
        "num_train_epochs": 2,
        "learning_rate": RATE,
        "warmup_steps": 3,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "baselines": "[]",
        "bf16": "false",
        "disable_tqdm": "true",
    }


def rates_of(folder: Path) -> list[tuple[int, float]]:
    return [
        (event["step"], event["learning_rate"]) for event in read_history(folder / "history.jsonl") if "loss" in event
    ]


def test_a_stopped_run_ends_in_the_same_bits_and_rates_are_the_closed_form(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    settings |= {"lr_scheduler_type": "step", "lr_scheduler_kwargs": "gamma=0.5,step_epochs=0.5"}
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run_recipe_here("finetune_classifier", {**settings, "output_dir": straight})
    assert stop_and_go_on("finetune_classifier", {**settings, "output_dir": stopped}, events=6) < 12
    assert outcome(stopped) == outcome(straight)
    wanted = [RATE * min(1, done / 3) * 0.5 ** (done // 3) for done in range(12)]
    assert rates_of(straight) == [(done + 1, pytest.approx(rate, rel=1e-12)) for done, rate in enumerate(wanted)]
    assert read_inference_settings(straight).cleaning_steps == ("strip_html", "collapse_whitespace")
    account = read_json(straight / "run.json")["data"]["parts"]["train"]
    said = read_json(straight / "run.json")["samples"]
    assert [sample.pop("text") for sample in said] == ["<b>good</b> film", "good film"]
    assert said[0] == said[1]
    first, file = account["cleaned"][0], settings["train_file"]
    assert first == {"step": "strip_html", "count": 49, "examples": [f"{file}:{line}" for line in (2, 3, 4)]}
    assert account["left_out"]["emptied"] == {"count": 1, "examples": [f"{file}:50"]}


def test_a_run_grows_under_a_schedule_that_knows_no_end(settings: dict[str, Any], tmp_path: Path) -> None:
    smooth = {"lr_scheduler_type": "exponential", "lr_scheduler_kwargs": "gamma=0.1,step_size=12"}
    settings |= {**smooth, "eval_strategy": "epoch", "save_strategy": "epoch"}
    settings.pop("eval_steps")
    grown = {**settings, "output_dir": tmp_path / "grown"}
    run_recipe_here("finetune_classifier", {**grown, "num_train_epochs": 1})
    run_recipe_here("finetune_classifier", grown)
    wanted = [RATE * min(1, done / 3) * 0.1 ** (done / 12) for done in range(12)]
    grown_rates = rates_of(tmp_path / "grown")
    assert grown_rates == [(done + 1, pytest.approx(rate, rel=1e-12)) for done, rate in enumerate(wanted)]
