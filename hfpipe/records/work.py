"""What a launch makes of the settings: how the rows of a step come together, and in which precision they are computed.

The same rows a step may be cut otherwise when a run goes on: other processes, micro-batches or rows of one. Refused
are another number of rows a step, and another precision: the steps to come would be those of another run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hfpipe.errors import Problem

SPLITTING = ("per_device_train_batch_size", "gradient_accumulation_steps")
_ANEW = "or begin anew with fresh_start: true"


@dataclass(frozen=True)
class Cut:
    """How the rows of a step are cut: so many processes, each with micro-batches of so many rows."""

    processes: int
    rows: int
    micro_batches: int

    @property
    def rows_per_step(self) -> int:
        """Rows of a full window over all processes and micro-batches."""
        return self.processes * self.rows * self.micro_batches

    def __str__(self) -> str:
        return f"{self.processes:,} x {self.rows:,} x {self.micro_batches:,}"

    @property
    def in_words(self) -> str:
        """As in '2 processes x 4 rows x 1 micro-batch'."""
        counts = {"process": self.processes, "row": self.rows, "micro-batch": self.micro_batches}
        return " x ".join(_count(number, unit) for unit, number in counts.items())


@dataclass(frozen=True)
class Work:
    """The cut of a launch, and its precision: 'no', 'bf16' or 'fp16'."""

    cut: Cut
    precision: str


def find_cut(run: Mapping[str, Any]) -> Cut | None:
    """Return how the last session of a record cut its steps; None where an earlier version wrote it."""
    saved = run["sessions"][-1].get("cut") if run.get("sessions") else None
    return Cut(**saved) if saved else None


def find_work_problems(run: Mapping[str, Any], work: Work) -> list[Problem]:
    """Return a problem for what this launch would compute otherwise than the run of the record, both values named."""
    problems = []
    if run["rows_per_step"] != work.cut.rows_per_step:
        began, cut = f"{run['rows_per_step']:,}", find_cut(run)
        rule = f"another value than the run began with, {began}{f' = {cut}' if cut else ''}"
        remedy = f"make processes x per_device_train_batch_size x gradient_accumulation_steps {began} again, {_ANEW}"
        problems.append(Problem("rows_per_step", f"{work.cut.rows_per_step:,} = {work.cut.in_words}", rule, remedy))
    if run["precision"] != work.precision:
        rule = f"another value than the run began with, {run['precision']}"
        remedy = f"set {_precision_setting(run['precision'])}, {_ANEW}"
        problems.append(Problem("precision", work.precision, rule, remedy))
    return problems


def describe_new_cut(run: Mapping[str, Any], cut: Cut) -> str | None:
    """Return the line that says that steps are cut otherwise than in the session before; None where they are not."""
    before = find_cut(run)
    if before is None or before == cut:
        return None
    return f"going on with {cut.in_words} = {_count(cut.rows_per_step, 'row')} a step, as before {before}"


def _precision_setting(precision: str) -> str:
    return f"{precision}: true" if precision != "no" else "bf16: false"


def _count(number: int, unit: str) -> str:
    plural = f"{unit}es" if unit.endswith(("s", "h")) else f"{unit}s"
    return f"{number:,} {unit if number == 1 else plural}"
