"""LoRA through the recipes: the merged model at the top, the adapter beside it, and runs that were stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import make_review, run_recipe_here
from safetensors.torch import load_file
from test_resume import outcome, stop_and_go_on
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    pipeline,
)

from hfpipe.records.run_directory import read_json

NAMES = {0: "bad", 1: "good", 2: "neither"}
TEXTS = ["a good film and a warm scene", "the plot was dull, sad and cold", "the film"]


@pytest.fixture(scope="module")
def three_labels_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("three") / "three.csv"
    rows = [f"{make_review(index)[0]},{NAMES[index % 3]}" for index in range(45)]
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


def lora_settings(csv: Path, checkpoint: Path) -> dict[str, Any]:
    return {
        "train_file": csv,
        "model_name_or_path": checkpoint,
        "use_peft": "true",
        "lora_r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.1,
        "max_seq_length": 24,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 2,
        "learning_rate": 2e-2,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "validation_fraction": 0.2,
        "bf16": "false",
        "disable_tqdm": "true",
    }


def logits(model: PreTrainedModel, folder: Path) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        return model.eval()(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits


@pytest.mark.parametrize("architecture", ["modernbert", "gpt2"])
def test_merged_model_and_adapter_say_the_same_with_three_named_labels(
    architecture: str, three_labels_csv: Path, checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    from peft import AutoPeftModelForSequenceClassification

    run = tmp_path / "run"
    base = checkpoints(architecture)
    run_recipe_here("finetune_classifier", {**lora_settings(three_labels_csv, base), "output_dir": run})
    merged, info = AutoModelForSequenceClassification.from_pretrained(run, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert merged.config.id2label == NAMES
    (answers,) = pipeline("text-classification", str(run), top_k=None)(TEXTS[:1])
    assert {answer["label"] for answer in answers} == {*NAMES.values()}
    said = logits(merged, run)
    names = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}
    by_peft = AutoPeftModelForSequenceClassification.from_pretrained(run / "adapter", **names)
    torch.testing.assert_close(logits(by_peft, run), said, rtol=0, atol=1e-5)
    # gpt2's vocabulary grew by a padding token, and only peft's own class makes room for it; transformers itself read
    # the new parts of an adapter with later versions than 5.17
    if architecture != "gpt2" and not transformers.__version__.startswith("5.17."):
        by_transformers = AutoModelForSequenceClassification.from_pretrained(run / "adapter", **names)
        torch.testing.assert_close(logits(by_transformers, run), said, rtol=0, atol=1e-5)
    assert sorted(file.name for file in (run / "adapter").glob("adapter*")) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_what_no_checkpoint_brought_is_trained_and_the_rest_stays(
    three_labels_csv: Path, checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = {**lora_settings(three_labels_csv, checkpoints("modernbert")), "output_dir": tmp_path}
    run_recipe_here("finetune_classifier", {**settings, "load_best_model_at_end": "false"})
    record = read_json(tmp_path / "run.json")["parameters"]
    assert record["new"] == ["head.dense.weight", "head.norm.weight", "classifier.weight", "classifier.bias"]
    before, after = (
        load_file(checkpoints("modernbert") / "model.safetensors"),
        load_file(tmp_path / "model.safetensors"),
    )
    changed = {name for name in before if not torch.equal(before[name], after[f"model.{name}"])}
    assert changed and all(
        name.endswith("Wqkv.weight") or name.endswith("Wo.weight") or "mlp" in name for name in changed
    )
    assert not torch.equal(after["head.norm.weight"], torch.ones(32))
    assert (
        sorted(file.name for file in (tmp_path / "checkpoints").rglob("*model*")) == ["adapter_model.safetensors"] * 2
    )


def test_a_stopped_run_ends_in_the_same_bits(
    three_labels_csv: Path, checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = lora_settings(three_labels_csv, checkpoints("bert"))
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    step = stop_and_go_on("finetune_classifier", {**settings, "output_dir": tmp_path / "stopped"}, events=4)
    assert 0 < step < 10
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")


def test_a_language_model_is_continued_through_an_adapter(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(make_review(index)[0] for index in range(60)), encoding="utf-8")
    settings = {
        "train_file": corpus,
        "document_per": "line",
        "model_name_or_path": checkpoints("llama"),
        "use_peft": "true",
        "block_size": 16,
        "learning_rate": 1e-2,
        "num_train_epochs": 2,
        "bf16": "false",
        "disable_tqdm": "true",
        "output_dir": tmp_path / "run",
    }
    run_recipe_here("pretrain_causal_lm", settings)
    history = (tmp_path / "run" / "history.jsonl").read_text(encoding="utf-8")
    assert history.count("eval_loss") == 2
    before = AutoModelForCausalLM.from_pretrained(checkpoints("llama")).state_dict()
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "run").state_dict()
    changed = {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"q_proj", "v_proj"}
