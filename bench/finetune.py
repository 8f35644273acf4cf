"""Fine-tuning a classifier of MiniLM's shape on texts as long as film reviews, at 256 and at 512 tokens.

    python -m bench finetune --max-length 256 512

The plain way is that of HF's run_classification, which pads every text to the length limit, in float32; padding each
batch to its longest text, in bf16, is shown beside it. hfpipe fills batches by tokens, as many as a padded batch has
positions. Every side goes through the same rows once, and they are counted as they go through the model.
"""

import json
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
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

from bench.compare import compare, join
from bench.made_up import IMDB_LENGTHS, SHORT_LENGTHS, Shape, make_texts, save_classifier, write_labelled
from bench.paced import ROWS, pace, tell_padding
from bench.probe import limit_players
from bench.recipe_run import configure, read_plan, run_to_training, train
from bench.report import Report
from bench.turns import Player, Turn, do_apart, take_turns
from hfpipe.config.sections import FINETUNE
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

MINILM = Shape(6, 384, 12, 30_522, rows=16, length=512)
TINY = Shape(2, 64, 2, 512, rows=4, length=32)
EPOCHS = 3
LEARNING_RATE = 5e-5
WARM_UP = 2
PLAIN, PLAIN_BF16, OURS = (
    "plain Trainer, padded to the limit, float32",
    "plain Trainer, padded by batch, bf16",
    "hfpipe",
)


@dataclass(frozen=True)
class Job:
    """What all variants share: folder, shape, the length limit, and the tokens of a batch of ours."""

    folder: Path
    shape: Shape
    max_length: int
    texts: int
    max_tokens: int
    settings: tuple[str, ...] = ()


def add_options(parser: ArgumentParser) -> None:
    """Add lengths, sizes and variants."""
    parser.add_argument("--max-length", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--rows", type=int, default=None, help="rows of a plain batch, 16 by default")
    parser.add_argument("--max-tokens", type=int, default=None, help="tokens of a batch of ours: rows x max-length")
    parser.add_argument("--only", nargs="+", choices=("plain", "bf16", "ours"), default=("plain", "bf16", "ours"))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of hfpipe for its side")


def run(options: Namespace) -> Report:
    """Measure each length limit; rounds are those of the plain side."""
    shape = TINY if options.quick else MINILM
    rows = options.rows or shape.rows
    shape = Shape(shape.layers, shape.width, shape.heads, shape.vocabulary, rows, shape.length)
    rounds = WARM_UP + (options.rounds or (2 if options.quick else 16))
    reports = []
    for max_length in [32] if options.quick else options.max_length:
        with tempfile.TemporaryDirectory() as name:
            tokens = options.max_tokens or rows * max_length
            job = Job(Path(name), shape, max_length, rows * rounds, tokens, tuple(options.set))
            reports.append(_measure(job, options.only, rounds))
    return join(reports)


def prepare(job: Job) -> None:
    """Save the model and the rows."""
    save_classifier(job.folder / "model", job.shape)
    lengths = IMDB_LENGTHS if job.max_length > SHORT_LENGTHS[0] * 4 else SHORT_LENGTHS
    for name, count, seed in (("train", job.texts, 0), ("validation", 16, 1)):
        texts = make_texts(count, job.shape, seed=seed, lengths=lengths)
        labels = np.random.default_rng(seed).integers(2, size=count).tolist()
        write_labelled(job.folder / f"{name}.jsonl", texts, labels)


def play_plain(job: Job, turn: Turn, *, to_limit: bool, bf16: bool) -> None:
    """Train as run_classification does, or padding each batch by itself."""
    tokenizer = AutoTokenizer.from_pretrained(job.folder / "model")
    lines = (job.folder / "train.jsonl").read_text().splitlines()
    data = Dataset.from_list([json.loads(line) for line in lines])

    def encode(examples: dict[str, list[str]]) -> dict[str, object]:
        padding = "max_length" if to_limit else False
        encoded = tokenizer(examples["text"], padding=padding, max_length=job.max_length, truncation=True)
        return {**encoded, "label": [int(label == "pos") for label in examples["label"]]}

    args = TrainingArguments(
        str(job.folder / f"plain-{to_limit}"),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=job.shape.rows,
        learning_rate=LEARNING_RATE,
        bf16=bf16,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = Trainer(
        AutoModelForSequenceClassification.from_pretrained(job.folder / "model"),
        args,
        train_dataset=data.map(encode, batched=True, remove_columns=["text"]),
        data_collator=default_data_collator if to_limit else DataCollatorWithPadding(tokenizer),
    )
    count = pace(trainer, turn, unit=ROWS, rows=job.texts)
    trainer.train()
    tell_padding(turn, count)


def play_ours(job: Job, turn: Turn) -> None:
    """Train as the recipe does."""
    config = configure(
        FINETUNE,
        job.folder / "ours",
        model_name_or_path=job.folder / "model",
        train_file=job.folder / "train.jsonl",
        validation_file=job.folder / "validation.jsonl",
        max_seq_length=job.max_length,
        max_tokens_per_batch=job.max_tokens,
        num_train_epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        **dict(word.split("=", 1) for word in job.settings),
    )

    def trained(session: Session, trainer: PlannedTrainer) -> None:
        count = pace(trainer, turn, unit=ROWS, rows=job.texts)
        train(session, trainer)
        tell_padding(turn, count)
        turn.facts |= read_plan(session)

    run_to_training(config, trained)


def mean_flops(job: Job) -> float:
    """Return the operations that training on a row needs, padding not counted, over the rows of the job."""
    texts = [json.loads(line)["text"] for line in (job.folder / "train.jsonl").read_text().splitlines()]
    lengths = [min(len(text.split()) + 2, job.max_length) for text in texts]
    return sum(length * job.shape.training_flops(length, has_head=False) for length in lengths) / len(lengths)


def _measure(job: Job, only: list[str], rounds: int) -> Report:
    do_apart(partial(prepare, job))
    players = {
        "plain": Player(PLAIN, partial(play_plain, job, to_limit=True, bf16=False)),
        "bf16": Player(PLAIN_BF16, partial(play_plain, job, to_limit=False, bf16=True)),
        "ours": Player(OURS, partial(play_ours, job)),
    }
    records = take_turns([*(players[key] for key in only), *limit_players(rounds)], warm_up=WARM_UP)
    shape = job.shape
    plain = f"{shape.rows} rows a plain step, {job.max_tokens:,} tokens a step of ours"
    title = f"BERT {shape.layers}x{shape.width}, {job.max_length} tokens, {job.texts} texts, {plain}"
    return compare(title, records, unit=ROWS, flops=mean_flops(job))
