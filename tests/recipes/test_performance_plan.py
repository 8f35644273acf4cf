"""Runs with every switch of the performance plan on: the same numbers as plain runs, and the same bits each time."""

import json
import logging
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here
from interruption import interrupted_after
from safetensors.torch import load_file
from test_resume import language_model_settings, outcome, stop_and_go_on
from trials import run_trial

from hfpipe.errors import ConfigError, Stopped
from hfpipe.records.run_directory import read_history, read_json, write_json

PRETRAIN = "pretrain_causal_lm"
NEAR = 1e-5
"""Relative, in float32: other kernels round otherwise."""
PLAIN = {"attn_implementation": "eager", "quick_dropout": "false"}
WITHOUT_DROPOUT = "hidden_size=32,intermediate_size=48,num_hidden_layers=2"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("".join(f"line {index} of a corpus of plain words, {index * index}\n" for index in range(40)))
    return path


def losses(output_dir: Path) -> list[float]:
    return [event["loss"] for event in read_history(output_dir / "history.jsonl") if "loss" in event]


def choices(output_dir: Path) -> dict[str, Any]:
    return {name: choice["value"] for name, choice in read_json(output_dir / "run.json")["performance_plan"].items()}


@pytest.mark.parametrize(("model_type", "processes"), [("llama", 2), ("gpt2", 1)])
def test_a_language_model_learns_what_it_learns_the_plain_way(
    model_type: str, processes: int, corpus: Path, tmp_path: Path
) -> None:
    shapes = {"llama": WITHOUT_DROPOUT + ",tie_word_embeddings=false", "gpt2": "n_embd=32,n_layer=2,n_head=4"}
    off = {"gpt2": ",resid_pdrop=0,embd_pdrop=0,attn_pdrop=0", "llama": ""}[model_type]
    settings = {
        **language_model_settings(corpus),
        "model_type": model_type,
        "config_overrides": shapes[model_type] + off,
        "per_device_train_batch_size": 4 // processes,
        "gradient_accumulation_steps": 2,
        "label_smoothing_factor": 0.1,
        # Adam makes steps of rounding errors where a gradient is none, as that of a key's bias
        "optim": "sgd",
        "learning_rate": 0.1,
        "logging_steps": 1,
    }
    for name, switches in {"plan": {}, "plain": {**PLAIN, "fused_loss": "false"}}.items():
        given = {**settings, **switches, "output_dir": tmp_path / name}
        ending = run_trial(PRETRAIN, given, processes=processes)
        assert ending.codes == (0,) * processes, ending.output
    assert choices(tmp_path / "plan") == {
        **choices(tmp_path / "plain"),
        **{"attention": "hfpipe", "quick_dropout": True, "fused_loss": True},
    }
    assert losses(tmp_path / "plan") == pytest.approx(losses(tmp_path / "plain"), rel=NEAR)
    scores = [read_json(tmp_path / name / "metrics.json")["eval_loss"] for name in ("plan", "plain")]
    assert scores[0] == pytest.approx(scores[1], rel=NEAR)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("plan", "plain")]
    for name, other in weights[1].items():
        assert (weights[0][name] - other).abs().max() < 1e-6, name


def test_a_run_with_every_dropout_ends_in_the_same_bits_stopped_or_not(corpus: Path, tmp_path: Path) -> None:
    shape = "n_embd=32,n_layer=2,n_head=4,resid_pdrop=0.2,embd_pdrop=0.2,attn_pdrop=0.2"
    settings = {**language_model_settings(corpus), "model_type": "gpt2", "config_overrides": shape}
    run_recipe_here(PRETRAIN, {**settings, "output_dir": tmp_path / "straight"})
    assert choices(tmp_path / "straight")["quick_dropout"] is True
    assert stop_and_go_on(PRETRAIN, {**settings, "output_dir": tmp_path / "stopped"}, events=1) == 4
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")


def test_a_run_of_an_earlier_version_goes_on_as_it_began(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {**language_model_settings(corpus), "output_dir": tmp_path / "run"}
    plain = {"attn_implementation": "sdpa", "quick_dropout": "false", "fused_loss": "false"}
    run_recipe_here(PRETRAIN, {**settings, **plain, "output_dir": tmp_path / "plain"})
    with interrupted_after(1, signal.SIGINT), pytest.raises(Stopped):
        run_recipe_here(PRETRAIN, {**settings, **plain})
    run = read_json(tmp_path / "run" / "run.json")
    del run["performance_plan"]
    run["config"] = {key: value for key, value in run["config"].items() if key not in plain}
    write_json(tmp_path / "run" / "run.json", run)
    with caplog.at_level(logging.INFO, "hfpipe"):
        run_recipe_here(PRETRAIN, settings)
    told = [record.getMessage() for record in caplog.records if "performance plan" in record.getMessage()]
    assert told == [
        "performance plan: float32, attention as transformers chooses, dropout of torch, plain loss, not compiled, "
        "optimizer adamw_torch_fused, no data workers"
    ]
    assert outcome(tmp_path / "run") == outcome(tmp_path / "plain")


def test_a_model_that_scales_its_logits_keeps_them_and_says_so(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scaled = f"{WITHOUT_DROPOUT},num_attention_heads=4,num_key_value_heads=4,logits_scaling=4.0"
    settings = {**language_model_settings(corpus), "model_type": "granite", "config_overrides": scaled, "max_steps": 1}
    del settings["num_train_epochs"]
    with caplog.at_level(logging.INFO, "hfpipe"):
        run_recipe_here(PRETRAIN, {**settings, "output_dir": tmp_path / "run"})
    rule = "the logits of this model are not those of a plain linear head"
    assert any(f"plain loss ({rule})" in record.getMessage() for record in caplog.records)
    choice = read_json(tmp_path / "run" / "run.json")["performance_plan"]["fused_loss"]
    assert json.dumps(choice) == json.dumps({"value": False, "origin": "plan", "reason": rule})
    with pytest.raises(ConfigError, match=f"--fused_loss: true: {rule}; remove it"):
        run_recipe_here(PRETRAIN, {**settings, "fused_loss": "true", "output_dir": tmp_path / "asked"})
