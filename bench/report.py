"""What a case found: tables for the reader, and the same as JSON for a program."""

import json
import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Table:
    """Cells as they are printed, row by row; the title stands above them."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Report:
    """The tables of a case, sentences below them, and the numbers behind them as JSON has them."""

    tables: Sequence[Table]
    data: Mapping[str, Any]
    notes: Sequence[str] = field(default=())


def render(report: Report) -> str:
    """Return the report as Markdown."""
    return "\n\n".join([*(render_table(table) for table in report.tables), *report.notes])


def render_table(table: Table) -> str:
    """Return a table as Markdown, under its title.

    Raises:
        ValueError: If a row has more or fewer cells than there are columns.
    """
    if any(len(row) != len(table.columns) for row in table.rows):
        raise ValueError(f"{table.title}: a row has not {len(table.columns)} cells")
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join([f"{table.title}\n", *(f"| {' | '.join(cells)} |" for cells in lines)])


def write_json(file: Path, case: str, options: Namespace, machine: Mapping[str, Any], report: Report) -> None:
    """Write case, options, machine, numbers, and what was printed to `file`, for comparisons later on."""
    told = {
        "case": case,
        "options": vars(options),
        "machine": machine,
        "found": report.data,
        "tables": [asdict(table) for table in report.tables],
        "notes": report.notes,
    }
    file.write_text(json.dumps(_plain(told), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return a value as JSON can have it: what is no finite number is null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
