"""Scoring texts: `pipeline("text-classification", batch_size=16, truncation=True)` against `score_texts`.

    python -m bench predict --texts 256

A turn scores all texts, which are as long as film reviews and cut at 512 tokens. The largest difference between the
scores of both sides is told.
"""

import json
import tempfile
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import pipeline

from bench.compare import compare
from bench.finetune import MINILM, TINY
from bench.made_up import Shape, make_texts, save_classifier
from bench.paced import ROWS
from bench.probe import limit_players
from bench.report import Report
from bench.reviews import read_reviews
from bench.turns import Player, Record, Turn, do_apart, take_turns
from hfpipe.inference.loading import load_classifier
from hfpipe.inference.precision import BF16, FLOAT32, ScoringPrecision
from hfpipe.inference.predict import score_texts
from hfpipe.models.hardware import has_bfloat16

PLAIN, OURS, OURS_BF16 = "pipeline, batch_size=16", "hfpipe", "hfpipe, precision bf16"
WARM_UP = 1
HEAD_SCALE = 20.0
"""A head with random weights says 0.5 of every text; larger ones tell texts apart, so that differences show."""


@dataclass(frozen=True)
class Job:
    """What both sides share: a folder with texts, the model, and how many turns there are."""

    folder: Path
    model: Path
    turns: int


def add_options(parser: ArgumentParser) -> None:
    """Add model and texts."""
    parser.add_argument(
        "--model", type=Path, default=None, help="the folder of a classifier; one is made up by default"
    )
    parser.add_argument("--data", type=Path, default=None, help="a file of labelled texts; made-up ones by default")
    parser.add_argument("--texts", type=int, default=256)


def run(options: Namespace) -> Report:
    """Score the texts in turns."""
    count = 8 if options.quick else options.texts
    turns = WARM_UP + (options.rounds or (2 if options.quick else 7))
    with tempfile.TemporaryDirectory() as name:
        job = Job(Path(name), options.model or Path(name) / "model", turns)
        shape = TINY if options.quick else MINILM
        do_apart(partial(prepare, job, shape, options.data, count=count, makes_model=options.model is None))
        players = [Player(PLAIN, partial(play_plain, job)), Player(OURS, partial(play_ours, job, precision=FLOAT32))]
        if has_bfloat16(use_cpu=not torch.cuda.is_available()):
            players.append(Player(OURS_BF16, partial(play_ours, job, precision=BF16)))
        records = take_turns([*players, *limit_players(turns)], warm_up=WARM_UP)
    worst = largest_differences(records)
    told = ", ".join(f"{name} {difference:.1e}" for name, difference in worst.items())
    notes = [f"largest difference of a score from those of the first: {told}"]
    report = compare(f"{count} texts a turn", records, unit=ROWS, notes=notes)
    return Report(report.tables, {**report.data, "largest_differences": worst}, report.notes)


def prepare(job: Job, shape: Shape, data: Path | None, *, count: int, makes_model: bool) -> None:
    """Save the texts, and a model where none is named."""
    if makes_model:
        save_classifier(job.model, shape, head_scale=HEAD_SCALE)
    texts = make_texts(count, shape, seed=2) if data is None else read_reviews(data, count).texts
    (job.folder / "texts.json").write_text(json.dumps(list(texts)))


def play_plain(job: Job, turn: Turn) -> None:
    """Score as the documentation of pipelines shows it."""
    texts = json.loads((job.folder / "texts.json").read_text())
    device = 0 if torch.cuda.is_available() else -1
    classify = pipeline("text-classification", model=str(job.model), device=device)
    scored: list[Any] = []
    for _ in range(job.turns):
        turn.begin()
        scored = classify(texts, batch_size=16, truncation=True, top_k=None)
        turn.end(len(texts))
    turn.facts["scores"] = [{each["label"]: each["score"] for each in row} for row in scored]


def play_ours(job: Job, turn: Turn, *, precision: ScoringPrecision) -> None:
    """Score as `hfpipe predict` does, with its option of this name."""
    texts = json.loads((job.folder / "texts.json").read_text())
    loaded = load_classifier(job.model)
    scores: list[np.ndarray] = []
    for _ in range(job.turns):
        turn.begin()
        scored = score_texts(loaded.model, loaded.tokenizer, texts, treatment=loaded.treatment, precision=precision)
        scores = list(scored)
        turn.end(len(texts))
    turn.facts["scores"] = [dict(zip(loaded.label_names, row.tolist(), strict=True)) for row in scores]


def largest_differences(records: list[Record]) -> dict[str, float]:
    """Return how far the scores of each side are from those of the first one at most; their facts lose the scores."""
    first, *others = [(record.name, record.facts.pop("scores")) for record in records if "scores" in record.facts]
    return {name: _largest_difference(first[1], scores) for name, scores in others}


def _largest_difference(one: list[dict[str, float]], other: list[dict[str, float]]) -> float:
    return max(abs(a[name] - b[name]) for a, b in zip(one, other, strict=True) for name in a)
