"""Slice columns: their values stay beside the rows that are scored, and change nothing else."""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from data_files import GOOD, load, problems_of, write_csv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfpipe.data.parts import LabelledPart, LabelledParts
from hfpipe.data.slices import describe_slices

# text, label, language, year, checked; the third row is empty, the fifth repeats the second
ROWS: Sequence[tuple[object, ...]] = (
    ("one", "pos", "en", 2019, True),
    ("two", "neg", " de ", None, False),
    ("", "pos", "fr", 2020, True),
    ("three", "pos", "", 2021, None),
    ("two", "neg", "en", 2019, True),
)
HEADER = ("text", "label", "language", "year", "checked")
NAMES = ("language", "year", "checked")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_rows_csv(rows: Sequence[tuple[object, ...]]) -> str:
    lines = [",".join("" if value is None else str(value) for value in row) for row in (HEADER, *rows)]
    Path("rows.csv").write_text("\n".join(lines) + "\n")
    return "rows.csv"


def write_rows_jsonl(rows: Sequence[tuple[object, ...]]) -> str:
    # a key that is missing reads as null
    objects = [{key: value for key, value in zip(HEADER, row, strict=True) if value is not None} for row in rows]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects))
    return "rows.jsonl"


def write_rows_parquet(rows: Sequence[tuple[object, ...]]) -> str:
    columns = dict(zip(HEADER, map(list, zip(*rows, strict=True)), strict=True))
    # as pandas has it: whole numbers get decimals where one is missing
    columns["year"] = [None if year is None else float(str(year)) for year in columns["year"]]
    pyarrow.parquet.write_table(pyarrow.table(columns), "rows.parquet")
    return "rows.parquet"


@pytest.mark.parametrize(
    ("write", "checked"),
    [
        (write_rows_csv, ["True", "False", "", "True"]),
        (write_rows_jsonl, ["true", "false", "", "true"]),
        (write_rows_parquet, ["true", "false", "", "true"]),
    ],
)
def test_values_stay_beside_their_rows_in_every_format(
    write: Callable[[Sequence[tuple[object, ...]]], str], checked: list[str]
) -> None:
    test, train = write(ROWS), write_csv("train.csv", GOOD)
    validation = write_csv("val.csv", [("v,x,1,a", "pos")], header="text,language,year,checked,label")
    parts = load(train_file=train, validation_file=validation, test_file=test, slice_column_names=NAMES)
    assert parts.test is not None
    assert parts.test.texts == ["one", "two", "three", "two"]
    assert parts.test.slices == {
        "language": ["en", "de", "", "en"],
        "year": ["2019", "", "2021", "2019"],
        "checked": checked,
    }
    assert parts.validation.slices == {"language": ["x"], "year": ["1"], "checked": ["a"]}
    assert parts.train.slices == {}
    assert "slices by 'language': values: 1 in validation, 3 in test" in parts.summary.notes


def with_language(count: int, header: str = "text,label,language") -> str:
    rows = [(f"text {row}", f"{'pos' if row % 2 else 'neg'},{('en', 'de', '')[row % 3]}") for row in range(count)]
    return write_csv("train.csv", rows, header=header)


def test_rows_that_are_held_out_keep_theirs() -> None:
    parts = load(train_file=with_language(30), validation_fraction=0.3, slice_column_names=("language",))
    expected = [("en", "de", "")[int(text.split()[1]) % 3] for text in parts.validation.texts]
    assert (len(expected), parts.validation.slices) == (9, {"language": expected})
    assert parts.train.slices == {}
    assert parts.summary.lines()[0] == (
        "columns: text 'text' (found by its name), label 'label' (found by its name), "
        "slices 'language' (set by slice_column_names)"
    )


def test_nothing_is_kept_where_nothing_is_asked_for() -> None:
    parts = load(train_file=with_language(30))
    assert (parts.validation.slices, parts.train.slices) == ({}, {})
    assert not any("slices" in line for line in parts.summary.lines())


def without_slices(part: LabelledPart) -> list[object]:
    plain = replace(part, slices={})
    values = [getattr(plain, each.name) for each in fields(plain)]
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in values if value is not plain.places]


def rows_of(parts: LabelledParts) -> list[object]:
    """Return all that is said of the rows, their order and their places."""
    of_parts = [part for part in (parts.train, parts.validation, parts.test) if part is not None]
    places = [[part.places.place(row) for row in range(len(part.texts))] for part in of_parts]
    accounts = {name: account.to_json() for name, account in parts.summary.parts.items()}
    return [*map(without_slices, of_parts), places, accounts, parts.label_names]


CELLS = st.tuples(st.sampled_from(("a", "b", "c", "d", "e", "f", "")), st.sampled_from(("pos", "neg", "")))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(CELLS, min_size=4, max_size=20), values=st.lists(st.sampled_from(("x", "y", "")), min_size=60))
def test_the_rows_are_the_same_with_and_without_slices(rows: list[tuple[str, str]], values: list[str]) -> None:
    filled = [*rows, *((text, label) for text, label in GOOD)]
    cells = [(f"{text},{value}", label) for (text, label), value in zip(filled, values, strict=False)]
    train = write_csv("train.csv", cells, header="text,group,label")
    # the last ones are good rows: a part without any is refused
    test = write_csv("test.csv", cells[: len(rows) + 2], header="text,group,label")
    chosen = {"train_file": train, "test_file": test, "validation_fraction": 0.4, "max_eval_samples": 3}
    plain, sliced = load(**chosen), load(**chosen, slice_column_names=("group",))
    assert rows_of(sliced) == rows_of(plain)
    assert len(sliced.validation.slices["group"]) == len(sliced.validation.texts)


def test_every_source_of_a_mixture_brings_the_column() -> None:
    first, second = with_language(20), "more.jsonl"
    rows = [{"text": f"more {row}", "label": ("neg", "pos")[row % 2], "language": f"l{row}"} for row in range(20)]
    Path(second).write_text("".join(json.dumps(row) + "\n" for row in rows))
    mixture = ({"train_file": first, "weight": 1}, {"train_file": second, "weight": 1})
    chosen = {"dataset_mixture": mixture, "validation_fraction": 0.2}
    parts = load(**chosen, slice_column_names=("language",))
    of_text = {f"text {row}": ("en", "de", "")[row % 3] for row in range(20)} | {
        f"more {n}": f"l{n}" for n in range(20)
    }
    assert parts.validation.slices == {"language": [of_text[text] for text in parts.validation.texts]}
    assert {text.split()[0] for text in parts.validation.texts} == {"text", "more"}
    assert rows_of(parts) == rows_of(load(**chosen))


def test_a_column_that_is_not_there_is_refused_with_the_nearest() -> None:
    train = with_language(12)
    there = "the columns are 'text', 'label', 'language'"
    assert problems_of(train_file=train, slice_column_names=("langauge", "source")) == [
        f"train.csv:1: no column 'langauge': {there}; did you mean slice_column_names: language?",
        f"train.csv:1: no column 'source': {there}; leave it out of slice_column_names, or add the column",
    ]
    # files without validation rows need no such column, the others do
    test = write_csv("test.csv", [("t", "pos")])
    assert problems_of(train_file=train, test_file=test, slice_column_names=("language",)) == [
        "test.csv:1: no column 'language': the columns are 'text', 'label'; "
        "leave it out of slice_column_names, or add the column"
    ]


def test_columns_with_another_part_are_refused() -> None:
    train = with_language(12)
    assert problems_of(train_file=train, slice_column_names=("text", "label", "language", "language")) == [
        "train.csv:1: column 'text': is text and slice at once; leave it out of slice_column_names",
        "train.csv:1: column 'label': is label and slice at once; leave it out of slice_column_names",
        "train.csv:1: column 'language': named 2 times; set slice_column_names",
    ]


def test_a_slice_does_not_decide_which_column_is_the_label() -> None:
    train = with_language(12, header="text,category,topic")
    (problem,) = problems_of(train_file=train, slice_column_names=("topic",))
    assert problem == "train.csv:1: 2 columns may be the label: 'category', 'topic'; set label_column_name"


def test_values_that_make_no_groups_are_refused_row_by_row() -> None:
    rows = [{"text": f"t{row}", "label": row % 2, "tags": ["a"] if row == 3 else "b"} for row in range(12)]
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert problems_of(train_file="train.jsonl", slice_column_names=("tags",)) == [
        "train.jsonl:4: column 'tags' holds a list, \"['a']\": a text or a number is expected; "
        "name another column in slice_column_names"
    ]


def test_equal_values_are_one_text_in_memory() -> None:
    parts = load(train_file=with_language(300), validation_fraction=0.5, slice_column_names=("language",))
    values = parts.validation.slices["language"]
    assert (len(values), len(set(map(id, values)))) == (150, 3)


def test_the_values_themselves_are_not_told() -> None:
    slices = {"validation": {"customer": ["secret", "secret", ""]}, "test": {"customer": ["secret"]}}
    assert list(describe_slices(slices)) == ["slices by 'customer': values: 2 in validation, 1 in test"]
