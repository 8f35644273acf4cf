"""Pretraining with Trainer, in the order and with the imports of transformers' run_clm, reduced to what it needs."""

import math
from itertools import chain
from typing import Any

import datasets
import evaluate
import torch
import transformers
from marking import MarkFirstStep
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)


def main() -> None:
    """Read the command line, tokenize, group, and train."""
    parser = HfArgumentParser(TrainingArguments)  # type: ignore[arg-type]
    for name in ("--model_name_or_path", "--train_file", "--validation_file"):
        parser.add_argument(name)
    parser.add_argument("--block_size", type=int)
    args, own = parser.parse_args_into_dataclasses()
    set_seed(args.seed)
    raw = datasets.load_dataset("text", data_files={"train": own.train_file, "validation": own.validation_file})
    config = AutoConfig.from_pretrained(own.model_name_or_path)
    tokenizer = AutoTokenizer.from_pretrained(own.model_name_or_path)
    model = AutoModelForCausalLM.from_pretrained(own.model_name_or_path, config=config)

    def tokenize_function(examples: dict[str, list[str]]) -> Any:
        return tokenizer(examples["text"])

    def group_texts(examples: dict[str, list[list[int]]]) -> dict[str, Any]:
        joined = {name: list(chain(*rows)) for name, rows in examples.items()}
        total = len(joined["input_ids"]) // own.block_size * own.block_size
        cut = {
            name: [ids[start : start + own.block_size] for start in range(0, total, own.block_size)]
            for name, ids in joined.items()
        }
        return {**cut, "labels": cut["input_ids"].copy()}

    tokenized = raw.map(tokenize_function, batched=True, remove_columns=["text"])
    grouped = tokenized.map(group_texts, batched=True)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=grouped["train"],
        processing_class=tokenizer,
        data_collator=default_data_collator,
        callbacks=[MarkFirstStep()],
    )
    result = trainer.train()
    print(math.exp(result.training_loss), evaluate.__version__, torch.__version__, transformers.__version__)


if __name__ == "__main__":
    main()
