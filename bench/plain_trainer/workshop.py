"""The temporary folder of a comparison: data files, checkpoints, and the cases made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.plain_trainer import ours, tiny
from bench.plain_trainer.plain import Row, block_rows, labelled_rows
from hfpipe.config import RunConfig


@dataclass(frozen=True)
class Case:
    """One model and its data; both sides start from `checkpoint`."""

    name: str
    checkpoint: Path
    train: Path
    validation: Path
    causal_lm: bool = False

    def model(self) -> PreTrainedModel:
        """Return the model both sides start from."""
        return tiny.load_checkpoint(self.checkpoint, causal_lm=self.causal_lm)

    def config(self, output_dir: Path, **settings: Any) -> RunConfig:
        """Return the configuration of a run of hfpipe."""
        configure = ours.pretrain if self.causal_lm else ours.classify
        return configure(self.checkpoint, self.train, self.validation, output_dir=output_dir, **settings)


@dataclass(frozen=True)
class Feed:
    """The token rows of a case, as hfpipe made them and as plain Trainer takes them."""

    train: Sequence[Row]
    validation: Sequence[Row]
    tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True)
class Workshop:
    """Where everything of the comparison lies; a second process finds it by the folder alone."""

    folder: Path

    def run(self, name: str) -> Path:
        """Return the directory of the run called `name`."""
        return self.folder / "runs" / name

    def classifier(self, architecture: str) -> Case:
        """Return the classifier of an architecture."""
        train, validation = self.folder / "train.csv", self.folder / "validation.csv"
        return Case(architecture, self.folder / "checkpoints" / architecture, train, validation)

    def worsening(self) -> Case:
        """Return a classifier validated on wrong labels: its first evaluation is its best."""
        checkpoint = self.folder / "checkpoints" / "bert"
        return Case("worsening", checkpoint, self.folder / "train.csv", self.folder / "flipped.csv")

    def short(self) -> Case:
        """Return a classifier of 8 training rows: one window is the whole training part."""
        checkpoint = self.folder / "checkpoints" / "bert"
        return Case("short", checkpoint, self.folder / "short.csv", self.folder / "validation.csv")

    def overflowing(self) -> Case:
        """Return a classifier whose loss is NaN for the one row with a certain word."""
        checkpoint = self.folder / "checkpoints" / "overflowing"
        return Case("overflowing", checkpoint, self.folder / "overflowing.csv", self.folder / "validation.csv")

    def causal_lm(self) -> Case:
        """Return the language model."""
        train, validation = self.folder / "train.txt", self.folder / "validation.txt"
        return Case("causal LM", self.folder / "checkpoints" / "causal_lm", train, validation, causal_lm=True)

    def cases(self) -> list[Case]:
        """Return the five classifiers and the language model."""
        return [*(self.classifier(architecture) for architecture in tiny.CLASSIFIERS), self.causal_lm()]


def furnish(folder: Path) -> Workshop:
    """Write data files and checkpoints to `folder`, which is empty."""
    reviews = tiny.make_reviews(range(tiny.TRAIN_ROWS))
    unseen = range(100, 100 + tiny.VALIDATION_ROWS)
    tiny.write_reviews(folder / "train.csv", reviews)
    tiny.write_reviews(folder / "validation.csv", tiny.make_reviews(unseen))
    tiny.write_reviews(folder / "flipped.csv", tiny.flip_labels(tiny.make_reviews(unseen)))
    tiny.write_reviews(folder / "short.csv", reviews[:8])
    tiny.write_reviews(folder / "overflowing.csv", [*reviews[:15], (f"the {tiny.OVERFLOWING_WORD} plot", "neg")])
    tiny.write_documents(folder / "train.txt", range(23))
    tiny.write_documents(folder / "validation.txt", unseen)
    checkpoints = folder / "checkpoints"
    for architecture in tiny.CLASSIFIERS:
        tiny.save_checkpoint(architecture, checkpoints / architecture)
    tiny.save_checkpoint("llama", checkpoints / "causal_lm", causal_lm=True)
    tiny.make_token_overflow(tiny.save_checkpoint("bert", checkpoints / "overflowing"))
    return Workshop(folder)


def feed(workshop: Workshop, case: Case, name: str = "feed") -> Feed:
    """Return the rows hfpipe makes of the files of `case`; `name` is that of the run directory it takes."""
    config = case.config(workshop.run(f"{name}-{case.name}"), per_device_train_batch_size=8, **ours.STEPS_ONLY)
    assembled = ours.assemble(config)
    convert = block_rows if case.causal_lm else labelled_rows
    rows = assembled.rows
    return Feed(convert(rows.train), convert(rows.validation), assembled.trainer.tokenizer)
