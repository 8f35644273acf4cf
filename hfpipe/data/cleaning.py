"""Rows that are left out of the training part, and those of the other parts that are worth a word.

Validation and test rows are scored as they are. Training gives way to them: a text that stands in
either is not trained on.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from hfpipe.data.duplicates import find_repeats, find_shared
from hfpipe.data.places import Places
from hfpipe.data.splits import list_others
from hfpipe.data.table import Table
from hfpipe.data.text_store import take_texts

_Value = TypeVar("_Value")


def take_rows(table: Table, ids: np.ndarray) -> Table:
    """Return a table of some rows with the account unchanged: the caller says why the others are not in it."""
    return replace(
        table,
        texts=take_texts(table.texts, ids),
        text_pairs=None if table.text_pairs is None else _taken(table.text_pairs, ids),
        labels=_taken(table.labels, ids),
        label_sets=_taken(table.label_sets, ids),
        numbers=_taken(table.numbers, ids),
        slices={name: _taken(values, ids) for name, values in table.slices.items()},
        places=table.places.take(ids),
    )


def leave_out(table: Table, ids: np.ndarray, *, reason: str) -> Table:
    """Return the table without the rows `ids`, which are entered in its account under `reason`."""
    if not len(ids):
        return table
    left = take_rows(table, list_others(len(table.texts), ids))
    return replace(left, account=table.account.without(reason, table.places.rows(ids)))


def clean_tables(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return the tables by part, with repeats, contradictions and texts of other parts taken out of 'train'."""
    others = {name: table for name, table in tables.items() if name != "train"}
    in_others = find_shared(tables["train"].inputs, [table.inputs for table in others.values()])
    train = leave_out(tables["train"], in_others, reason="in_validation_or_test")
    conflicting, duplicate = find_repeats(train.inputs, train.answers)
    places: Places = train.places
    account = train.account.without("conflicting", places.rows(conflicting))
    account = account.without("duplicate", places.rows(duplicate))
    left_out = np.concatenate([conflicting, duplicate])
    left = take_rows(train, list_others(len(train.texts), left_out)) if len(left_out) else train
    cleaned = {"train": replace(left, account=account)}
    test = [tables["test"].inputs] if "test" in tables else []
    for name, table in others.items():
        cleaned[name] = _with_notes(table, test if name == "validation" else [])
    return cleaned


def _taken(values: list[_Value], ids: np.ndarray) -> list[_Value]:
    """Return the values of some rows; a part has none where it lacks such a column."""
    return [values[row] for row in ids] if values else []


def _with_notes(table: Table, test_inputs: Sequence[Sequence[Hashable]]) -> Table:
    conflicting, duplicate = find_repeats(table.inputs, table.answers)
    account = table.account.noting("conflicting", table.places.rows(conflicting))
    account = account.noting("duplicate", table.places.rows(duplicate))
    in_test = find_shared(table.inputs, test_inputs)
    return replace(table, account=account.noting("also_in_test", table.places.rows(in_test)))
