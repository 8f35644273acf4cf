"""Fine-tuning to the end: does what makes hfpipe faster cost accuracy?

    python -m bench accuracy --data train.parquet --train-rows 2000 --test-rows 1000 --rounds 3

Each round is a seed, and a turn is a whole training: plain Trainer padding to the limit in float32, and the recipe with
batches by tokens. Both see the same rows as often, and both are scored by the same code in float32.
"""

import json
import statistics
import tempfile
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from bench.compare import compare
from bench.finetune import TINY
from bench.made_up import LABELS, save_classifier, write_labelled
from bench.paced import ROWS
from bench.recipe_run import configure, run_to_training, train
from bench.report import Report, Table
from bench.reviews import make_reviews, read_reviews
from bench.turns import Player, Record, Turn, do_apart, take_turns
from hfpipe.config import ModelSettings
from hfpipe.config.sections import FINETUNE
from hfpipe.models.sources import DEMO_ENCODER, find_checkpoint
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

PLAIN, OURS = "plain Trainer, padded to the limit, float32", "hfpipe"
ROWS_A_SCORED_BATCH = 32


@dataclass(frozen=True)
class Job:
    """What both sides share."""

    folder: Path
    model: str
    max_length: int
    rows: int
    max_tokens: int
    epochs: int
    learning_rate: float
    seeds: int
    train_rows: int

    @property
    def work(self) -> int:
        """Rows that a training goes through, counted as often as it does."""
        return self.train_rows * self.epochs


def add_options(parser: ArgumentParser) -> None:
    """Add data, model and how to train."""
    parser.add_argument("--data", type=Path, default=None, help="a file of labelled texts; demo:imdb by default")
    parser.add_argument("--model", default=DEMO_ENCODER, help="a folder, or demo:minilm")
    parser.add_argument("--train-rows", type=int, default=2000)
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--rows", type=int, default=16, help="rows of a plain batch")
    parser.add_argument("--max-tokens", type=int, default=None, help="tokens of a batch of ours: rows x max-length")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=5e-5)


def run(options: Namespace) -> Report:
    """Train both sides once a seed."""
    with tempfile.TemporaryDirectory() as name:
        job = _plan(options, Path(name))
        do_apart(partial(prepare, job, options))
        records = take_turns([Player(PLAIN, partial(play_plain, job)), Player(OURS, partial(play_ours, job))])
    title = f"{job.train_rows:,} rows x {job.epochs} epochs, {job.max_length} tokens, {job.seeds} seeds"
    table, found = _compare_accuracy(records)
    report = compare(title, records, unit=ROWS)
    return Report([*report.tables, table], {**report.data, "accuracy": found}, report.notes)


def prepare(job: Job, options: Namespace) -> None:
    """Write training and test rows; what is tested was never trained on."""
    if options.quick:
        save_classifier(job.folder / "made-up", TINY)
        reviews = make_reviews(job.train_rows + 32, TINY)
    else:
        reviews = read_reviews(options.data, job.train_rows + options.test_rows)
    train_rows, test_rows = reviews.part(0, job.train_rows), reviews.part(job.train_rows, len(reviews.texts))
    write_labelled(job.folder / "train.jsonl", train_rows.texts, train_rows.labels)
    write_labelled(job.folder / "test.jsonl", test_rows.texts, test_rows.labels)


def play_plain(job: Job, turn: Turn) -> None:
    """Train as run_classification does, once a seed."""
    tokenizer = AutoTokenizer.from_pretrained(job.model)

    def encode(examples: dict[str, list[str]]) -> dict[str, object]:
        encoded = tokenizer(examples["text"], padding="max_length", max_length=job.max_length, truncation=True)
        return {**encoded, "label": [LABELS.index(label) for label in examples["label"]]}

    data = Dataset.from_list(_read(job, "train")).map(encode, batched=True, remove_columns=["text"])
    for seed in range(job.seeds):
        turn.begin()
        set_seed(seed)
        args = TrainingArguments(
            str(job.folder / "plain"),
            num_train_epochs=job.epochs,
            per_device_train_batch_size=job.rows,
            learning_rate=job.learning_rate,
            seed=seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        model = AutoModelForSequenceClassification.from_pretrained(job.model, num_labels=2)
        trainer = Trainer(model, args, train_dataset=data, data_collator=default_data_collator)
        trainer.train()
        turn.end(job.work)
        turn.facts.setdefault("accuracy", {})[seed] = score(job, model, tokenizer)


def play_ours(job: Job, turn: Turn) -> None:
    """Train as the recipe does, once a seed; the turn holds all that comes before training too."""

    def trained(session: Session, trainer: PlannedTrainer) -> None:
        train(session, trainer)
        turn.end(job.work)
        seed = session.config.training.seed
        turn.facts.setdefault("accuracy", {})[seed] = score(job, trainer.network, trainer.tokenizer)

    for seed in range(job.seeds):
        config = configure(
            FINETUNE,
            job.folder / f"ours-{seed}",
            model_name_or_path=job.model,
            train_file=job.folder / "train.jsonl",
            validation_file=job.folder / "test.jsonl",  # read, and never scored while training
            max_seq_length=job.max_length,
            max_tokens_per_batch=job.max_tokens,
            num_train_epochs=job.epochs,
            learning_rate=job.learning_rate,
            seed=seed,
        )
        turn.begin()
        run_to_training(config, trained)


@torch.no_grad()
def score(job: Job, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> float:
    """Return the share of test rows that `model` gets right, its rows sorted by length, in float32."""
    rows = sorted(_read(job, "test"), key=lambda row: len(row["text"]))
    model.eval()
    right = 0
    for start in range(0, len(rows), ROWS_A_SCORED_BATCH):
        batch = rows[start : start + ROWS_A_SCORED_BATCH]
        texts = [row["text"] for row in batch]
        inputs = tokenizer(texts, padding="longest", max_length=job.max_length, truncation=True, return_tensors="pt")
        found = model(**inputs.to(model.device)).logits.argmax(dim=-1).cpu().numpy()
        right += int(np.sum(found == [LABELS.index(row["label"]) for row in batch]))
    return right / len(rows)


def _plan(options: Namespace, folder: Path) -> Job:
    if options.quick:
        return Job(folder, str(folder / "made-up"), 32, 8, 256, 2, 1e-3, seeds=2, train_rows=64)
    if options.model == DEMO_ENCODER:
        model = find_checkpoint(ModelSettings(model_name_or_path=DEMO_ENCODER), with_weights=True)
    else:
        model = options.model
    return Job(
        folder,
        model,
        options.max_length,
        options.rows,
        options.max_tokens or options.rows * options.max_length,
        options.epochs,
        options.learning_rate,
        seeds=options.rounds or 3,
        train_rows=options.train_rows,
    )


def _read(job: Job, part: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (job.folder / f"{part}.jsonl").read_text().splitlines()]


def _compare_accuracy(records: list[Record]) -> tuple[Table, dict[str, list[float]]]:
    found = {record.name: list(record.facts.pop("accuracy").values()) for record in records}
    means = {name: statistics.mean(values) for name, values in found.items()}
    first = means[records[0].name]
    rows = [
        [
            name,
            ", ".join(f"{value:.3f}" for value in values),
            f"{means[name]:.4f}",
            f"{100 * (means[name] - first):+.2f}",
        ]
        for name, values in found.items()
    ]
    return Table("Test accuracy", ["variant", "by seed", "mean", "points from the first"], rows), found
