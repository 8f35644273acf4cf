"""Tables some of whose rows have no finite loss, and what the tests ask of the runs that meet them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfpipe.data.batches import BatchPlan

BAD = "the number"
ROWS = 32
SEED = 42


def write_rows(path: Path, bad: tuple[int, ...] = (), *, rows: int = ROWS, noun: str = "film") -> Path:
    """Write a table of two labels; the rows `bad` are those whose loss is not finite, row i on line i + 2."""
    texts = [f"{'good' if row % 2 else 'bad'} {noun} {row}" for row in range(rows)]
    lines = [
        f"{f'{BAD} {noun} {row}' if row in bad else text},{'pos' if row % 2 else 'neg'}\n"
        for row, text in enumerate(texts)
    ]
    path.write_text("text,label\n" + "".join(lines))
    return path


def step_of_row(row: int, *, rows: int = ROWS, rows_per_step: int = 4) -> int:
    """Return the step, from 1, that trains on a row in the first epoch."""
    plan = BatchPlan(rows, rows_per_step, 1, 1, seed=SEED)
    (step,) = [step for step in range(plan.steps_per_epoch) if row in plan.window(0, step)]
    return step + 1


def read_strictly(folder: Path) -> Iterator[Any]:
    """Yield the content of every JSON file in a run directory; one with a NaN in it fails the test."""
    for path in folder.rglob("*.json*"):
        text = path.read_text()
        for part in text.splitlines() if path.suffix == ".jsonl" else [text]:
            yield json.loads(part, parse_constant=pytest.fail)
