"""Training a causal language model: plain Trainer in float32, plain Trainer in bf16, and the recipe.

    python -m bench pretrain --shape 6x384

All read the same random token ids, start from the same weights, and have the dropout of the checkpoint. Each believes
that it is at the beginning of a long run, so that what pays in a long run is chosen.
"""

import json
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import AutoModelForCausalLM, Trainer, default_data_collator

from bench.compare import compare
from bench.made_up import Shape, save_language_model
from bench.paced import TOKENS, pace
from bench.plain_run import plain_arguments
from bench.probe import limit_players
from bench.recipe_run import configure, read_plan, read_settings, run_to_training, train
from bench.report import Report
from bench.turns import Player, Turn, do_apart, take_turns
from hfpipe.config.sections import PRETRAIN
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

SHAPES: Mapping[str, Shape] = {
    "6x384": Shape(6, 384, 6, 16_384, rows=8, length=512),
    "30m": Shape(8, 512, 8, 16_384, rows=8, length=512),
    "125m": Shape(12, 768, 12, 50_304, rows=8, length=512),
    "350m": Shape(24, 1024, 16, 50_304, rows=8, length=2048),
    "1b": Shape(18, 2048, 16, 50_304, rows=4, length=2048),
    "quick": Shape(2, 64, 2, 512, rows=2, length=32),
}
"""The last two are for a GPU: 2,048 tokens, and as many rows as leave room for all three variants in 140 GB."""
STEPS_OF_A_LONG_RUN = 10_000
LEARNING_RATE = 1e-4
PLAIN, PLAIN_BF16, OURS = "plain Trainer, float32", "plain Trainer, bf16=True", "hfpipe"


@dataclass(frozen=True)
class Job:
    """What all variants share: the folder with weights and tokens, the shape, and how many steps are made."""

    folder: Path
    shape: Shape
    steps: int
    settings: tuple[str, ...] = ()


def add_options(parser: ArgumentParser) -> None:
    """Add shape, warm-up and variants."""
    parser.add_argument("--shape", choices=[name for name in SHAPES if name != "quick"], default="6x384")
    parser.add_argument("--rows", type=int, default=None, help="rows of a batch instead of the shape's own")
    parser.add_argument("--warm-up", type=int, default=3, help="steps that do not count; a compiler needs some")
    parser.add_argument("--only", nargs="+", choices=("plain", "bf16", "ours"), default=("plain", "bf16", "ours"))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of hfpipe for its side")


def run(options: Namespace) -> Report:
    """Measure the shape asked for."""
    shape = SHAPES["quick" if options.quick else options.shape]
    shape = replace(shape, rows=options.rows or shape.rows)
    warm_up = 1 if options.quick else options.warm_up
    steps = warm_up + (options.rounds or (2 if options.quick else 12))
    with tempfile.TemporaryDirectory() as name:
        job = Job(Path(name), shape, steps, tuple(options.set))
        do_apart(partial(prepare, job))
        players = {
            "plain": Player(PLAIN, partial(play_plain, job, bf16=False)),
            "bf16": Player(PLAIN_BF16, partial(play_plain, job, bf16=True)),
            "ours": Player(OURS, partial(play_ours, job)),
        }
        records = take_turns([*(players[key] for key in options.only), *limit_players(steps)], warm_up=warm_up)
    flops = shape.training_flops(shape.length, has_head=True)
    batch = f"{shape.rows}x{shape.length:,} tokens a step"
    title = f"GPT-2 {shape.layers}x{shape.width}, {shape.heads} heads, vocabulary {shape.vocabulary:,}, {batch}"
    return compare(title, records, unit=TOKENS, flops=flops)


def prepare(job: Job) -> None:
    """Save the model, the ids, and the text that hfpipe reads the same ids from."""
    save_language_model(job.folder / "model", job.shape)
    end = json.loads((job.folder / "model" / "config.json").read_text())["eos_token_id"]
    blocks = (job.steps + 2) * job.shape.rows
    draws = np.random.default_rng(0).integers(end + 1, job.shape.vocabulary, blocks * job.shape.length - 2)
    # an end of text stands before and behind a document
    ids = np.concatenate([[end], draws, [end]]).reshape(blocks, job.shape.length)
    np.save(job.folder / "ids.npy", ids)
    text = " ".join(f"w{token - end - 1}" for token in draws.tolist())
    (job.folder / "train.txt").write_text(text)
    (job.folder / "validation.txt").write_text(text[: 20 * job.shape.length])


def play_plain(job: Job, turn: Turn, *, bf16: bool) -> None:
    """Train as the documentation of Trainer shows it."""
    ids = np.load(job.folder / "ids.npy").tolist()
    folder, rows = job.folder / f"plain-{bf16}", job.shape.rows
    args = plain_arguments(folder, rows=rows, learning_rate=LEARNING_RATE, bf16=bf16, max_steps=STEPS_OF_A_LONG_RUN)
    trainer = Trainer(
        AutoModelForCausalLM.from_pretrained(job.folder / "model"),
        args,
        train_dataset=Dataset.from_dict({"input_ids": ids, "labels": ids}),
        data_collator=default_data_collator,
    )
    pace(trainer, turn, unit=TOKENS, steps=job.steps)
    trainer.train()


def play_ours(job: Job, turn: Turn) -> None:
    """Train as the recipe does."""
    config = configure(
        PRETRAIN,
        job.folder / "ours",
        model_name_or_path=job.folder / "model",
        train_file=job.folder / "train.txt",
        validation_file=job.folder / "validation.txt",
        block_size=job.shape.length,
        max_steps=STEPS_OF_A_LONG_RUN,
        per_device_train_batch_size=job.shape.rows,
        learning_rate=LEARNING_RATE,
        **read_settings(job.settings),
    )

    def trained(session: Session, trainer: PlannedTrainer) -> None:
        pace(trainer, turn, unit=TOKENS, steps=job.steps)
        train(session, trainer)
        turn.facts |= read_plan(session)

    run_to_training(config, trained)
