"""LSTM, GRU and TextCNN through the recipes: exact losses, resumed bits, and what comes out, in a fresh process."""

import csv
import logging
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here, to_argv
from test_resume import outcome, stop_and_go_on

from hfpipe.config import load_config
from hfpipe.errors import ConfigError
from hfpipe.records.run_directory import read_history, read_json
from hfpipe.training.checking import check

CUTS = ((8, 1), (2, 4))
LSTM = {"model_type": "hfpipe_lstm", "config_overrides": "hidden_size=8,embedding_size=8,bidirectional=true"}
GRU = {"model_type": "hfpipe_gru", "config_overrides": "hidden_size=8,embedding_size=8,pooling=last"}
TEXTCNN = {"model_type": "hfpipe_textcnn", "config_overrides": "embedding_size=8,num_filters=4"}
WITHOUT_DROPOUT = {
    "hfpipe_lstm": ",embedding_dropout=0.0,hidden_dropout=0.0",
    "hfpipe_textcnn": ",classifier_dropout=0.0",
}


def settings_of(train_file: Path, output_dir: Path, **settings: Any) -> dict[str, Any]:
    return {
        "train_file": train_file,
        "output_dir": output_dir,
        "model_size": "tiny",
        "vocab_size": 300,
        "max_seq_length": 24,
        "num_train_epochs": 2,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "validation_fraction": 0.25,
        "bf16": "false",
        "baselines": "[]",
        "disable_tqdm": "true",
        **settings,
    }


def read_losses(output_dir: Path) -> list[float]:
    return [event["loss"] for event in read_history(output_dir / "history.jsonl") if "loss" in event]


@pytest.mark.parametrize("model", [LSTM, TEXTCNN], ids=lambda model: model["model_type"])
def test_losses_are_equal_for_every_cut(
    model: dict[str, str], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    losses, scores = [], []
    overrides = model["config_overrides"] + WITHOUT_DROPOUT[model["model_type"]]
    for rows, micro_batches in CUTS:
        output_dir = tmp_path / f"{rows}x{micro_batches}"
        cut = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": micro_batches}
        settings = settings_of(reviews_csv(28), output_dir, **{**model, "config_overrides": overrides}, **cut)
        run_recipe_here("finetune_classifier", settings)
        losses.append(read_losses(output_dir))
        scores.append(read_json(output_dir / "metrics.json")["eval_loss"])
    assert len(losses[0]) == 6 and losses[0][0] != losses[0][-1]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert scores[1] == pytest.approx(scores[0], rel=1e-5)


def test_language_model_losses_are_equal_for_every_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"line {index} of a corpus of plain words, {index * index}\n" for index in range(20)))
    losses = []
    overrides = LSTM["config_overrides"].replace(",bidirectional=true", "") + WITHOUT_DROPOUT["hfpipe_lstm"]
    for rows, micro_batches in CUTS:
        output_dir = tmp_path / f"{rows}x{micro_batches}"
        given = settings_of(corpus, output_dir, model_type="hfpipe_lstm", config_overrides=overrides, block_size=16)
        # more than these texts have pairs for
        given |= {"vocab_size": 900}
        del given["max_seq_length"]
        cut = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": micro_batches}
        with caplog.at_level(logging.INFO):
            run_recipe_here("pretrain_causal_lm", {**given, **cut, "document_per": "line", "max_train_samples": 16})
        losses.append(read_losses(output_dir))
    tokens = len(read_json(output_dir / "tokenizer.json")["model"]["vocab"])
    assert 258 < tokens < 900
    assert f"the texts gave {tokens:,} tokens: they hold no more pairs to join" in caplog.messages
    assert len(losses[0]) > 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_check_knows_tokenizer_parameters_and_memory(reviews_csv: Callable[[int], Path], tmp_path: Path) -> None:
    argv = to_argv(settings_of(reviews_csv(28), tmp_path / "run", **LSTM))
    report = check(load_config(argv, recipe="finetune_classifier"))
    assert report.problems == ()
    assert "tokenizer: a byte-level BPE of its own, 300 tokens" in report.lines
    # embedding 300 x 8; for each of two directions 4 gates of 8 x (8 + 8 + 2); head 2 x (16 + 1)
    count = 300 * 8 + 2 * 4 * 8 * 18 + 2 * 17
    assert f"LstmForSequenceClassification: {count:,} parameters, {count:,} trainable" in report.lines
    assert [line for line in report.lines if line.startswith("memory of a step: ") and "activations" in line]
    assert not (tmp_path / "run").exists()


def test_a_stopped_lstm_goes_on_to_the_same_bits(reviews_csv: Callable[[int], Path], tmp_path: Path) -> None:
    cut = {
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2,
        "eval_strategy": "steps",
        "eval_steps": 2,
    }
    results = []
    for name in ("straight", "stopped"):
        settings = settings_of(reviews_csv(44), tmp_path / name, **LSTM, **cut)
        if name == "straight":
            run_recipe_here("finetune_classifier", settings)
        else:
            assert 0 < stop_and_go_on("finetune_classifier", settings, events=5) < 12
        results.append(outcome(tmp_path / name))
    assert results[0] == results[1]


@pytest.fixture(scope="module")
def trained(reviews_csv: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GRU classifier with a tokenizer of its own, trained until it tells the two words apart."""
    folder = tmp_path_factory.mktemp("trained") / "gru"
    run_recipe_here("finetune_classifier", settings_of(reviews_csv(44), folder, **GRU, num_train_epochs=8))
    return folder


TEXTS = ("a great warm film", "the dull plot with sad music and a bad scene")


def test_a_fresh_process_predicts_what_a_pipeline_says(trained: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    rows = tmp_path / "two.csv"
    rows.write_text("text\n" + "".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    command = f"from hfpipe.cli import app; app(['predict', {str(trained)!r}, 'two.csv', '--output', 'out.csv'])"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        predicted = list(csv.DictReader(file))
    ask = pipeline("text-classification", model=str(trained))
    assert ask.tokenizer.model_max_length == 24
    temperature = read_json(trained / "inference.json")["temperature"]
    for row, scores in zip(
        predicted, ask(list(TEXTS), top_k=None, truncation=True, function_to_apply="none"), strict=True
    ):
        powers = {each["label"]: math.exp(each["score"] / temperature) for each in scores}
        assert row["predicted_label"] == max(powers, key=lambda name: powers[name])
        for label, power in powers.items():
            assert float(row[f"probability_{label}"]) == pytest.approx(power / sum(powers.values()), abs=2e-6)


def test_the_card_says_what_it_needs_and_its_code_runs(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = (trained / "README.md").read_text(encoding="utf-8")
    usage = card.split("## How to use")[1].lstrip()
    assert usage.startswith("It is a model of hfpipe: with that installed, `import hfpipe.models` makes transformers")
    assert "trained from scratch" in card
    code = re.search(r"```python\n(.*?)```", usage, re.DOTALL)
    assert code is not None and code[1].startswith("import hfpipe.models")
    monkeypatch.chdir(trained)
    exec(code[1], {})
    assert "pos" in capsys.readouterr().out


def test_its_files_are_those_of_transformers(trained: Path) -> None:
    config = read_json(trained / "config.json")
    assert (config["model_type"], config["architectures"]) == ("hfpipe_gru", ["GruForSequenceClassification"])
    assert "auto_map" not in config
    assert not list(trained.glob("*.py")) and not list(trained.glob("*.bin"))
    assert read_json(trained / "run.json")["parameters"]["new"] == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "lstm"}, r"model_type: lstm: no text classifier of this name .* did you mean 'hfpipe_lstm'\?"),
        ({"model_type": "hfpipe_lstm", "config_overrides": "heads=2"}, "heads: no field of a hfpipe_lstm config"),
        ({"model_type": "hfpipe_lstm", "attn_implementation": "sdpa"}, "model_type: hfpipe_lstm: cannot be loaded"),
    ],
)
def test_what_no_model_can_be_is_refused(
    settings: dict[str, str], message: str, reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        run_recipe_here("finetune_classifier", settings_of(reviews_csv(28), tmp_path / "run", **settings))


def test_architectures_of_transformers_are_trained_from_scratch_too(
    reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    small = "hidden_size=32,intermediate_size=32,num_hidden_layers=1"
    given = settings_of(reviews_csv(28), tmp_path, model_type="roberta", config_overrides=small, num_train_epochs=1)
    run_recipe_here("finetune_classifier", given)
    config = read_json(tmp_path / "config.json")
    assert config["max_position_embeddings"] == 24 + 2  # it counts from behind the padding id
    assert config["id2label"] == {"0": "neg", "1": "pos"}
