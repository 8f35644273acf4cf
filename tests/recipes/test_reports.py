"""Runs leave a report with everything in it, and what is sampled for it changes nothing of the training."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import make_review, run_recipe_here
from interruption import interrupted_after
from page_reading import read_page
from test_resume import classifier_settings, language_model_settings

from hfpipe.errors import Stopped
from hfpipe.evaluation.predictions import predictions_path, read_predictions
from hfpipe.records.run_directory import read_history, read_json
from hfpipe.report.occlusion import read_attributions

PROMPT = "the film"


def test_a_classifier_explains_itself(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    run = tmp_path / "run"
    run_recipe_here("finetune_classifier", {**settings, "max_seq_length": 12, "num_train_epochs": 1, "output_dir": run})
    page = read_page((run / "report.html").read_text(encoding="utf-8"))
    assert {"ladder", "scores", "curves", "classes", "calibration", "groups", "rows", "data", "settings"} <= set(
        page.ids
    )
    judged = read_json(run / "evaluation.json")["parts"]["validation"]["metrics"]["accuracy"]["value"]
    row = next(row for row in page.tables["ladder-table"] if row[0].endswith("this run"))
    assert row[1] == f"{100 * judged:.1f} %"
    found, predictions = read_attributions(run), read_predictions(predictions_path(run, "validation"))
    assert found.rows and found.rows_left_out == 0
    for each in found.rows:
        text = predictions.texts[each.row]
        assert text.startswith("".join(piece.text for piece in each.pieces))
        # of 12 tokens, and a word has at least one
        assert 1 < len(each.pieces) <= 12
        assert each.words_unread == len(text.split()) - len(each.pieces)
    assert any(piece.effect for each in found.rows for piece in each.pieces)
    card = (run / "README.md").read_text(encoding="utf-8")
    for name in ("confusion_matrix.png", "reliability.png"):
        assert (run / name).is_file() and f"]({name})" in card


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "reviews.txt"
    path.write_text("".join(f"{make_review(index)[0]}\n" for index in range(40)), encoding="utf-8")
    return path


def sampled(corpus: Path, output_dir: Path) -> dict[str, Any]:
    """Return settings of a run that is sampled at every evaluation, and saved at each."""
    often = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2, "logging_steps": 2}
    return {
        **language_model_settings(corpus),
        **often,
        "sample_prompts": PROMPT,
        "sample_max_new_tokens": 4,
        "output_dir": output_dir,
    }


@pytest.fixture(scope="module")
def straight(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("straight") / "run"
    run_recipe_here("pretrain_causal_lm", sampled(corpus, run))
    return run


def test_a_language_model_is_sampled_at_each_evaluation(straight: Path) -> None:
    evaluated = [event["step"] for event in read_history(straight / "history.jsonl") if "eval_loss" in event]
    samples = read_history(straight / "samples.jsonl")
    assert len(evaluated) > 2 and [event["step"] for event in samples] == evaluated
    for event in samples:
        (sample,) = event["samples"]
        assert sample["prompt"] == PROMPT and sample["text"].startswith(PROMPT)
    told = read_page((straight / "report.html").read_text(encoding="utf-8")).text
    assert f"step {evaluated[0]}" in told and "finished" in told


def test_sampling_changes_no_bit_of_the_training(straight: Path, corpus: Path, tmp_path: Path) -> None:
    silent = {key: value for key, value in sampled(corpus, tmp_path / "run").items() if not key.startswith("sample_")}
    run_recipe_here("pretrain_causal_lm", silent)
    assert not (tmp_path / "run" / "samples.jsonl").exists()
    both = [hashlib.sha256((run / "model.safetensors").read_bytes()).digest() for run in (straight, tmp_path / "run")]
    assert both[0] == both[1]


def test_samples_after_the_checkpoint_are_made_again(straight: Path, corpus: Path, tmp_path: Path) -> None:
    settings = sampled(corpus, tmp_path / "run")
    with interrupted_after(4), pytest.raises(Stopped):
        run_recipe_here("pretrain_causal_lm", settings)
    file = tmp_path / "run" / "samples.jsonl"
    # as a kill leaves it: a line of a step whose checkpoint was not written, and one that is cut short
    file.write_text(file.read_text() + '{"step": 99, "samples": []}\n{"step": 100, "sam', encoding="utf-8")
    run_recipe_here("pretrain_causal_lm", settings)
    assert file.read_bytes() == (straight / "samples.jsonl").read_bytes()
