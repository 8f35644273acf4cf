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
