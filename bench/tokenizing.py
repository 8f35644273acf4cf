"""Texts to packed blocks: `datasets.map` and `group_texts`, as HF's run_clm has it, against hfpipe.

    python -m bench tokenize --texts 5000

A turn goes through the whole corpus: nothing is taken from a cache on either side. Reading the file is not in it.
"""

import json
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer

from bench.compare import compare
from bench.finetune import TINY
from bench.made_up import make_texts
from bench.paced import TOKENS
from bench.pretrain import SHAPES
from bench.recipe_run import configure, run_to_rows, tokenize_corpus
from bench.report import Report
from bench.reviews import has_demo, read_reviews
from bench.turns import Player, Turn, do_apart, take_turns
from hfpipe.config.sections import PRETRAIN
from hfpipe.data.demo_reviews import DEMO_NAME
from hfpipe.models.tokenizers import train_tokenizer
from hfpipe.training.session import Session

PLAIN, OURS = "map and group_texts", "hfpipe"
WARM_UP = 1


@dataclass(frozen=True)
class Job:
    """What both sides share."""

    folder: Path
    block_size: int
    turns: int


def add_options(parser: ArgumentParser) -> None:
    """Add texts."""
    parser.add_argument("--data", type=Path, default=None, help="a file of labelled texts; demo:imdb by default")
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--block-size", type=int, default=512)


def run(options: Namespace) -> Report:
    """Pack the corpus in turns."""
    count = 64 if options.quick else options.texts
    turns = WARM_UP + (options.rounds or (2 if options.quick else 5))
    with tempfile.TemporaryDirectory() as name:
        job = Job(Path(name), 32 if options.quick else options.block_size, turns)
        do_apart(partial(prepare, job, options.data, count=count, is_made_up=options.quick))
        players = [Player(PLAIN, partial(play_plain, job)), Player(OURS, partial(play_ours, job))]
        records = take_turns(players, warm_up=WARM_UP)
        megabytes = (job.folder / "train.jsonl").stat().st_size / 1e6
    title = f"{count:,} texts, {megabytes:.1f} MB, blocks of {job.block_size} tokens"
    return compare(title, records, unit=TOKENS)


def prepare(job: Job, data: Path | None, *, count: int, is_made_up: bool) -> None:
    """Write the corpus and a byte-level BPE trained on it."""
    if is_made_up or (data is None and not has_demo(DEMO_NAME)):
        texts: Sequence[str] = make_texts(count, TINY if is_made_up else SHAPES["6x384"], seed=3)
    else:
        texts = read_reviews(data, count).texts
    _write(job.folder / "train.jsonl", texts)
    _write(job.folder / "validation.jsonl", texts[:2])
    size = 512 if is_made_up else 16_384
    train_tokenizer(texts, size, show_progress=False).save_pretrained(job.folder / "tokenizer")


def play_plain(job: Job, turn: Turn) -> None:
    """Tokenize and group as run_clm does."""
    tokenizer = AutoTokenizer.from_pretrained(job.folder / "tokenizer")
    texts = [json.loads(line)["text"] for line in (job.folder / "train.jsonl").read_text().splitlines()]
    data = Dataset.from_dict({"text": texts})

    def tokenize_function(examples: Mapping[str, list[str]]) -> Any:
        return tokenizer(examples["text"])

    def group_texts(examples: Mapping[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = {name: list(chain(*rows)) for name, rows in examples.items()}
        total = len(next(iter(joined.values()))) // job.block_size * job.block_size
        cut = {
            name: [ids[start : start + job.block_size] for start in range(0, total, job.block_size)]
            for name, ids in joined.items()
        }
        return {**cut, "labels": cut["input_ids"].copy()}

    for number in range(job.turns):
        folder = job.folder / f"cache-{number}"
        folder.mkdir(exist_ok=True)
        turn.begin()
        tokenized = data.map(
            tokenize_function, batched=True, remove_columns=["text"], cache_file_name=str(folder / "tokenized.arrow")
        )
        grouped = tokenized.map(group_texts, batched=True, cache_file_name=str(folder / "grouped.arrow"))
        turn.end(len(grouped) * job.block_size)


def play_ours(job: Job, turn: Turn) -> None:
    """Tokenize and pack as the recipe does."""

    def tokenized(session: Session, parts: Any, tokenizer: Any) -> None:
        turn.begin()
        rows = tokenize_corpus(session, parts, tokenizer)
        turn.end(len(rows.train) * job.block_size)

    for number in range(job.turns):
        config = configure(
            PRETRAIN,
            job.folder / f"cache-{number}" / "run",  # hfpipe's own cache is beside it
            tokenizer_name=job.folder / "tokenizer",
            model_type="gpt2",
            model_size="tiny",
            train_file=job.folder / "train.jsonl",
            validation_file=job.folder / "validation.jsonl",
            block_size=job.block_size,
            max_steps=1,
        )
        run_to_rows(config, tokenized)


def _write(file: Path, texts: Sequence[str]) -> None:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
