"""Losses and gradients do not depend on how a global batch is cut into micro-batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here

from hfpipe.records.run_directory import read_history, read_json

CUTS = ((8, 1), (4, 2), (2, 4))


def classify(csv: Path, checkpoint: Path, output_dir: Path, **settings: Any) -> list[dict[str, Any]]:
    """Fine-tune for two epochs in float32 and return the history's training events."""
    given = {
        "train_file": csv,
        "model_name_or_path": checkpoint,
        "output_dir": output_dir,
        "max_seq_length": 24,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "validation_fraction": 0.25,
        "bf16": "false",
        "disable_tqdm": "true",
        **settings,
    }
    run_recipe_here("finetune_classifier", given)
    return [event for event in read_history(output_dir / "history.jsonl") if "loss" in event]


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert", "gpt2", "llama"])
def test_classifier_losses_are_equal_for_every_cut(
    architecture: str,
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
) -> None:
    # 28 reviews leave 21 for training: windows of 8, 8 and 5 rows, the last one uneven for each cut
    runs = []
    for rows, micro_batches in CUTS:
        output_dir = tmp_path / f"{rows}x{micro_batches}"
        settings = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": micro_batches}
        runs.append(classify(reviews_csv(28), checkpoints(architecture), output_dir, **settings))
    whole, *cut = runs
    assert [event["step"] for event in whole] == [1, 2, 3, 4, 5, 6]
    for other in cut:
        assert [event["loss"] for event in other] == pytest.approx([event["loss"] for event in whole], rel=1e-5)
        norms = [event["grad_norm"] for event in whole]
        assert [event["grad_norm"] for event in other] == pytest.approx(norms, rel=1e-5)
    metrics = [read_json(tmp_path / f"{rows}x{count}" / "metrics.json") for rows, count in CUTS]
    assert [each["eval_loss"] for each in metrics[1:]] == pytest.approx([metrics[0]["eval_loss"]] * 2, rel=1e-5)


def pretrain(corpus: Path, output_dir: Path, **settings: Any) -> list[dict[str, Any]]:
    """Pretrain for two epochs in float32 and return the history's training events."""
    given = {
        "train_file": corpus,
        "document_per": "line",
        "output_dir": output_dir,
        "model_size": "tiny",
        "vocab_size": 300,
        "block_size": 16,
        "config_overrides": "hidden_size=32,intermediate_size=48,num_hidden_layers=2",
        "num_train_epochs": 2,
        "logging_steps": 1,
        "max_train_samples": 16,
        "bf16": "false",
        "disable_tqdm": "true",
        **settings,
    }
    run_recipe_here("pretrain_causal_lm", given)
    return [event for event in read_history(output_dir / "history.jsonl") if "loss" in event]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("".join(f"line {index} of a corpus of plain words, {index * index}\n" for index in range(20)))
    return path


def test_language_model_losses_are_equal_for_every_cut(corpus: Path, tmp_path: Path) -> None:
    runs, scores = [], []
    for rows, micro_batches in CUTS:
        output_dir = tmp_path / f"{rows}x{micro_batches}"
        settings = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": micro_batches}
        runs.append(pretrain(corpus, output_dir, **settings, per_device_eval_batch_size=rows))
        scores.append(read_json(output_dir / "metrics.json"))
    assert len(runs[0]) > 2
    for other, metrics in zip(runs[1:], scores[1:], strict=True):
        assert [event["loss"] for event in other] == pytest.approx([event["loss"] for event in runs[0]], rel=1e-5)
        norms = [event["grad_norm"] for event in runs[0]]
        assert [event["grad_norm"] for event in other] == pytest.approx(norms, rel=1e-5)
        for name in ("eval_loss", "eval_bits_per_byte"):
            assert metrics[name] == pytest.approx(scores[0][name], rel=1e-5)


def test_smoothing_and_weights_change_the_loss_and_stay_equal_for_every_cut(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    losses = {}
    for rows, micro_batches in CUTS:
        for smoothing in (0.0, 0.2):
            output_dir = tmp_path / f"{rows}x{micro_batches}_{smoothing}"
            events = classify(
                reviews_csv(28),
                checkpoints("bert"),
                output_dir,
                per_device_train_batch_size=rows,
                gradient_accumulation_steps=micro_batches,
                label_smoothing_factor=smoothing,
                class_weights="neg=1,pos=3",
            )
            losses[rows, smoothing] = [event["loss"] for event in events]
    assert losses[8, 0.0] != pytest.approx(losses[8, 0.2], rel=1e-4)
    for rows, _ in CUTS[1:]:
        for smoothing in (0.0, 0.2):
            assert losses[rows, smoothing] == pytest.approx(losses[8, smoothing], rel=1e-5)


def test_evaluation_loss_is_the_true_mean_at_any_batch_size(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    import torch
    from torch.nn import functional
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from hfpipe.config import load_config
    from hfpipe.data.parts import load_labelled_parts

    losses = []
    for batch_size in (1, 4, 7):
        output_dir = tmp_path / str(batch_size)
        classify(reviews_csv(28), checkpoints("llama"), output_dir, per_device_eval_batch_size=batch_size)
        losses.append(read_json(output_dir / "metrics.json")["eval_loss"])
    arguments = ["--train_file", str(reviews_csv(28)), "--model_name_or_path", "x", "--validation_fraction", "0.25"]
    settings = load_config(arguments, recipe="finetune_classifier")
    part = load_labelled_parts(settings.data, seed=42).validation
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "1").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "1")
    with torch.inference_mode():
        each = [
            functional.cross_entropy(
                model(**tokenizer(text, truncation=True, max_length=24, return_tensors="pt")).logits,
                torch.tensor([label]),
            ).item()
            for text, label in zip(part.texts, part.targets, strict=True)
        ]
    assert losses == pytest.approx([sum(each) / len(each)] * 3, rel=1e-5)
