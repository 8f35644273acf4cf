"""Fine-tuning with Trainer, in the order and with the imports of transformers' run_classification, reduced."""

from typing import Any

import datasets
import evaluate
import numpy as np
import transformers
from marking import MarkFirstStep
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EvalPrediction,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)


def main() -> None:
    """Read the command line, tokenize, pad to the limit, and train."""
    parser = HfArgumentParser(TrainingArguments)  # type: ignore[arg-type]
    for name in ("--model_name_or_path", "--train_file", "--validation_file"):
        parser.add_argument(name)
    parser.add_argument("--max_seq_length", type=int)
    args, own = parser.parse_args_into_dataclasses()
    set_seed(args.seed)
    raw = datasets.load_dataset("json", data_files={"train": own.train_file, "validation": own.validation_file})
    labels = sorted(raw["train"].unique("label"))
    config = AutoConfig.from_pretrained(own.model_name_or_path, num_labels=len(labels))
    tokenizer = AutoTokenizer.from_pretrained(own.model_name_or_path)
    model = AutoModelForSequenceClassification.from_pretrained(own.model_name_or_path, config=config)

    def preprocess_function(examples: dict[str, list[str]]) -> dict[str, Any]:
        result = tokenizer(examples["text"], padding="max_length", max_length=own.max_seq_length, truncation=True)
        return {**result, "label": [labels.index(label) for label in examples["label"]]}

    def compute_metrics(predictions: EvalPrediction) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.argmax(predictions.predictions, axis=1) == predictions.label_ids))}

    data = raw.map(preprocess_function, batched=True)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        compute_metrics=compute_metrics,
        processing_class=tokenizer,
        data_collator=default_data_collator,
        callbacks=[MarkFirstStep()],
    )
    trainer.train()
    print(evaluate.__version__, transformers.__version__)


if __name__ == "__main__":
    main()
