"""Any number of labels a row: how they are written, what is refused, and how rows are split."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from data_files import Rows, load, problems_of, write_csv, write_jsonl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfpipe.config import load_config
from hfpipe.config.sections import MULTI_LABEL
from hfpipe.data.findings import Findings
from hfpipe.data.labels import Labels, rename_labels
from hfpipe.data.parts import LabelledParts, load_labelled_parts
from hfpipe.data.record_stream import SourceFile
from hfpipe.data.records import Reading
from hfpipe.data.sources import PartSource
from hfpipe.data.table import ColumnRequest, LabelShape, Table, TableRequest, read_table
from hfpipe.data.targets import encode_table

RECIPES = Path(__file__).parents[2] / "recipes" / "custom_csv"
SETS: Sequence[Sequence[str]] = [["a"], ["b", "a"], [], ["c"], ["b"], ["a", "b", "c"], [], ["b"]]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load_sets(seed: int = 42, **values: object) -> LabelledParts:
    return load(seed, problem_type=MULTI_LABEL, **values)


def problems_of_sets(**values: object) -> list[str]:
    return problems_of(problem_type=MULTI_LABEL, **values)


def as_sets(parts: LabelledParts) -> dict[str, set[str]]:
    """Return the labels of each text that is used."""
    return {
        text: {name for name, value in zip(parts.label_names, row, strict=True) if value}
        for part in (parts.train, parts.validation)
        for text, row in zip(part.texts, part.targets, strict=True)
    }


def test_lists_and_divided_texts_are_the_same_labels_in_every_format() -> None:
    expected = {f"t{row}": set(labels) for row, labels in enumerate(SETS)}
    listed = [(f"t{row}", labels) for row, labels in enumerate(SETS)]
    divided = [(f"t{row}", " ; ".join(labels)) for row, labels in enumerate(SETS)]
    write_jsonl("lists.jsonl", listed)
    write_jsonl("texts.jsonl", divided)
    write_csv("texts.csv", divided)
    columns = {"text": [text for text, _ in listed], "label": [labels for _, labels in listed]}
    pyarrow.parquet.write_table(pyarrow.table(columns), "lists.parquet")
    for name, delimiter in {"lists.jsonl": None, "lists.parquet": None, "texts.jsonl": ";", "texts.csv": ";"}.items():
        parts = load_sets(train_file=name, label_delimiter=delimiter)
        assert parts.problem_type == MULTI_LABEL
        assert parts.label_names == ("a", "b", "c")
        assert parts.train.targets.dtype == np.float32
        assert as_sets(parts) == expected


def test_whole_numbers_in_lists_are_ordered_as_numbers_and_may_be_named() -> None:
    rows = [(f"t{row}", [row % 12, (row * 5 + 1) % 12]) for row in range(36) if row % 12 != (row * 5 + 1) % 12]
    names = {str(number): f"n{number}" for number in range(12)}
    train = write_jsonl("a.jsonl", rows)
    assert load_sets(train_file=train).label_names == tuple(map(str, range(12)))
    assert load_sets(train_file=train, label_names=names).label_names == tuple(names.values())


def test_a_missing_label_is_unlabelled_and_an_empty_list_is_a_row_without_labels() -> None:
    rows: Rows = [*((f"t{row}", labels) for row, labels in enumerate(SETS)), ("x", None), ("y", [])]
    lines = load_sets(train_file=write_jsonl("a.jsonl", rows), validation_fraction=0.2).summary.lines()
    assert "train: left out: no label: 1 (a.jsonl:9)" in lines
    assert [line for line in lines if "no label at all" in line or "labels a row" in line] == [
        "train: kept: no label at all (an empty list or cell): 2 (a.jsonl:7, a.jsonl:10)",
        "validation: kept: no label at all (an empty list or cell): 1 (a.jsonl:3)",
        "train: 0.6 labels a row on average, 1 at most; 2 rows have none",
        "validation: 1.5 labels a row on average, 3 at most; 1 row has none",
    ]


def test_an_empty_cell_is_a_row_without_labels_and_is_counted() -> None:
    rows: Rows = [*((f"t{row}", ";".join(labels)) for row, labels in enumerate(SETS)), ("x", " ")]
    parts = load_sets(train_file=write_csv("a.csv", rows), label_delimiter=";")
    accounts = parts.summary.parts
    assert "unlabelled" not in accounts["train"].left_out
    noted = [account.noted["without_labels"] for account in accounts.values() if "without_labels" in account.noted]
    assert sum(rows.count for rows in noted) == 3
    assert {place for rows in noted for place in rows.examples} == {"a.csv:4", "a.csv:8", "a.csv:10"}
    assert as_sets(parts)["x"] == set()


def test_the_summary_counts_rows_by_label() -> None:
    rows = [(f"t{row}", labels) for row, labels in enumerate([*SETS, ["rare"]])]
    summary = load_sets(train_file=write_jsonl("a.jsonl", rows)).summary
    labels = {label: sum(counts.values()) for label, counts in summary.label_counts.items()}
    assert labels == {"a": 3, "b": 4, "c": 2, "rare": 1}
    assert "label 3: 'rare': 1 train, 0 validation" in summary.lines()
    assert json.loads(json.dumps(summary.to_json(), allow_nan=False)) == summary.to_json()
    targets = summary.to_json()["targets"]["train"]
    assert set(targets) == {"mean_labels", "maximum_labels", "rows_without_labels"}
    unseen = [label for label, counts in summary.label_counts.items() if not counts["validation"]]
    listed = ", ".join(map(repr, unseen))
    assert f"no row of the validation part has {listed}: it does not tell how well they are found" in summary.lines()


def test_equal_texts_with_other_sets_contradict_each_other_whatever_the_order() -> None:
    rows: Rows = [
        *((f"t{row}", labels) for row, labels in enumerate(SETS)),
        *[("t1", ["a", "b"]), ("t0", ["a", "b"]), ("t2", ["a"])],
    ]
    left_out = load_sets(train_file=write_jsonl("a.jsonl", rows)).summary.parts["train"].left_out
    assert left_out["duplicate"].examples == ("a.jsonl:9",)
    assert left_out["conflicting"].examples == ("a.jsonl:1", "a.jsonl:3", "a.jsonl:10")


REFUSED_VALUES: dict[str, tuple[object, str | None, str]] = {
    "twice": (
        ["a", "b", "a"],
        None,
        "a.jsonl:9: label 'a' stands 2 times: a row has a label once; remove the others",
    ),
    "zeros and ones": (
        ["0", "1", "0"],
        None,
        "a.jsonl:9: label '0' stands 2 times: a row has a label once; "
        "a list names the labels a row has, as in [3, 7], and holds no zeros for the others",
    ),
    "a null in a list": (
        ["a", None],
        None,
        "a.jsonl:9: column 'label' holds a list, \"['a', None]\": a label in it is empty; "
        "remove it: an empty list is a row without labels",
    ),
    "decimals": (
        [1.5],
        None,
        "a.jsonl:9: column 'label' holds a list, '[1.5]': the labels in a list are texts or whole numbers",
    ),
    "a text without a delimiter": (
        "a|b",
        None,
        "a.jsonl:9: column 'label' holds a text, 'a|b': the labels of a row are a list, or a text with a delimiter; "
        "set label_delimiter: '|', or write lists",
    ),
    "a number": (
        3,
        ";",
        "a.jsonl:9: column 'label' holds a number, '3': the labels of a row are a list, or a text with a delimiter",
    ),
    "an empty label": (
        "a;;b",
        ";",
        "a.jsonl:9: column 'label' holds a text, 'a;;b': an empty label between delimiters; "
        "remove the ';' that divides nothing",
    ),
    "numbers beside texts": (
        [1],
        None,
        "a.jsonl: labels are texts (9, as a.jsonl:1), numbers (1, as a.jsonl:9): "
        "labels are of one type; write all as texts",
    ),
}


@pytest.mark.parametrize("value, delimiter, message", REFUSED_VALUES.values(), ids=REFUSED_VALUES.keys())
def test_values_that_are_refused(value: object, delimiter: str | None, message: str) -> None:
    rows: Rows = [*((f"t{row}", labels) for row, labels in enumerate(SETS)), ("x", value)]
    assert problems_of_sets(train_file=write_jsonl("a.jsonl", rows), label_delimiter=delimiter) == [message]


REFUSED_LABELS: dict[str, tuple[Sequence[str], str, str]] = {
    "look-alikes in one set": (
        ["a;b", "B", "a", "b"],
        ";",
        "labels 'B' (1 row: a.csv:3), 'b' (2 rows: a.csv:2, a.csv:5): "
        "differ only in case, white space or invisible characters; write one of them everywhere",
    ),
    "another delimiter": (
        ["a|b", "c", "a|c"],
        ";",
        "label_delimiter ';' divides no label: '|' stands in 2 of them, as in 'a|b'; set label_delimiter: '|'",
    ),
    "a single label": (
        ["a", "", "a"],
        ";",
        "the only label is 'a': several labels are two at least; "
        "write two labels, one for the rows without it, and remove problem_type and label_delimiter",
    ),
    "no label": (["", "", ""], ";", "no row has a label: there is nothing to learn"),
    "no row that can be held out": (
        ["a;b"],
        ";",
        "1 usable rows: none can be spared for validation: its labels would be lost; add rows, or set validation_file",
    ),
}


@pytest.mark.parametrize("cells, delimiter, message", REFUSED_LABELS.values(), ids=REFUSED_LABELS.keys())
def test_labels_that_are_refused(cells: Sequence[str], delimiter: str, message: str) -> None:
    train = write_csv("a.csv", [(f"t{row}", cell) for row, cell in enumerate(cells)])
    assert problems_of_sets(train_file=train, label_delimiter=delimiter) == [f"a.csv: {message}"]


def test_a_csv_file_needs_a_delimiter() -> None:
    assert problems_of_sets(train_file=write_csv("a.csv", [("t", "a;b")])) == [
        "a.csv: several labels in a cell: its cells are texts, and problem_type: multi_label_classification needs to "
        "know where one label ends; set label_delimiter, as in label_delimiter: ';'"
    ]


def test_labels_without_a_usable_row_and_labels_unknown_to_training_are_refused() -> None:
    rows = [*((f"t{row}", ";".join(labels)) for row, labels in enumerate(SETS)), ("same", "gone"), ("same", "gone;a")]
    train = write_csv("a.csv", rows)
    assert problems_of_sets(train_file=train, label_delimiter=";") == [
        "a.csv: label 'gone' has 0 usable rows: one is needed for training; add rows, or remove the label"
    ]
    test = write_csv("t.csv", [("x", "a;z"), ("y", "z")])
    train = write_csv("a.csv", rows[:8])
    assert problems_of_sets(train_file=train, test_file=test, label_delimiter=";") == [
        "t.csv: label 'z' in 2 rows: t.csv:2, t.csv:3: no row of the training part has it; the labels are 'a', 'b', 'c'"
    ]


def test_what_tells_little_is_said() -> None:
    rows = [(f"t{row}", f"always;{'ab'[row % 2]}") for row in range(8)]
    lines = load_sets(train_file=write_csv("a.csv", rows), label_delimiter=";").summary.lines()
    assert "every row of a.csv has the label 'always': there is nothing to learn about it" in lines
    single = write_csv("b.csv", [(f"t{row}", "ab"[row % 2]) for row in range(8)])
    lines = load_sets(train_file=single, label_delimiter=";").summary.lines()
    assert "b.csv: label_delimiter ';' divides no label: every row has one at most" in lines


def test_a_sample_must_hold_every_label() -> None:
    train = write_csv("a.csv", [(f"t{row}", ("a;b", "c;d", "e")[row % 3]) for row in range(12)])
    assert problems_of_sets(train_file=train, label_delimiter=";", max_train_samples=2) == [
        "max_train_samples: 2: 3 rows are needed for 5 labels to have one each; raise it"
    ]
    parts = load_sets(train_file=train, label_delimiter=";", max_train_samples=3)
    assert parts.train.targets.sum(axis=0).tolist() == [1] * 5


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(["x", "y", "z", ""]), st.none() | st.sets(st.sampled_from("abc"))), max_size=25),
    st.integers(0, 9),
)
def test_every_row_is_used_or_listed(rows: list[tuple[str, set[str] | None]], seed: int) -> None:
    odd = [(text, labels if labels is None else sorted(labels)) for text, labels in rows]
    fixed = [(f"t{row}", labels) for row, labels in enumerate(SETS)]
    parts = load_sets(seed, train_file=write_jsonl("a.jsonl", [*fixed, *odd]))
    account = parts.summary.parts["train"]
    assert account.read == 8 + len(rows) == account.used + sum(left.count for left in account.left_out.values())
    assert account.used == len(parts.train.texts) == len(set(parts.train.texts)) == len(parts.train.targets)
    assert not set(parts.train.texts) & set(parts.validation.texts)
    assert parts.train.targets.any(axis=0).all()
    assert account.left_out["held_out_for_validation"].count == len(parts.validation.texts) > 0


def read_sets(name: str) -> Table:
    request = TableRequest(ColumnRequest(None, None, labelled=True), Reading(), LabelShape(MULTI_LABEL, ";"))
    return read_table(PartSource("test", (SourceFile(Path(name), name),)), request, Findings())


def test_a_table_is_encoded_for_a_finished_model() -> None:
    table = read_sets(write_csv("a.csv", [("t", "1;0"), ("u", ""), ("v", "1")]))
    renamed = rename_labels(table, {"0": "zero", "1": "one"})
    assert renamed.label_sets == [("one", "zero"), (), ("one",)]
    encoded = encode_table(renamed, problem_type=MULTI_LABEL, label_names=("zero", "one"))
    assert encoded.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]
    assert Labels(("x",), ("x",)).encode_sets([]).shape == (0, 1)


def test_the_run_that_ships_reads_its_example() -> None:
    rows = [(f"t{row}", ("delivery;damage", "delivery", "")[row % 3]) for row in range(12)]
    write_csv("train.csv", rows, header="text,labels")
    parts = load_labelled_parts(load_config(["--config", str(RECIPES / "multi_label.yaml")]).data, seed=42)
    assert parts.label_names == ("damage", "delivery")
    assert {tuple(row) for row in parts.train.targets.tolist()} == {(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)}


def test_classes_made_of_other_classes_are_noted() -> None:
    made = [("a", "film;good"), ("b", "film"), ("c", "good"), ("d", "thing"), ("e", "rock; pop")] * 2
    rows = [(f"{text}{row}", label) for row, (text, label) in enumerate(made)]
    notes = load(train_file=write_csv("a.csv", rows)).summary.notes
    told = "labels such as 'film;good' are made of others: if a row may have several, set label_delimiter: ';'"
    assert notes == (told,)
    alone = [(text, label) for text, label in rows if label != "film;good"]
    assert load(train_file=write_csv("b.csv", alone)).summary.notes == ()
