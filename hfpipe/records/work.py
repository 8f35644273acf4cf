"""What a launch makes of the settings: how the rows of a step come together, and in which precision they are computed.

The same rows a step may be cut otherwise when a run goes on: other processes, micro-batches or rows of one. Under a
budget of tokens a micro-batch stays what it is, so processes and micro-batches alone may change places. Refused are
another number of rows, or token positions, a step, and another precision: the steps to come would be those of another
run.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hfpipe.errors import Problem

SPLITTING = ("per_device_train_batch_size", "gradient_accumulation_steps")
MEAN_ROWS = "mean_rows_per_step"
"""Key of a record: rows of a step on average, where a budget of tokens decides."""
_ANEW = "or begin anew with fresh_start: true"


@dataclass(frozen=True)
class Cut:
    """How the rows of a step are cut: so many processes, each with micro-batches of so many rows.

    Under a budget of `tokens` a micro-batch has as many rows as fit, and `rows` is None.
    """

    processes: int
    rows: int | None
    micro_batches: int
    tokens: int | None = None

    @property
    def rows_per_step(self) -> int | None:
        """Rows of a full window over all processes and micro-batches; None where they differ."""
        return None if self.rows is None else self.processes * self.rows * self.micro_batches

    @property
    def tokens_per_step(self) -> int | None:
        """Token positions that a full window may have, where it is cut by them."""
        return None if self.tokens is None else self.processes * self.tokens * self.micro_batches

    @property
    def size(self) -> int:
        """Rows, or token positions, of a micro-batch."""
        return self.tokens if self.tokens is not None else self.rows or 0

    @property
    def unit(self) -> str:
        """What a micro-batch is counted in."""
        return "row" if self.tokens is None else "token position"

    def __str__(self) -> str:
        return f"{self.processes:,} x {self.size:,} x {self.micro_batches:,}"

    @property
    def in_words(self) -> str:
        """As in '2 processes x 4 rows x 1 micro-batch'."""
        counts = {"process": self.processes, self.unit: self.size, "micro-batch": self.micro_batches}
        return " x ".join(_count(number, unit) for unit, number in counts.items())

    def facts(self) -> dict[str, int | None]:
        """Return what the record of a run says of the size of its steps."""
        by_tokens = {} if self.tokens is None else {"tokens_per_step": self.tokens_per_step}
        return {"rows_per_step": self.rows_per_step, **by_tokens}

    def to_json(self) -> dict[str, int]:
        """Return what the record of a session says of it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Work:
    """The cut of a launch, and its precision: 'no', 'bf16' or 'fp16'."""

    cut: Cut
    precision: str


def find_cut(run: Mapping[str, Any]) -> Cut | None:
    """Return how the last session of a record cut its steps; None where an earlier version wrote it."""
    saved = run["sessions"][-1].get("cut") if run.get("sessions") else None
    return Cut(**{"rows": None, **saved}) if saved else None


def find_work_problems(run: Mapping[str, Any], work: Work) -> list[Problem]:
    """Return a problem for what this launch would compute otherwise than the run of the record, both values named."""
    problems = [_other_size(run, work.cut)] if _has_other_size(run, work.cut) else []
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
    step = _count(cut.processes * cut.size * cut.micro_batches, cut.unit)
    return f"going on with {cut.in_words} = {step} a step, as before {before}"


def _has_other_size(run: Mapping[str, Any], cut: Cut) -> bool:
    before = find_cut(run)
    # another budget, or none, is told as the setting that was changed
    if (before.tokens if before else None) != cut.tokens:
        return False
    if cut.tokens is not None:
        return bool(run["tokens_per_step"] != cut.tokens_per_step)
    return bool(run["rows_per_step"] != cut.rows_per_step)


def _other_size(run: Mapping[str, Any], cut: Cut) -> Problem:
    is_by_rows, before = cut.tokens is None, find_cut(run)
    key, batch = ("rows_per_step", " x per_device_train_batch_size") if is_by_rows else ("tokens_per_step", "")
    began = f"{run[key]:,}" if is_by_rows else f"{run[key] // cut.size:,}"
    rule = f"another value than the run began with, {run[key]:,}{f' = {before}' if before else ''}"
    remedy = f"make processes{batch} x gradient_accumulation_steps {began} again, {_ANEW}"
    return Problem(key, f"{cut.processes * cut.size * cut.micro_batches:,} = {cut.in_words}", rule, remedy)


def _precision_setting(precision: str) -> str:
    return f"{precision}: true" if precision != "no" else "bf16: false"


def _count(number: int, unit: str) -> str:
    plural = f"{unit}es" if unit.endswith(("s", "h")) else f"{unit}s"
    return f"{number:,} {unit if number == 1 else plural}"
