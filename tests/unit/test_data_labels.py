"""Labels and columns: their order and names, how they are found, and which are refused."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from data_files import GOOD, Rows, load, problems_of, write_csv, write_jsonl

from hfpipe.data.columns import ColumnRequest, find_text_columns
from hfpipe.data.findings import Findings
from hfpipe.data.label_names import name_brought
from hfpipe.data.labels import find_labels, order_labels
from hfpipe.data.record_stream import SourceFile
from hfpipe.data.records import Reading
from hfpipe.data.sources import PartSource
from hfpipe.data.table import TableRequest, read_table
from hfpipe.errors import DataError

OR_WHOLE = "or write whole ones (pandas turns 1 into 1.0 where a label is missing)"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_whole_numbers_are_ordered_as_numbers_in_every_format() -> None:
    assert order_labels({"10", "2", "0", "-1"}) == ("-1", "0", "2", "10")
    assert order_labels({"10", "2", "01"}) == ("01", "10", "2")
    rows = [(f"t{row}", row % 12) for row in range(48)]
    write_jsonl("a.jsonl", rows)
    write_csv("b.csv", [("x", 11), ("y", 2)])
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    pyarrow.parquet.write_table(pyarrow.table(columns), "c.parquet")
    numbers = tuple(str(number) for number in range(12))
    assert load(train_file="a.jsonl", test_file="b.csv").label_names == numbers
    parts = load(train_file="c.parquet", test_file="b.csv")
    assert parts.label_names == numbers
    assert parts.test is not None
    assert parts.test.targets.tolist() == [11, 2]


def test_truth_values_are_labels() -> None:
    rows = [(f"t{row}", row % 2 == 0) for row in range(8)]
    assert load(train_file=write_jsonl("a.jsonl", rows)).label_names == ("false", "true")


def test_readable_names_replace_labels_in_their_order() -> None:
    rows = [(f"t{row}", row % 2) for row in range(8)]
    parts = load(train_file=write_csv("a.csv", rows), label_names={"1": "a good one", "0": "bad"})
    assert parts.label_names == ("bad", "a good one")
    assert list(parts.summary.label_counts) == ["bad", "a good one"]


LABEL_PROBLEMS: dict[str, tuple[Rows, list[str]]] = {
    "case": (
        [*GOOD, ("x", "Pos"), ("y", "Pos")],
        [
            "a.csv: labels 'Pos' (2 rows: a.csv:22, a.csv:23), 'pos' (10 rows: a.csv:2, a.csv:4, a.csv:6, ...): "
            "differ only in case, white space or invisible characters; write one of them everywhere"
        ],
    ),
    "white space": (
        [*GOOD, ("x", "pos "), ("y", "pos ")],
        [
            "a.csv: labels 'pos' (10 rows: a.csv:2, a.csv:4, a.csv:6, ...), 'pos ' (2 rows: a.csv:22, a.csv:23): "
            "differ only in case, white space or invisible characters; write one of them everywhere"
        ],
    ),
    "an invisible character": (
        [*GOOD, ("x", "pos\u200b"), ("y", "pos\u200b")],
        [
            "a.csv: labels 'pos' (10 rows: a.csv:2, a.csv:4, a.csv:6, ...), 'pos\\u200b' (2 rows: a.csv:22, a.csv:23): "
            "differ only in case, white space or invisible characters; write one of them everywhere"
        ],
    ),
    "white space everywhere": (
        [("a", " x"), ("b", " x"), ("c", "y"), ("d", "y")],
        ["a.csv: label ' x' (2 rows: a.csv:2, a.csv:3): white space around it; remove it"],
    ),
    "leading zeros": (
        [("a", "01"), ("b", "1"), ("c", "01"), ("d", "1")],
        [
            "a.csv: labels '01' (2 rows: a.csv:2, a.csv:4), '1' (2 rows: a.csv:3, a.csv:5): "
            "differ only in leading zeros; write one of them everywhere"
        ],
    ),
    "decimals": (
        [("a", "1.0"), ("b", "0.0"), ("c", "1.0"), ("d", "")],
        [
            "a.csv: labels such as '0.0', '1.0': numbers with decimals are no labels; "
            "write whole numbers or names (pandas turns 1 into 1.0 where a label is missing), "
            "or set problem_type: regression to predict numbers"
        ],
    ),
    "an id": (
        [(f"t{row}", row * 7) for row in range(50)],
        [
            "a.csv: 50 different labels in 50 rows, as '0', '7', '14': more than half as many as rows: "
            "a number to predict, an id or a text, not a label; check label_column_name, "
            "or set problem_type: regression to predict numbers"
        ],
    ),
    "one class": ([("a", "x"), ("b", "x")], ["a.csv: every row has the label 'x': a classifier needs two labels"]),
    "a class of one row": (
        [*GOOD, ("x", "rare")],
        [
            "a.csv: label 'rare' has 1 usable row (1 row: a.csv:22): one for training and one for validation "
            "are needed; add rows, or remove the label, or set validation_file"
        ],
    ),
}


@pytest.mark.parametrize("rows, messages", LABEL_PROBLEMS.values(), ids=LABEL_PROBLEMS.keys())
def test_labels_that_are_refused(rows: Rows, messages: list[str]) -> None:
    assert problems_of(train_file=write_csv("a.csv", rows)) == messages


TYPE_PROBLEMS: dict[str, tuple[Rows, str]] = {
    "mixed labels": (
        [("a", 1), ("b", "1"), ("c", 0)],
        "a.jsonl: labels are numbers (2, as a.jsonl:1), texts (1, as a.jsonl:2): "
        "labels are of one type; write all as texts",
    ),
    "decimal label": (
        [*GOOD, ("x", 1.5)],
        "a.jsonl:21: column 'label' holds a number with decimals, '1.5': a label is a text or a whole number; "
        f"set problem_type: regression to predict numbers, {OR_WHOLE}",
    ),
    "several labels": (
        [*GOOD, ("x", ["a"])],
        "a.jsonl:21: column 'label' holds a list, \"['a']\": a row has one label; "
        "set problem_type: multi_label_classification for lists of them",
    ),
    "number as text": (
        [*GOOD, (5, "pos")],
        "a.jsonl:21: column 'text' holds a number, '5': a text is expected; write it as a text, or name another column",
    ),
}


@pytest.mark.parametrize("rows, message", TYPE_PROBLEMS.values(), ids=TYPE_PROBLEMS.keys())
def test_values_of_another_type_are_refused(rows: Rows, message: str) -> None:
    assert problems_of(train_file=write_jsonl("a.jsonl", rows)) == [message]


def test_labels_unknown_to_training_are_listed_with_all_other_problems() -> None:
    train = write_csv("train.csv", GOOD)
    validation = write_csv("val.csv", [("a", "Pos"), ("b", "odd"), ("c", "odd")])
    test = write_csv("test.csv", [("a", "pos")], header="review,label")
    assert problems_of(train_file=train, validation_file=validation, test_file=test) == [
        "test.csv:1: no column 'text': the columns are 'review', 'label'; "
        "name the text column as in the first training file",
        "val.csv: label 'Pos' in 1 row: val.csv:2: no row of the training part has it; did you mean 'pos'?",
        "val.csv: label 'odd' in 2 rows: val.csv:3, val.csv:4: no row of the training part has it; "
        "the labels are 'neg', 'pos'",
    ]


def test_names_must_cover_the_labels_and_nothing_else() -> None:
    train = write_csv("a.csv", GOOD)
    assert problems_of(train_file=train, label_names={"pos": "x", "odd": "y"}) == [
        "label_names: no name for label 'neg': all are named; add neg=<name>; named are 'pos', 'odd'",
        "label_names: odd: no such label: the labels of the training part are 'neg', 'pos'",
    ]
    assert problems_of(train_file=train, label_names={"pos": "x", "neg": "x"}) == [
        "label_names: 'x' names 2 labels: names are unique"
    ]


def test_a_training_sample_smaller_than_the_labels_is_refused() -> None:
    assert problems_of(train_file=write_csv("a.csv", GOOD), max_train_samples=1) == [
        "max_train_samples: 1: there are 2 labels, and each needs a row; raise it"
    ]


COLUMNS = {
    "known names": ("text,label", None, None, "text 'text' (found by its name), label 'label' (found by its name)"),
    "case and signs": (
        "Review_Text,Sentiment",
        None,
        None,
        "text 'Review_Text' (found by its name), label 'Sentiment' (found by its name)",
    ),
    "the other of two": (
        "v1,label",
        None,
        None,
        "text 'v1' (the only other column), label 'label' (found by its name)",
    ),
    "as set": (
        "a,b",
        "a",
        "b",
        "text 'a' (set by text_column_names), label 'b' (set by label_column_name)",
    ),
    "one set": ("a,b", "a", None, "text 'a' (set by text_column_names), label 'b' (the only other column)"),
}


@pytest.mark.parametrize("header, text, label, line", COLUMNS.values(), ids=COLUMNS.keys())
def test_columns_are_found_and_said(header: str, text: str | None, label: str | None, line: str) -> None:
    train = write_csv("a.csv", GOOD, header=header)
    assert load(train_file=train, text_column_names=text, label_column_name=label).columns.line() == f"columns: {line}"


def test_label_is_taken_before_other_columns_that_may_be_labels() -> None:
    lines = ["id,text,class,label", *(f"{row},t{row},c,{row % 2}" for row in range(8))]
    Path("a.csv").write_text("\n".join(lines), encoding="utf-8")
    parts = load(train_file="a.csv")
    assert parts.columns.line().endswith("label 'label' (found by its name); not read: id, class")
    assert parts.label_names == ("0", "1")


REFUSED_COLUMNS = {
    "none known": (
        "a,b,c",
        None,
        [
            "a.csv:1: no column is known to be the text: the columns are 'a', 'b', 'c'; set text_column_names",
            "a.csv:1: no column is known to be the label: the columns are 'a', 'b', 'c'; set label_column_name",
        ],
    ),
    "several": (
        "review,comment,label",
        None,
        ["a.csv:1: 2 columns may be the text: 'review', 'comment'; set text_column_names"],
    ),
    "a row instead of names": (
        "loved every minute of it,1,x",
        None,
        [
            "a.csv:1: no column is known to be the text: the columns are 'loved every minute of it', '1', 'x'; "
            "the first line looks like a row, not like names of columns; set text_column_names",
            "a.csv:1: no column is known to be the label: the columns are 'loved every minute of it', '1', 'x'; "
            "the first line looks like a row, not like names of columns; set label_column_name",
        ],
    ),
    "misspelt": (
        "text,label,id",
        "txt",
        ["a.csv:1: no column 'txt': the columns are 'text', 'label', 'id'; did you mean text_column_names: text?"],
    ),
    "one for both": (
        "text,label,id",
        "label",
        ["a.csv:1: column 'label': is text and label at once; set label_column_name"],
    ),
}


@pytest.mark.parametrize("header, text, messages", REFUSED_COLUMNS.values(), ids=REFUSED_COLUMNS.keys())
def test_columns_that_are_refused(header: str, text: str | None, messages: list[str]) -> None:
    Path("a.csv").write_text(f"{header}\na,b,c\n", encoding="utf-8")
    assert problems_of(train_file="a.csv", text_column_names=text) == messages


def test_the_text_column_of_a_file_to_predict_on() -> None:
    assert find_text_columns(["id", "review"], wanted=["text"], name="a.csv") == ("review",)
    assert find_text_columns(["review", "text"], wanted=["review"], name="a.csv") == ("review",)
    assert find_text_columns(["v1"], wanted=["text"], name="a.csv") == ("v1",)
    joined = find_text_columns(["id", "body", "title"], wanted=["title", "body"], name="a.csv")
    assert joined == ("title", "body")
    with pytest.raises(DataError, match=r"a\.csv:1: no column is known to be the text: the columns are 'a', 'b'"):
        find_text_columns(["a", "b"], wanted=["text"], name="a.csv")


def test_a_mixture_of_numbers_and_names_is_said() -> None:
    train = write_csv("a.csv", [*GOOD, ("x", "1"), ("y", "1")])
    note = "labels are numbers ('1') and names ('neg', 'pos'): check that both are meant"
    assert note in load(train_file=train).summary.lines()


def test_names_a_data_set_brings_are_those_of_the_labels_that_occur() -> None:
    findings = Findings()
    brought = {"0": "World", "1": "Sports", "2": "Business", "10": "Science"}
    assert name_brought(("0", "2", "11"), brought, findings) == ("World", "Business", "11")
    assert findings.notes == (
        "classes 'Sports', 'Science' of the data set have no row",
        "the data set has no name for the labels '11'",
    )
    assert not findings
    name_brought(("0", "1"), {"0": "same", "1": "same"}, findings)
    assert [str(problem) for problem in findings.problems()] == ["label_names: 'same' names 2 labels: names are unique"]


def test_names_of_the_user_take_precedence_over_those_a_data_set_brings() -> None:
    request = TableRequest(ColumnRequest(None, None, labelled=True), Reading())
    name = write_csv("a.csv", [("a", "1"), ("b", "0"), ("c", "10")])
    table = read_table(PartSource("train_file", (SourceFile(Path(name), name),)), request, Findings())
    brought = {"0": "bad", "1": "good", "10": "odd"}
    findings = Findings()
    assert find_labels(table, findings, named=None, brought=brought).names == ("bad", "good", "odd")
    own = {"0": "neg", "1": "pos", "10": "x"}
    assert find_labels(table, findings, named=own, brought=brought).names == ("neg", "pos", "x")
    find_labels(table, findings, named={"0": "neg"}, brought=brought)
    assert len(findings.problems()) == 2
