"""What a plain Trainer gets: its defaults, its documented flags, and rows encoded as HF's run_classification does."""

import json
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, TrainingArguments

from bench.made_up import LABELS


def plain_arguments(output_dir: Path, *, rows: int, learning_rate: float, **chosen: Any) -> TrainingArguments:
    """Return Trainer's defaults with so many rows a batch and what is `chosen`; nothing is saved or reported."""
    return TrainingArguments(
        str(output_dir),
        per_device_train_batch_size=rows,
        learning_rate=learning_rate,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        **chosen,
    )


def read_rows(file: Path) -> list[dict[str, str]]:
    """Return the rows of a file of one JSON a line."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def encode_rows(file: Path, tokenizer: PreTrainedTokenizerBase, *, max_length: int, to_limit: bool) -> Dataset:
    """Return the labelled rows of `file` as token ids cut at `max_length`, padded `to_limit` or not at all."""

    def encode(examples: dict[str, list[str]]) -> dict[str, object]:
        padding = "max_length" if to_limit else False
        encoded = tokenizer(examples["text"], padding=padding, max_length=max_length, truncation=True)
        return {**encoded, "label": [LABELS.index(label) for label in examples["label"]]}

    return Dataset.from_list(read_rows(file)).map(encode, batched=True, remove_columns=["text"])
