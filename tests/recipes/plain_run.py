"""A run of plain `transformers.Trainer` as its documentation has it, which resumes from the last checkpoint there is.

To be run as a script; `test_crash_plain.py` kills it at the same writes as hfpipe's runs.
"""

import json
import sys
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

SEED = 42
HELD_OUT = 11


def main(output_dir: Path, train_file: str, checkpoint: str) -> None:
    """Train a classifier, with its best weights at the end, or go on with it."""
    set_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    dropout = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2}
    trainer = Trainer(
        model=AutoModelForSequenceClassification.from_pretrained(checkpoint, **dropout),
        args=build_arguments(output_dir),
        data_collator=DataCollatorWithPadding(tokenizer),
        **dict(zip(("eval_dataset", "train_dataset"), split(train_file, tokenizer), strict=True)),
    )
    last = get_last_checkpoint(str(output_dir)) if output_dir.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    trainer.save_model()
    (output_dir / "history.json").write_text(json.dumps(trainer.state.log_history))


def split(train_file: str, tokenizer: Any) -> list[Dataset]:
    """Return the rows held out, and those to train on."""
    rows = load_dataset("csv", data_files=train_file, split="train", cache_dir=str(Path(train_file).parent / "cache"))
    tokenized = [{**tokenizer(row["text"]), "labels": int(row["label"] == "pos")} for row in rows]
    rows = Dataset.from_list(tokenized)
    return [rows.select(range(HELD_OUT)), rows.select(range(HELD_OUT, len(rows)))]


def build_arguments(output_dir: Path) -> TrainingArguments:
    """Return what hfpipe's run of the classifier is set to."""
    return TrainingArguments(
        output_dir=str(output_dir),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        num_train_epochs=3,
        learning_rate=0.2,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=2,
        save_steps=2,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=False,
        report_to="none",
        disable_tqdm=True,
        seed=SEED,
        use_cpu=True,
    )


if __name__ == "__main__":
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    main(Path(given["--output_dir"]), given["--train_file"], given["--model_name_or_path"])
