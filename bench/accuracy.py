"""Fine-tuning to the end: does what makes hfpipe faster cost accuracy?

    python -m bench accuracy --data train.parquet --train-rows 2000 --test-rows 2000 --seeds 3

A turn is a whole training of one seed: plain Trainer padding to the limit in float32, and the recipe with batches by
tokens. Both see the same rows as often, in as many steps unless told otherwise, and both are scored by the same code
in float32.
"""

import tempfile
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    default_data_collator,
    set_seed,
)

from bench.budgets import read_budget, save_budget
from bench.compare import compare
from bench.finetune import TINY
from bench.made_up import LABELS, save_classifier, write_labelled
from bench.paced import ROWS
from bench.plain_run import encode_rows, plain_arguments, read_rows
from bench.recipe_run import configure, read_plan, read_settings, run_to_training, train
from bench.report import Report
from bench.reviews import make_reviews, read_reviews
from bench.right_rows import RIGHT, compare_right_rows
from bench.turns import Player, Turn, do_apart, take_turns
from hfpipe.config import ModelSettings, RunConfig
from hfpipe.config.sections import FINETUNE
from hfpipe.models.sources import DEMO_ENCODER, find_checkpoint
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

PLAIN, OURS = "plain Trainer, padded to the limit, float32", "hfpipe"
ROWS_A_SCORED_BATCH = 32
SEEDS = 3


@dataclass(frozen=True)
class Job:
    """What both sides share, and the batches of ours: `rows_of_ours`, or tokens once they are known."""

    folder: Path
    model: str
    max_length: int
    rows: int
    epochs: int
    learning_rate: float
    seeds: int
    train_rows: int
    test_rows: int
    max_tokens: int | None = None
    rows_of_ours: int | None = None
    settings: tuple[str, ...] = ()

    @property
    def work(self) -> int:
        """Rows that a training goes through, counted as often as it does."""
        return self.train_rows * self.epochs

    @property
    def finds_budget(self) -> bool:
        """Whether the batches of ours are to make as many steps as those of the plain side."""
        return self.max_tokens is None and self.rows_of_ours is None


def add_options(parser: ArgumentParser) -> None:
    """Add data, model and how to train."""
    parser.add_argument("--data", type=Path, default=None, help="a file of labelled texts; demo:imdb by default")
    parser.add_argument("--model", default=DEMO_ENCODER, help="a folder, or demo:minilm")
    parser.add_argument("--train-rows", type=int, default=2000)
    parser.add_argument("--test-rows", type=int, default=2000)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=None, help=f"trainings of each side, {SEEDS} by default")
    parser.add_argument("--rows", type=int, default=16, help="rows of a plain batch")
    batches = parser.add_mutually_exclusive_group()
    batches.add_argument("--rows-of-ours", type=int, default=None, help="rows of a batch of ours, in place of tokens")
    batches.add_argument(
        "--max-tokens", type=int, default=None, help="tokens of a batch of ours: to make as many steps"
    )
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of hfpipe for its side")


def run(options: Namespace) -> Report:
    """Train both sides once a seed."""
    with tempfile.TemporaryDirectory() as name:
        job = _plan(options, Path(name))
        do_apart(partial(prepare, job, options))
        asked, job = job, replace(job, max_tokens=read_budget(job.folder)) if job.finds_budget else job
        records = take_turns([Player(PLAIN, partial(play_plain, job)), Player(OURS, partial(play_ours, job))])
    title = f"{job.train_rows:,} rows x {job.epochs} epochs, {job.max_length} tokens, {job.seeds} seeds"
    title += f", {job.rows} rows a plain step, {_tell_batches(job)}"
    table, found = compare_right_rows(records, title=f"Test accuracy on {job.test_rows:,} rows")
    report = compare(title, records, unit=ROWS)
    note = "the budget of ours makes as many steps as the rows of the plain side"
    notes = [*report.notes, *([note] if asked.finds_budget else [])]
    return Report([*report.tables, table], {**report.data, "accuracy": found}, notes)


def prepare(job: Job, options: Namespace) -> None:
    """Write training and test rows, and find the budget of ours; what is tested was never trained on."""
    if options.quick:
        save_classifier(job.folder / "made-up", TINY)
        reviews = make_reviews(job.train_rows + job.test_rows, TINY)
    else:
        reviews = read_reviews(options.data, job.train_rows + job.test_rows)
    if set(reviews.labels) != set(range(len(LABELS))):
        raise SystemExit(f"--data: {len(set(reviews.labels))} labels: this case is for {len(LABELS)}; name other texts")
    train_rows, test_rows = reviews.part(0, job.train_rows), reviews.part(job.train_rows, len(reviews.texts))
    write_labelled(job.folder / "train.jsonl", train_rows.texts, train_rows.labels)
    write_labelled(job.folder / "test.jsonl", test_rows.texts, test_rows.labels)
    if job.finds_budget:
        config = configure_ours(replace(job, max_tokens=job.rows * job.max_length), "budget", seed=0)
        save_budget(job.folder, config, rows=job.rows)


def play_plain(job: Job, turn: Turn) -> None:
    """Train as run_classification does, once a seed."""
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    data = encode_rows(job.folder / "train.jsonl", tokenizer, max_length=job.max_length, to_limit=True)
    for seed in range(job.seeds):
        turn.begin()
        set_seed(seed)
        args = plain_arguments(
            job.folder / "plain",
            rows=job.rows,
            learning_rate=job.learning_rate,
            num_train_epochs=job.epochs,
            seed=seed,
        )
        model = AutoModelForSequenceClassification.from_pretrained(job.model, num_labels=len(LABELS))
        trainer = Trainer(model, args, train_dataset=data, data_collator=default_data_collator)
        trainer.train()
        turn.end(job.work)
        turn.facts["steps"] = trainer.state.global_step
        turn.facts.setdefault(RIGHT, []).append(score(job, model, tokenizer))


def play_ours(job: Job, turn: Turn) -> None:
    """Train as the recipe does, once a seed; the turn holds all that comes before training too."""

    def trained(session: Session, trainer: PlannedTrainer) -> None:
        train(session, trainer)
        turn.end(job.work)
        turn.facts |= {"steps": trainer.state.global_step, **read_plan(session)}
        # without the autocast that accelerate wraps around forward
        model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False, keep_torch_compile=False)
        turn.facts.setdefault(RIGHT, []).append(score(job, model, trainer.tokenizer))

    for seed in range(job.seeds):
        config = configure_ours(job, f"ours-{seed}", seed=seed)
        turn.begin()
        run_to_training(config, trained)


def configure_ours(job: Job, name: str, *, seed: int) -> RunConfig:
    """Return the configuration of a run of ours, which writes to the folder of this name."""
    by_rows = {"per_device_train_batch_size": job.rows_of_ours}
    return configure(
        FINETUNE,
        job.folder / name,
        model_name_or_path=job.model,
        train_file=job.folder / "train.jsonl",
        validation_file=job.folder / "test.jsonl",  # read, and never scored while training
        max_seq_length=job.max_length,
        num_train_epochs=job.epochs,
        learning_rate=job.learning_rate,
        seed=seed,
        **(by_rows if job.rows_of_ours is not None else {"max_tokens_per_batch": job.max_tokens}),
        **read_settings(job.settings),
    )


@torch.no_grad()
def score(job: Job, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return for each test row, in the order of the file, '1' where `model` is right in float32, else '0'."""
    rows = read_rows(job.folder / "test.jsonl")
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]["text"]))
    right = ["0"] * len(rows)
    model.eval()
    for start in range(0, len(rows), ROWS_A_SCORED_BATCH):
        batch = order[start : start + ROWS_A_SCORED_BATCH]
        texts = [rows[row]["text"] for row in batch]
        inputs = tokenizer(texts, padding="longest", max_length=job.max_length, truncation=True, return_tensors="pt")
        logits = model(**inputs.to(model.device)).logits
        assert logits.dtype == torch.float32, "autocast is off"
        for row, label in zip(batch, logits.argmax(dim=-1).tolist(), strict=True):
            right[row] = "1" if LABELS[label] == rows[row]["label"] else "0"
    return "".join(right)


def _plan(options: Namespace, folder: Path) -> Job:
    of_ours = {
        "max_tokens": options.max_tokens,
        "rows_of_ours": options.rows_of_ours,
        "settings": tuple(options.set),
    }
    if options.quick:
        return Job(folder, str(folder / "made-up"), 32, 8, 2, 1e-3, seeds=2, train_rows=64, test_rows=32, **of_ours)
    model = options.model
    if model == DEMO_ENCODER:
        model = find_checkpoint(ModelSettings(model_name_or_path=DEMO_ENCODER), with_weights=True)
    return Job(
        folder,
        model,
        options.max_length,
        options.rows,
        options.epochs,
        options.learning_rate,
        seeds=options.seeds or options.rounds or SEEDS,
        train_rows=options.train_rows,
        test_rows=options.test_rows,
        **of_ours,
    )


def _tell_batches(job: Job) -> str:
    if job.rows_of_ours is not None:
        return f"{job.rows_of_ours} rows a step of ours"
    return f"{job.max_tokens:,} tokens a step of ours"
