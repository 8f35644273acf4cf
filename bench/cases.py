"""The cases of the benchmark by name: where each lives and what it compares. Nothing of them is imported here."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from bench.report import Report


@dataclass(frozen=True)
class Case:
    """A module with `add_options(parser)` and `run(options)`, and about how long it takes on two cores."""

    module: str
    compares: str
    minutes: float

    def add_options(self, parser: ArgumentParser) -> None:
        """Add the options of this case alone; this imports its module."""
        cast("Callable[[ArgumentParser], None]", import_module(self.module).add_options)(parser)

    def run(self, options: Namespace) -> Report:
        """Measure, and return what was found."""
        return cast("Callable[[Namespace], Report]", import_module(self.module).run)(options)


CASES: Mapping[str, Case] = {
    "pretrain": Case("bench.pretrain", "training a causal language model: tokens a second", 4),
    "finetune": Case("bench.finetune", "fine-tuning a classifier at 256 and 512 tokens: examples a second", 10),
    "accuracy": Case("bench.accuracy", "the same fine-tuning to its end: test accuracy over seeds", 65),
    "predict": Case("bench.predict", "scoring texts: pipeline() against score_texts", 9),
    "tokenize": Case("bench.tokenizing", "texts to packed blocks: map and group_texts against hfpipe", 3),
    "first_step": Case("bench.first_step", "from the start of the process to the first step of the optimizer", 4),
    "linear": Case("bench.linear", "first and last tenth of a run; two processes against one", 12),
    "checkpoint_stall": Case("bench.checkpoint_stall.case", "how long a save holds a run up, by size of model", 8),
    "data_skip": Case("bench.data_skip.case", "how long a resumed run takes to its place in the data", 1),
    "hub_stall": Case("bench.hub_stall.case", "step times beside a Hub that answers, one that hangs, and none", 3),
    "plain_trainer": Case("bench.plain_trainer.case", "what plain Trainer computes, and hfpipe: exactness", 3),
}
