"""Runs of plain `transformers.Trainer`: documented arguments, defaults wherever a comparison does not need another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

from bench.quiet import silence
from hfpipe.training.datasets import BlockRows, LabelledRows

Row = dict[str, Any]


def labelled_rows(rows: LabelledRows) -> list[Row]:
    """Return the rows hfpipe trains on as the features a plain Trainer takes."""
    return [{"input_ids": rows.texts.row(row).tolist(), "labels": int(rows.targets[row])} for row in range(len(rows))]


def block_rows(rows: BlockRows) -> list[Row]:
    """Return the blocks hfpipe trains on as features; padding at the end of the last one is no label."""
    return [
        {"input_ids": batch["input_ids"][0].tolist(), "labels": batch["labels"][0].tolist()}
        for batch in (rows.__getitems__([row]) for row in range(len(rows)))
    ]


def plain_arguments(output_dir: Path, **given: Any) -> TrainingArguments:
    """Return arguments of a run on the CPU that logs each step and saves nothing unless told to."""
    chosen = {"learning_rate": 1e-3, "num_train_epochs": 2, "logging_steps": 1, "save_strategy": "no", **given}
    return TrainingArguments(str(output_dir), use_cpu=True, report_to="none", disable_tqdm=True, **chosen)


def build_plain(
    model: PreTrainedModel,
    args: TrainingArguments,
    tokenizer: PreTrainedTokenizerBase,
    *,
    train: Sequence[Row] = (),
    validation: Sequence[Row] = (),
    extras: Mapping[str, Any] | None = None,
    trainer_class: type[Trainer] = Trainer,
) -> Trainer:
    """Return a Trainer as its documentation builds it; `extras` are further arguments of it."""
    is_causal_lm = not isinstance((train or validation)[0]["labels"], int)
    collate = default_data_collator if is_causal_lm else DataCollatorWithPadding(tokenizer)
    given = {"data_collator": collate, "processing_class": tokenizer, **(extras or {})}
    return trainer_class(model, args, train_dataset=list(train), eval_dataset=list(validation), **given)


def train_plain(trainer: Trainer, resume_from: Path | None = None) -> list[dict[str, float]]:
    """Train and return the log events of the steps: loss, grad_norm, step."""
    with silence():
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    return [event for event in trainer.state.log_history if "loss" in event]
