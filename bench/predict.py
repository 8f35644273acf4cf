"""Scoring texts: `pipeline("text-classification", batch_size=16, truncation=True)` against `score_texts`.

    python -m bench predict --texts 256 --max-length 64 256 512

A turn scores all texts, which are as long as film reviews, cut at the limit. How far the scores of both sides are apart
is told. A trained run of ours has a temperature, which `pipeline` does not know; it is left out on our side too, so
that the difference is that of arithmetic.
"""

import json
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import pipeline

from bench.compare import compare, join
from bench.finetune import MINILM, TINY
from bench.made_up import Shape, make_texts, save_classifier
from bench.paced import ROWS
from bench.probe import limit_players
from bench.report import Report
from bench.reviews import read_reviews
from bench.turns import Player, Record, Turn, do_apart, take_turns
from hfpipe.data.tokens import LengthRule
from hfpipe.inference.loading import load_classifier
from hfpipe.inference.precision import BF16, FLOAT32, ScoringPrecision
from hfpipe.inference.predict import score_texts
from hfpipe.models.hardware import has_bfloat16

PLAIN, OURS, OURS_BF16 = "pipeline, batch_size=16", "hfpipe", "hfpipe, precision bf16"
WARM_UP = 1
HEAD_SCALE = 20.0
"""A head with random weights says 0.5 of every text; larger ones tell texts apart, so that differences show."""
SCORES = "scores"


@dataclass(frozen=True)
class Job:
    """What both sides share: a folder with texts, the model, the length limit, and how many turns there are."""

    folder: Path
    model: Path
    max_length: int
    turns: int


@dataclass(frozen=True)
class Distance:
    """How far scores are from those of the first side, and how many of the texts get another label."""

    largest: float
    mean: float
    other_labels: int
    texts: int

    def told(self) -> str:
        """Return one line."""
        labels = f"{self.other_labels:,} of {self.texts:,} texts get another label"
        return f"scores {self.largest:.1e} from those of the first at most, {self.mean:.1e} on average; {labels}"


def add_options(parser: ArgumentParser) -> None:
    """Add model, texts and lengths."""
    parser.add_argument(
        "--model", type=Path, default=None, help="the folder of a classifier; one is made up by default"
    )
    parser.add_argument("--data", type=Path, default=None, help="a file of labelled texts; made-up ones by default")
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--max-length", type=int, nargs="+", default=[64, 256, 512])


def run(options: Namespace) -> Report:
    """Score the texts in turns, for each length limit."""
    count = 8 if options.quick else options.texts
    turns = WARM_UP + (options.rounds or (2 if options.quick else 7))
    shape = TINY if options.quick else MINILM
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model or folder / "model"
        do_apart(partial(prepare, folder, shape, options.data, count=count, makes_model=options.model is None))
        lengths = [32] if options.quick else options.max_length
        return join([_measure(Job(folder, model, max_length, turns), count) for max_length in lengths])


def prepare(folder: Path, shape: Shape, data: Path | None, *, count: int, makes_model: bool) -> None:
    """Save the texts, and a model where none is named."""
    if makes_model:
        save_classifier(folder / "model", shape, head_scale=HEAD_SCALE)
    texts = make_texts(count, shape, seed=2) if data is None else read_reviews(data, count).texts
    (folder / "texts.json").write_text(json.dumps(list(texts)))


def play_plain(job: Job, turn: Turn) -> None:
    """Score as the documentation of pipelines shows it."""
    texts = json.loads((job.folder / "texts.json").read_text())
    device = 0 if torch.cuda.is_available() else -1
    classify = pipeline("text-classification", model=str(job.model), device=device)
    scored: list[Any] = []
    for _ in range(job.turns):
        turn.begin()
        scored = classify(texts, batch_size=16, truncation=True, max_length=job.max_length, top_k=None)
        turn.end(len(texts))
    turn.facts[SCORES] = [{each["label"]: each["score"] for each in row} for row in scored]


def play_ours(job: Job, turn: Turn, *, precision: ScoringPrecision) -> None:
    """Score as `hfpipe predict` does, with its option of this name, and without the temperature of a run."""
    texts = json.loads((job.folder / "texts.json").read_text())
    loaded = load_classifier(job.model)
    treatment = replace(loaded.treatment, rule=LengthRule(job.max_length), temperature=1.0)
    scores: list[np.ndarray] = []
    for _ in range(job.turns):
        turn.begin()
        scores = list(score_texts(loaded.model, loaded.tokenizer, texts, treatment=treatment, precision=precision))
        turn.end(len(texts))
    turn.facts[SCORES] = [dict(zip(loaded.label_names, row.tolist(), strict=True)) for row in scores]


def find_distances(records: Sequence[Record]) -> dict[str, Distance]:
    """Return how far the scores of each side are from those of the first one; their facts lose the scores."""
    first, *others = [(record.name, record.facts.pop(SCORES)) for record in records if SCORES in record.facts]
    return {name: _find_distance(first[1], scores) for name, scores in others}


def _find_distance(one: Sequence[dict[str, float]], other: Sequence[dict[str, float]]) -> Distance:
    differences = [abs(a[name] - b[name]) for a, b in zip(one, other, strict=True) for name in a]
    moved = sum(max(a, key=a.__getitem__) != max(b, key=b.__getitem__) for a, b in zip(one, other, strict=True))
    return Distance(max(differences), sum(differences) / len(differences), moved, len(one))


def _measure(job: Job, count: int) -> Report:
    players = [Player(PLAIN, partial(play_plain, job)), Player(OURS, partial(play_ours, job, precision=FLOAT32))]
    if has_bfloat16(use_cpu=not torch.cuda.is_available()):
        players.append(Player(OURS_BF16, partial(play_ours, job, precision=BF16)))
    records = take_turns([*players, *limit_players(job.turns)], warm_up=WARM_UP)
    distances = find_distances(records)
    notes = [f"{name}: {distance.told()}" for name, distance in distances.items()]
    report = compare(f"{count} texts a turn, cut at {job.max_length} tokens", records, unit=ROWS, notes=notes)
    told = {name: asdict(distance) for name, distance in distances.items()}
    return Report(report.tables, {**report.data, "distances": told}, report.notes)
