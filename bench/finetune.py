"""Fine-tuning a classifier of MiniLM's shape on texts as long as film reviews, at 256 and at 512 tokens.

    python -m bench finetune --max-length 256 512

The plain way is that of HF's run_classification, which pads every text to the length limit, in float32; padding each
batch to its longest text, in bf16, is shown beside it. hfpipe fills batches by tokens, as many as make an epoch as many
steps as the plain side's rows do. Every side goes through the same rows once, and they are counted as they do.
"""

import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    default_data_collator,
)

from bench.budgets import read_budget, save_budget
from bench.compare import compare, join
from bench.made_up import IMDB_LENGTHS, SHORT_LENGTHS, Shape, make_texts, save_classifier, write_labelled
from bench.paced import ROWS, pace, tell_padding
from bench.plain_run import encode_rows, plain_arguments, read_rows
from bench.probe import limit_players
from bench.recipe_run import configure, read_plan, read_settings, run_to_training, train
from bench.report import Report
from bench.turns import Player, Turn, do_apart, take_turns
from hfpipe.config import RunConfig
from hfpipe.config.sections import FINETUNE
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

MINILM = Shape(6, 384, 12, 30_522, rows=16, length=512)
TINY = Shape(2, 64, 2, 512, rows=4, length=32)
EPOCHS = 3
LEARNING_RATE = 5e-5
WARM_UP = 2
VARIANTS = ("plain", "bf16", "ours")
PLAIN, PLAIN_BF16, OURS = (
    "plain Trainer, padded to the limit, float32",
    "plain Trainer, padded by batch, bf16",
    "hfpipe",
)


@dataclass(frozen=True)
class Job:
    """What all variants share: folder, shape, the length limit, and the tokens of a batch of ours once known."""

    folder: Path
    shape: Shape
    max_length: int
    texts: int
    max_tokens: int | None
    settings: tuple[str, ...] = ()


def add_options(parser: ArgumentParser) -> None:
    """Add lengths, sizes and variants."""
    parser.add_argument("--max-length", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--rows", type=int, default=None, help="rows of a plain batch, 16 by default")
    parser.add_argument("--max-tokens", type=int, default=None, help="tokens of a batch of ours: to make as many steps")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of hfpipe for its side")


def run(options: Namespace) -> Report:
    """Measure each length limit; rounds are those of the plain side."""
    shape = TINY if options.quick else MINILM
    shape = replace(shape, rows=options.rows or shape.rows)
    rounds = WARM_UP + (options.rounds or (2 if options.quick else 16))
    reports = []
    for max_length in [32] if options.quick else options.max_length:
        with tempfile.TemporaryDirectory() as name:
            job = Job(Path(name), shape, max_length, shape.rows * rounds, options.max_tokens, tuple(options.set))
            reports.append(_measure(job, options.only, rounds))
    return join(reports)


def prepare(job: Job) -> None:
    """Save the model and the rows, and find the tokens of a batch of ours where nobody has said them."""
    save_classifier(job.folder / "model", job.shape)
    lengths = IMDB_LENGTHS if job.max_length >= SHORT_LENGTHS[0] * 4 else SHORT_LENGTHS
    for name, count, seed in (("train", job.texts, 0), ("validation", 16, 1)):
        texts = make_texts(count, job.shape, seed=seed, lengths=lengths)
        labels = np.random.default_rng(seed).integers(2, size=count).tolist()
        write_labelled(job.folder / f"{name}.jsonl", texts, labels)
    if job.max_tokens is None:
        config = configure_ours(replace(job, max_tokens=job.shape.rows * job.max_length), "budget")
        save_budget(job.folder, config, rows=job.shape.rows)


def play_plain(job: Job, turn: Turn, *, to_limit: bool, bf16: bool) -> None:
    """Train as run_classification does, or padding each batch by itself."""
    tokenizer = AutoTokenizer.from_pretrained(job.folder / "model")
    folder, rows = job.folder / f"plain-{to_limit}", job.shape.rows
    trainer = Trainer(
        AutoModelForSequenceClassification.from_pretrained(job.folder / "model"),
        plain_arguments(folder, rows=rows, learning_rate=LEARNING_RATE, bf16=bf16, num_train_epochs=EPOCHS),
        train_dataset=encode_rows(job.folder / "train.jsonl", tokenizer, max_length=job.max_length, to_limit=to_limit),
        data_collator=default_data_collator if to_limit else DataCollatorWithPadding(tokenizer),
    )
    count = pace(trainer, turn, unit=ROWS, rows=job.texts)
    trainer.train()
    tell_padding(turn, count)
    turn.facts["steps"] = trainer.state.global_step


def play_ours(job: Job, turn: Turn) -> None:
    """Train as the recipe does."""

    def trained(session: Session, trainer: PlannedTrainer) -> None:
        count = pace(trainer, turn, unit=ROWS, rows=job.texts)
        train(session, trainer)
        tell_padding(turn, count)
        plan = read_plan(session)
        turn.facts |= {"steps": trainer.state.global_step, **plan}
        if plan.get("padding_free", "").startswith("True"):
            turn.facts["padding"] += " as read, none of it computed"

    run_to_training(configure_ours(job, "ours"), trained)


def configure_ours(job: Job, name: str) -> RunConfig:
    """Return the configuration of a run of ours, which writes to the folder of this name."""
    return configure(
        FINETUNE,
        job.folder / name,
        model_name_or_path=job.folder / "model",
        train_file=job.folder / "train.jsonl",
        validation_file=job.folder / "validation.jsonl",
        max_seq_length=job.max_length,
        max_tokens_per_batch=job.max_tokens,
        num_train_epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        **read_settings(job.settings),
    )


def mean_flops(job: Job) -> float:
    """Return the operations that training on a row needs, padding not counted, over the rows of the job."""
    texts = [row["text"] for row in read_rows(job.folder / "train.jsonl")]
    lengths = [min(len(text.split()) + 2, job.max_length) for text in texts]
    return sum(length * job.shape.training_flops(length, has_head=False) for length in lengths) / len(lengths)


def _measure(job: Job, only: Sequence[str], rounds: int) -> Report:
    do_apart(partial(prepare, job))
    asked = job.max_tokens
    job = replace(job, max_tokens=read_budget(job.folder) if asked is None else asked)
    players = {
        "plain": Player(PLAIN, partial(play_plain, job, to_limit=True, bf16=False)),
        "bf16": Player(PLAIN_BF16, partial(play_plain, job, to_limit=False, bf16=True)),
        "ours": Player(OURS, partial(play_ours, job)),
    }
    records = take_turns([*(players[key] for key in only), *limit_players(rounds)], warm_up=WARM_UP)
    shape = job.shape
    steps = f"{shape.rows} rows a plain step, {job.max_tokens:,} tokens a step of ours"
    title = f"BERT {shape.layers}x{shape.width}, {job.max_length} tokens, {job.texts} texts, {steps}"
    found = compare(title, records, unit=ROWS, flops=mean_flops(job))
    note = "the budget of ours makes as many steps as the rows of the plain side" if asked is None else ""
    return Report(found.tables, found.data, [*found.notes, *filter(None, [note])])
