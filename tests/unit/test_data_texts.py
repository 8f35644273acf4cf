"""Texts of several columns, and second texts: what is joined, what is empty, and what is equal."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from data_files import load, problems_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfpipe.config import load_config
from hfpipe.config.sections import DataSettings
from hfpipe.data.parts import load_document_parts, load_labelled_parts

Rows = Sequence[tuple[object, ...]]
RECIPES = Path(__file__).parents[2] / "recipes" / "custom_csv"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, header: str, rows: Rows) -> str:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


JOINED: Rows = [(f"t{row}", f"b{row}", row % 2) for row in range(8)]


def test_columns_are_joined_in_the_order_given_from_the_parts_that_are_there() -> None:
    odd: Rows = [("only", "", 0), ("", " ", 1), ("", "alone", 1), (" a ", "b", 0)]
    train = write("a.csv", "title,body,label", [*JOINED, *odd])
    parts = load(train_file=train, text_column_names=("body", "title"), text_column_delimiter=" | ")
    texts = {*parts.train.texts, *parts.validation.texts}
    assert texts == {*(f"b{row} | t{row}" for row in range(8)), "only", "alone", "b |  a "}
    assert parts.summary.lines()[0] == (
        "columns: text 'body' + 'title' (set by text_column_names), label 'label' (found by its name)"
    )
    assert parts.summary.parts["train"].left_out["empty"].examples == ("a.csv:11",)
    assert "a.csv: 2 rows lack one of 'body', 'title', a.csv:10 first: joined without it" in parts.summary.lines()
    assert parts.summary.to_json()["columns"] == {
        "text": ["body", "title"],
        "text_found": "set by text_column_names",
        "text_delimiter": " | ",
        "text_pair": None,
        "label": "label",
        "label_found": "found by its name",
        "slices": [],
        "unread": [],
    }


def test_equal_joint_texts_are_repeats() -> None:
    train = write("a.csv", "title,body,label", [*JOINED, ("t0", "b0", 0), ("t1", "b1", 0)])
    left_out = load(train_file=train, text_column_names=("title", "body")).summary.parts["train"].left_out
    assert left_out["duplicate"].examples == ("a.csv:10",)
    assert left_out["conflicting"].examples == ("a.csv:3", "a.csv:11")


def test_documents_are_joined_too() -> None:
    lines = [json.dumps({"title": f"t{row}", "body": None if row == 1 else f"b{row}"}) for row in range(4)]
    Path("a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    parts = load_document_parts(DataSettings(train_file=("a.jsonl",), text_column_names=("title", "body")), seed=1)
    assert sorted([*parts.train.texts, *parts.validation.texts]) == ["t0 b0", "t1", "t2 b2", "t3 b3"]


def test_other_files_have_the_same_columns() -> None:
    train = write("a.csv", "title,body,label", JOINED)
    test = write("t.csv", "title,text,label", [("x", "y", 1)])
    assert problems_of(train_file=train, test_file=test, text_column_names=("title", "body")) == [
        "t.csv:1: no column 'body': the columns are 'title', 'text', 'label'; "
        "name the text column as in the first training file"
    ]


REFUSED = {
    "one name for two": (
        {"text_column_names": ("title, body",)},
        "no column 'title, body': the columns are 'title', 'body', 'label'; write text_column_names: [title, body]",
    ),
    "twice": ({"text_column_names": ("title", "title")}, "column 'title': named 2 times; set text_column_names"),
    "a label": (
        {"text_column_names": ("title", "label"), "label_column_name": "label"},
        "column 'label': is text and label at once; set label_column_name",
    ),
    "one misspelt": (
        {"text_column_names": ("title", "bdy")},
        "no column 'bdy': the columns are 'title', 'body', 'label'; did you mean text_column_names: body?",
    ),
    "no such second text": (
        {"text_column_names": ("title",), "text_pair_column_name": "bodi"},
        "no column 'bodi': the columns are 'title', 'body', 'label'; did you mean text_pair_column_name: body?",
    ),
    "the same text twice": (
        {"text_column_names": ("title", "body"), "text_pair_column_name": "body"},
        "column 'body': is text and second text at once; set text_pair_column_name",
    ),
    "the label as second text": (
        {"text_column_names": ("title",), "text_pair_column_name": "label", "label_column_name": "label"},
        "column 'label': is label and second text at once; set text_pair_column_name",
    ),
}


@pytest.mark.parametrize("values, message", REFUSED.values(), ids=REFUSED.keys())
def test_columns_that_are_refused(values: dict[str, object], message: str) -> None:
    train = write("a.csv", "title,body,label", JOINED)
    assert problems_of(train_file=train, **values) == [f"a.csv:1: {message}"]


def test_values_of_every_text_column_are_texts() -> None:
    lines = [json.dumps({"a": f"t{row}", "b": "x", "c": "y", "label": row % 2}) for row in range(8)]
    lines.append(json.dumps({"a": 1, "b": 2.5, "c": ["z"], "label": 0}))
    Path("a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert problems_of(train_file="a.jsonl", text_column_names=("a", "b"), text_pair_column_name="c") == [
        "a.jsonl:9: column 'a' holds a number, '1': a text is expected; write it as a text, or name another column",
        "a.jsonl:9: column 'b' holds a number with decimals, '2.5': a text is expected; "
        "write it as a text, or name another column",
        "a.jsonl:9: column 'c' holds a list, \"['z']\": a text is expected; write it as a text, or name another column",
    ]


PAIRS: Rows = [(f"p{row // 4}", f"h{row}", ("no", "yes")[row % 2]) for row in range(16)]


def test_pairs_are_kept_together_and_told_apart_by_both_texts() -> None:
    odd: Rows = [("p0", "h0", "no"), ("p0", "h1", "no"), ("", "h", "no"), ("p", " ", "no"), ("p1", "judged", "yes")]
    train = write("a.csv", "premise,hypothesis,label", [*PAIRS, *odd])
    test = write("t.csv", "premise,hypothesis,label", [("p1", "judged", "yes"), ("p0", "h9", "no")])
    parts = load(train_file=train, test_file=test, text_pair_column_name="hypothesis")
    left_out = parts.summary.parts["train"].left_out
    assert {reason: rows.examples for reason, rows in left_out.items() if reason != "held_out_for_validation"} == {
        "empty": ("a.csv:20", "a.csv:21"),
        "in_validation_or_test": ("a.csv:22",),
        "conflicting": ("a.csv:3", "a.csv:19"),
        "duplicate": ("a.csv:18",),
    }
    label_of = {row[:2]: row[2] for row in PAIRS}
    for part in (parts.train, parts.validation):
        assert part.text_pairs is not None
        for text, pair, target in zip(part.texts, part.text_pairs, part.targets, strict=True):
            assert parts.label_names[target] == label_of[text, pair]
    assert parts.test is not None
    assert (parts.test.texts, parts.test.text_pairs) == (["p1", "p0"], ["judged", "h9"])
    assert parts.columns.line() == (
        "columns: text 'premise' (the only other column), second text 'hypothesis' (set by text_pair_column_name), "
        "label 'label' (found by its name)"
    )


def test_without_a_second_text_there_are_no_pairs() -> None:
    parts = load(train_file=write("a.csv", "text,other,label", JOINED))
    assert parts.train.text_pairs is None
    assert parts.validation.text_pairs is None


def test_the_run_on_pairs_that_ships_reads_its_example() -> None:
    rows: Rows = [(f"q{row}", f"a{row}", ("answered", "open")[row % 2]) for row in range(8)]
    write("train.csv", "question,answer,label", rows)
    parts = load_labelled_parts(load_config(["--config", str(RECIPES / "pairs.yaml")]).data, seed=42)
    assert parts.label_names == ("answered", "open")
    assert parts.train.text_pairs == [text.replace("q", "a") for text in parts.train.texts]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(*[st.sampled_from(["a", "b", "", " "])] * 3, st.sampled_from(["x", "y", ""])), max_size=25),
    st.integers(0, 9),
)
def test_every_pair_of_joined_texts_is_used_or_listed(rows: list[tuple[str, str, str, str]], seed: int) -> None:
    fixed: Rows = [(f"f{row}", "g", f"h{row % 2}", "xy"[row % 2]) for row in range(8)]
    train = write("a.csv", "a,b,c,label", [*fixed, *rows])
    parts = load(seed, train_file=train, text_column_names=("a", "b"), text_pair_column_name="c")
    account = parts.summary.parts["train"]
    assert account.read == 8 + len(rows) == account.used + sum(left.count for left in account.left_out.values())
    seen = [
        row for part in (parts.train, parts.validation) for row in zip(part.texts, part.text_pairs or (), strict=True)
    ]
    assert len(seen) == len(set(seen)) == account.used + account.left_out["held_out_for_validation"].count
    joined = {(" ".join(str(part) for part in row[:2] if str(part).strip()), str(row[2])) for row in [*fixed, *rows]}
    assert set(seen) <= {row for row in joined if row[0] and row[1].strip()}
