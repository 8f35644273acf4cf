"""Texts to packed blocks: `datasets.map` and `group_texts`, as HF's run_clm has it, against hfpipe.

    python -m bench tokenize --data corpus.txt --document-per paragraph

A turn goes through the whole corpus and writes what a run would leave for the next one: the plain side the two Arrow
files of its maps, ours its store. It has a process of its own, as a run has, so nothing is found in a cache, nor words
that a tokenizer remembers; reading the file is not in it. Prose by default, the reviews of the demo extra: among random
words hardly one comes back, and what is made of that cannot show.
"""

import json
import os
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
from bench.plain_run import read_rows
from bench.pretrain import SHAPES
from bench.recipe_run import configure, run_to_rows, tokenize_corpus
from bench.report import Report
from bench.reviews import has_demo
from bench.turns import Player, Record, Turn, do_apart, take_turns
from hfpipe.config import load_config
from hfpipe.config.sections import PRETRAIN
from hfpipe.data.cache_places import VARIABLE as CACHE
from hfpipe.data.demo_reviews import DEMO_NAME
from hfpipe.data.parts import load_document_parts
from hfpipe.models.tokenizers import train_tokenizer
from hfpipe.training.session import Session

PLAIN, OURS = "map and group_texts", "hfpipe"
WARM_UP = 1
VOCABULARY = 16_384
TEXTS, HELD_OUT = 10_000, 2
WAYS = ("file", "line", "paragraph")


@dataclass(frozen=True)
class Job:
    """What both sides share; `tokens` are those of the corpus, the work of a turn."""

    folder: Path
    block_size: int
    tokens: int


def add_options(parser: ArgumentParser) -> None:
    """Add texts."""
    source = "a file of texts (.parquet .jsonl .txt ...); demo:imdb by default, or words made up where it is missing"
    parser.add_argument("--data", type=Path, default=None, help=source)
    parser.add_argument("--document-per", choices=WAYS, default="file", help="what a document is in a plain-text file")
    parser.add_argument("--texts", type=int, default=TEXTS, help="documents at most")
    parser.add_argument("--block-size", type=int, default=512)


def run(options: Namespace) -> Report:
    """Pack the corpus in turns."""
    turns = WARM_UP + (options.rounds or (2 if options.quick else 5))
    block_size = 32 if options.quick else options.block_size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        do_apart(partial(prepare, folder, options))
        texts, tokens = json.loads((folder / "size.json").read_text())
        records = pack_in_turns(Job(folder, block_size, tokens), turns)
        megabytes = (folder / "train.jsonl").stat().st_size / 1e6
    kind = "random words" if _is_made_up(options) else f"documents of {options.data or DEMO_NAME}"
    title = f"{texts:,} {kind}, {megabytes:.1f} MB, {tokens:,} tokens, blocks of {block_size}"
    return compare(title, records, unit=TOKENS)


def prepare(folder: Path, options: Namespace) -> None:
    """Write the corpus, a byte-level BPE trained on it, and how many texts and tokens it has."""
    os.environ[CACHE] = str(folder / "reading")
    count = (64 if options.quick else options.texts) + HELD_OUT
    if _is_made_up(options):
        texts: Sequence[str] = make_texts(count, TINY if options.quick else SHAPES["6x384"], seed=3)
    else:
        texts = read_documents(options.data, count, document_per=options.document_per)
    trained, held_out = texts[:-HELD_OUT], texts[-HELD_OUT:]
    _write(folder / "train.jsonl", trained)
    _write(folder / "validation.jsonl", held_out)
    tokenizer = train_tokenizer(trained, 512 if options.quick else VOCABULARY, show_progress=False)
    tokenizer.save_pretrained(folder / "tokenizer")
    tokens = sum(map(len, tokenizer(list(trained))["input_ids"]))
    (folder / "size.json").write_text(json.dumps([len(trained), tokens]))


def read_documents(data: Path | None, count: int, *, document_per: str) -> list[str]:
    """Return the first documents of a file, or of the demo extra, as a run would read them; `count` at most.

    Raises:
        DataError: If the file cannot be read, or holds a single document.
    """
    source = ["--dataset_name", DEMO_NAME] if data is None else ["--train_file", str(data)]
    source += ["--document_per", document_per] if data is not None and ".txt" in data.suffixes else []
    made = ["--model_type", "gpt2", "--model_size", "tiny", "--validation_fraction", "0.001"]
    with tempfile.TemporaryDirectory() as folder:
        config = load_config([*source, *made, "--output_dir", folder], recipe=PRETRAIN)
        texts = load_document_parts(config.data, seed=0).train.texts
        return [texts[row] for row in range(min(count, len(texts)))]


def pack_in_turns(job: Job, turns: int) -> list[Record]:
    """Let each side pack the corpus in a process of its own, again and again, and return their records."""
    ways = {PLAIN: play_plain, OURS: play_ours}
    records = {name: Record(name, WARM_UP) for name in ways}
    for number in range(turns):
        players = [Player(name, partial(play, job, number=number)) for name, play in ways.items()]
        for found in take_turns(players if number % 2 == 0 else players[::-1]):
            record = records[found.name]
            record.samples += found.samples
            record.peak_bytes = max(record.peak_bytes, found.peak_bytes)
            record.facts |= found.facts
    return list(records.values())


def play_plain(job: Job, turn: Turn, *, number: int) -> None:
    """Tokenize and group as run_clm does, once."""
    tokenizer = AutoTokenizer.from_pretrained(job.folder / "tokenizer")
    data = Dataset.from_dict({"text": [row["text"] for row in read_rows(job.folder / "train.jsonl")]})

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

    folder = job.folder / f"plain-{number}"
    folder.mkdir()
    turn.begin()
    tokenized = data.map(
        tokenize_function, batched=True, remove_columns=["text"], cache_file_name=str(folder / "tokenized.arrow")
    )
    grouped = tokenized.map(group_texts, batched=True, cache_file_name=str(folder / "grouped.arrow"))
    turn.end(job.tokens)
    turn.facts |= {"blocks": len(grouped), "written": _tell_size(folder)}


def play_ours(job: Job, turn: Turn, *, number: int) -> None:
    """Tokenize and pack as the recipe does, once."""
    cache = job.folder / f"ours-{number}" / "cache"  # where `configure` puts it

    def tokenized(session: Session, parts: Any, tokenizer: Any) -> None:
        before = _size(cache)
        turn.begin()
        rows = tokenize_corpus(session, parts, tokenizer)
        turn.end(job.tokens)
        turn.facts |= {"blocks": len(rows.train), "written": _tell_size(cache, before)}

    config = configure(
        PRETRAIN,
        cache.parent / "run",
        tokenizer_name=job.folder / "tokenizer",
        model_type="gpt2",
        model_size="tiny",
        train_file=job.folder / "train.jsonl",
        validation_file=job.folder / "validation.jsonl",
        block_size=job.block_size,
        max_steps=1,
    )
    run_to_rows(config, tokenized)


def _is_made_up(options: Namespace) -> bool:
    return options.data is None and (options.quick or not has_demo(DEMO_NAME))


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _tell_size(folder: Path, before: int = 0) -> str:
    return f"{(_size(folder) - before) / 1e6:.1f} MB"


def _write(file: Path, texts: Sequence[str]) -> None:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
