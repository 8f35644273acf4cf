"""Errors that a user can cause, each carrying every problem of its stage.

An entry point prints `str(error)` and exits with 2; nothing here is ever shown as a traceback.
A stage collects its problems and raises once: people mend a list faster than a sequence.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from hfpipe.secrecy import hide


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it stands, what was found, the rule it breaks, what to do.

    `place` is something the user can open or retype (`train.csv:17`, `--learning_rate`); any
    other part may be empty. As a text it holds no secrets.
    """

    place: str
    value: str = ""
    rule: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        stated = ": ".join(part for part in (self.place, self.value, self.rule) if part)
        return hide(f"{stated}; {self.remedy}" if self.remedy else stated)


class HfpipeError(Exception):
    """The problems of one stage; `str()` is the message a user reads."""

    subject: ClassVar[str] = "the run"

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        assert self.problems, "an error without a problem says nothing"
        super().__init__(self._message())

    def _message(self) -> str:
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        lines = [f"{self.subject} has {count:,} {noun}:", *(f"  - {problem}" for problem in self.problems)]
        return "\n".join(lines)


class ConfigError(HfpipeError):
    """Settings that are unknown, ill-typed, out of range, without effect or in conflict."""

    subject = "the configuration"


class DataError(HfpipeError):
    """Input files whose rows cannot be used as they stand."""

    subject = "the data"


class CheckpointError(HfpipeError):
    """Run directories and checkpoints that cannot be read, resumed or trusted."""

    subject = "the run directory"


class TrainingError(HfpipeError):
    """Training that cannot go on: a loss or gradient that is not finite, processes that are missing."""

    subject = "the training"


class HubError(HfpipeError):
    """The Hub cannot be reached or refuses, or what was to go there, or came from there, must not."""

    subject = "the Hub"


class Stopped(Exception):
    """A run ended by a signal after its state was saved; the same command goes on from there."""

    def __init__(self, signal_number: int, step: int) -> None:
        self.signal_number = signal_number
        self.step = step
        super().__init__(f"stopped by signal {signal_number} at step {step:,}; the same command goes on from here")

    @property
    def exit_code(self) -> int:
        """130 for SIGINT; 143 for SIGTERM, and for what else asks a run to stop."""
        return 130 if self.signal_number == signal.SIGINT else 143


class ProcessLost(Exception):
    """A process of the run was killed from outside; the same command goes on from the newest checkpoint."""
