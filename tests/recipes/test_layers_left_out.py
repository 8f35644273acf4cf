"""Runs whose layers leave out what nobody reads: the losses of whole layers, the same bits stopped or not, refusals."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here, to_argv
from test_resume import classifier_settings, outcome, stop_and_go_on

from hfpipe.cli import app
from hfpipe.errors import ConfigError
from hfpipe.records.run_directory import read_history, read_json

FINETUNE = "finetune_classifier"
NO_DROPOUT = "hidden_dropout_prob=0,attention_probs_dropout_prob=0"
NO_STACK = "the layers of this model are no stack of transformers' layers"


def is_padding_free(output_dir: Path) -> dict[str, Any]:
    return find_choice(output_dir, "padding_free")


def find_choice(output_dir: Path, name: str) -> dict[str, Any]:
    choice: dict[str, Any] = read_json(output_dir / "run.json")["performance_plan"][name]
    return choice


def losses(output_dir: Path) -> list[float]:
    events = read_history(output_dir / "history.jsonl")
    return [event[name] for event in events for name in ("loss", "grad_norm", "eval_loss") if name in event]


@pytest.mark.parametrize("windows", [False, True])
def test_losses_and_scores_are_those_of_padded_batches(
    windows: bool, checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(24), checkpoints("bert"))
    settings |= {"config_overrides": NO_DROPOUT, "learning_rate": 1e-3, "num_train_epochs": 1, "baselines": "[]"}
    if windows:
        settings |= {"long_texts": "windows", "max_seq_length": 12, "doc_stride": 4}
    for name, free in {"padded": "false", "free": "true"}.items():
        layers = {"padding_free": free, "pooled_last_layer": free}
        run_recipe_here(FINETUNE, {**settings, **layers, "output_dir": tmp_path / name})
    assert is_padding_free(tmp_path / "padded")["value"] is False
    assert is_padding_free(tmp_path / "free") == {"value": True, "origin": "--padding_free"}
    assert losses(tmp_path / "free") == pytest.approx(losses(tmp_path / "padded"), rel=1e-5)
    for name, has_padding in {"padded": True, "free": False}.items():
        metrics = read_json(tmp_path / name / "metrics.json")
        assert metrics["train_tokens_per_second"] > 0
        assert ("train_padded_tokens_per_second" in metrics) is has_padding


def test_a_run_without_padding_ends_in_the_same_bits_stopped_or_not(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "num_train_epochs": 1, "baselines": "[]"}
    run_recipe_here(FINETUNE, {**settings, "output_dir": tmp_path / "straight"})
    for name in ("pooled_last_layer", "padding_free"):
        assert find_choice(tmp_path / "straight", name) == {"value": True, "origin": "plan"}
    assert 0 < stop_and_go_on(FINETUNE, {**settings, "output_dir": tmp_path / "stopped"}, events=3) < 6
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")
    # dropout draws other numbers for other shapes: so the layers did see another batch
    run_recipe_here(FINETUNE, {**settings, "padding_free": "false", "output_dir": tmp_path / "padded"})
    assert losses(tmp_path / "padded") != losses(tmp_path / "straight")


def test_a_run_with_little_padding_keeps_it_unless_asked(
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = {**classifier_settings(reviews_csv(24), checkpoints("bert")), "num_train_epochs": 1, "baselines": "[]"}
    # no text is shorter
    settings |= {"max_seq_length": 5, "output_dir": tmp_path / "run"}
    run_recipe_here(FINETUNE, settings)
    told = "0 % padding, too little to gain from"
    assert is_padding_free(tmp_path / "run") == {"value": False, "origin": "plan", "reason": told}
    run_recipe_here(FINETUNE, {**settings, "padding_free": "true", "output_dir": tmp_path / "asked"})
    assert is_padding_free(tmp_path / "asked") == {"value": True, "origin": "--padding_free"}
    Path(tmp_path / "run.yaml").write_text(f"recipe: {FINETUNE}\n", encoding="utf-8")
    capsys.readouterr()
    for given, expected in (({}, f", padded batches ({told}), "), ({"max_seq_length": 24}, ", padding-free, ")):
        argv = to_argv({**settings, **given, "output_dir": tmp_path / "other"})
        with pytest.raises(SystemExit):
            app(["check", str(tmp_path / "run.yaml"), *argv])
        assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("max_seq_length", "reason"), [(64, NO_STACK), (5, "0 % padding, too little to gain from")], ids=["padding", "none"]
)
def test_a_model_without_layers_of_transformers_computes_all_and_says_so(
    max_seq_length: int,
    reason: str,
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = {"train_file": reviews_csv(16), "model_type": "hfpipe_lstm", "max_steps": 1}
    settings |= {"config_overrides": "embedding_size=8,hidden_size=8", "model_size": "tiny", "vocab_size": 300}
    settings |= {"baselines": "[]", "disable_tqdm": "true", "bf16": "false", "max_seq_length": max_seq_length}
    Path(tmp_path / "run.yaml").write_text(f"recipe: {FINETUNE}\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        app(["check", str(tmp_path / "run.yaml"), *to_argv({**settings, "output_dir": tmp_path / "run"})])
    (plan,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("performance plan: ")]
    assert f", padded batches ({reason}), " in plan
    with caplog.at_level(logging.INFO, "hfpipe"):
        run_recipe_here(FINETUNE, {**settings, "output_dir": tmp_path / "run"})
    assert plan in [record.getMessage() for record in caplog.records]
    assert f", no pooled_last_layer ({NO_STACK}), " in plan
    assert is_padding_free(tmp_path / "run") == {"value": False, "origin": "plan", "reason": reason}
    for name in ("pooled_last_layer", "padding_free"):
        with pytest.raises(ConfigError) as error:
            run_recipe_here(FINETUNE, {**settings, name: "true", "output_dir": tmp_path / "asked"})
        assert f"--{name}: true: {NO_STACK}; remove it" in str(error.value)
