"""Columns that are kept beside the rows that are scored, so that a report can tell where a classifier fails.

A value is the text of its cell; numbers and truth values of typed files are written as texts, and a cell that holds
nothing is ''. Refuses lists, objects and bytes, whose values are no groups of rows. Equal values share one text in
memory, so a column costs eight bytes a row, and nothing where none is asked for.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from hfpipe.data.columns import ColumnChoice, is_empty
from hfpipe.data.label_column import describe_value
from hfpipe.data.record_stream import Record, place_of
from hfpipe.errors import Problem

SHOWN_EMPTY = "(empty)"
"""What is shown for rows that say nothing."""
_NO_GROUPS = (list, dict, bytes)


class SliceColumns:
    """The values of the slice columns as rows come in; `values` by column name, in the order of the rows."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self._known: dict[str, str] = {}

    def take(self, record: Record, columns: ColumnChoice) -> None:
        """Take the values of a row that is used."""
        for column in columns.slices:
            value = _text_of(record.values[column])
            self.values.setdefault(column, []).append(self._known.setdefault(value, value))


def find_slice_problems(record: Record, columns: ColumnChoice, name: str) -> Iterator[Problem]:
    """Yield what is wrong where a slice column of a record of the file `name` holds what makes no group."""
    for column in columns.slices:
        value = record.values[column]
        if isinstance(value, _NO_GROUPS):
            held, rule = f"column {column!r} holds {describe_value(value)}", "a text or a number is expected"
            yield Problem(place_of(name, record.line), held, rule, "name another column in slice_column_names")


def join_slices(parts: Sequence[Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """Return the columns of several tables as those of one, rows in the order of the tables."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: [value for part in parts for value in part.get(name, ())] for name in names}


def describe_slices(parts: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[str]:
    """Yield a line a column: how many values it has in each part. The values are the user's own, and not told."""
    for column in dict.fromkeys(column for slices in parts.values() for column in slices):
        counts = {part: len(set(slices[column])) for part, slices in parts.items() if column in slices}
        told = ", ".join(f"{count:,} in {part}" for part, count in counts.items())
        yield f"slices by {column!r}: values: {told}"


def _text_of(value: object) -> str:
    if is_empty(value) or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    # whole numbers are written with decimals where one of their column is missing
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
