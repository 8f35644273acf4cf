"""What a check knows of a run before it starts, and what it has found against it.

A part that cannot be had leaves its problems in the draft, and only what needs it is left out, so that one check
shows every problem there is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from hfpipe.config import RunConfig
from hfpipe.data.accounting import DataSummary
from hfpipe.errors import HfpipeError, Problem
from hfpipe.training.estimate import MakeBatch, Outline
from hfpipe.training.objectives import Objective
from hfpipe.training.plan import PerformancePlan

T = TypeVar("T")

PROBED_PARAMETERS = 200_000_000
"""Models up to this size are made with random weights to ask them what they can do: 0.8 GB for seconds."""


@dataclass
class Draft:
    """A run, the device it would use, and the facts and problems found so far."""

    config: RunConfig
    device: torch.device
    performance_plan: PerformancePlan | None = None
    """How the run would compute, as far as the model has been asked; None where that cannot be known."""
    begun: Mapping[str, Any] = field(default_factory=dict)
    """The record of the run that would go on; empty where one would begin."""
    lines: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def attempt(self, step: Callable[[], T]) -> T | None:
        """Return what `step` returns, None where it raised problems: they are kept."""
        try:
            return step()
        except HfpipeError as error:
            self.problems += [problem for problem in error.problems if problem not in self.problems]
            return None

    def holds(self, check: Callable[[], object]) -> bool:
        """Return whether `check` raises no problem; those it raises are kept."""
        try:
            check()
        except HfpipeError as error:
            self.problems += [problem for problem in error.problems if problem not in self.problems]
            return False
        return True


@dataclass(frozen=True)
class Survey:
    """Data and model of a run; None for what could not be had.

    `lengths` (rows,) are the tokens of training rows as kept, `evaluated` those of validation rows. `fits` says that
    rows are no longer than the model takes. `unit` is what a row is, text or block; `note` says so where `lengths`
    come from a sample.
    """

    unit: str
    make_batch: MakeBatch
    objective: Objective
    outlined: Outline | None = None
    fits: bool = False
    summary: DataSummary | None = None
    lengths: np.ndarray | None = None
    evaluated: np.ndarray | None = None
    note: str = ""
    is_stream: bool = False
    """Whether rows are read while training; `lengths` are then those of one step."""
    window_length: int | None = None
    """Tokens of a full window, where a row is several; None where each is one."""
    build: Callable[[], PreTrainedModel] | None = None
    """Makes the model, its weights random: what an outline cannot be asked. None where there is nothing to ask."""
