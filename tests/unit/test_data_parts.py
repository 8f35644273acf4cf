"""Parts from files: which rows are used, and what becomes of the others."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from data_files import GOOD, Rows, load, problems_of, write_csv, write_jsonl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfpipe.config.sections import DataSettings
from hfpipe.data.accounting import fingerprint
from hfpipe.data.parts import load_document_parts, load_labelled_parts
from hfpipe.data.record_stream import SourceFile
from hfpipe.errors import DataError


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_row_is_used_or_listed() -> None:
    test = write_csv("test.csv", [("judged", "pos"), ("judged", "pos"), ("other", "neg"), ("", "neg")])
    odd: Rows = [("same", "pos"), ("same", "neg"), ("text 1", "neg"), (" ", "pos"), ("q", ""), ("judged", "neg")]
    parts = load(train_file=write_csv("train.csv", [*GOOD, *odd, ("NA", "pos"), ("null", "neg")]), test_file=test)
    train = parts.summary.parts["train"]
    assert {reason: (rows.count, rows.examples[:2]) for reason, rows in train.left_out.items()} == {
        "empty": (1, ("train.csv:25",)),
        "unlabelled": (1, ("train.csv:26",)),
        "in_validation_or_test": (1, ("train.csv:27",)),
        "conflicting": (2, ("train.csv:22", "train.csv:23")),
        "duplicate": (1, ("train.csv:24",)),
        "held_out_for_validation": (2, train.left_out["held_out_for_validation"].examples),
    }
    assert (train.read, train.used, len(parts.train.texts)) == (28, 20, 20)
    assert {"NA", "null"} <= {*parts.train.texts, *parts.validation.texts}
    account = parts.summary.parts["test"]
    assert (account.read, account.used, account.left_out["empty"].examples) == (4, 3, ("test.csv:5",))
    assert account.noted["duplicate"].examples == ("test.csv:3",)
    assert parts.test is not None
    assert parts.test.texts == ["judged", "judged", "other"]


def test_labels_texts_and_places_stay_together() -> None:
    parts = load(train_file=write_csv("train.csv", GOOD))
    assert parts.label_names == ("neg", "pos")
    expected = dict(GOOD)
    for part in (parts.train, parts.validation):
        assert part.targets.dtype == np.int64
        for row, text in enumerate(part.texts):
            assert parts.label_names[part.targets[row]] == expected[text]
            assert part.places.place(row) == f"train.csv:{int(text.split()[1]) + 2}"


def test_the_log_says_each_fact_in_a_line() -> None:
    lines = load(train_file=write_csv("train.csv", [*GOOD, ("", "pos"), ("text 3", "neg")])).summary.lines()
    assert lines[:-1] == [
        "columns: text 'text' (found by its name), label 'label' (found by its name)",
        "train: 22 rows from train.csv = 18 used + 1 empty + 1 duplicate + 2 held out for validation",
        "train: left out: empty text: 1 (train.csv:22)",
        "train: left out: same text as an earlier row: 1 (train.csv:23)",
        "validation: 2 rows from the training part (share 0.1) = 2 used",
        "label 0: 'neg': 9 train, 1 validation",
        "label 1: 'pos': 9 train, 1 validation",
    ]
    assert lines[-1].startswith("file train.csv: 257 bytes, sha256 ")


def test_the_summary_is_json_and_takes_the_over_long_texts() -> None:
    summary = load(train_file=write_csv("train.csv", GOOD)).summary.with_over_long({"train": (4, ["train.csv:2"])})
    assert summary.to_json()["parts"]["train"]["noted"] == {"over_long": {"count": 4, "examples": ["train.csv:2"]}}
    assert json.loads(json.dumps(summary.to_json(), allow_nan=False)) == summary.to_json()
    assert "train: kept: too long to be kept whole, cut as long_texts says: 4 (train.csv:2, ...)" in summary.lines()


def test_what_has_an_identity_is_known_by_it_and_not_read() -> None:
    identity = "owner/reviews@c0ffee, split train, 5 rows"
    found = fingerprint(SourceFile(Path("nowhere.arrow"), "owner/reviews[train]", identity=identity))
    assert found.to_json() == {
        "name": "owner/reviews[train]",
        "identity": identity,
        "sha256": hashlib.sha256(identity.encode()).hexdigest(),
    }
    assert found.line() == f"data owner/reviews[train]: {identity}"


def test_samples_are_cut_after_the_split_and_accounted_for() -> None:
    train, test = write_csv("train.csv", GOOD), write_csv("test.csv", [("a", "pos"), ("b", "neg"), ("c", "neg")])
    whole = load(train_file=train, test_file=test, validation_fraction=0.5)
    cut = load(
        train_file=train,
        test_file=test,
        validation_fraction=0.5,
        max_train_samples=4,
        max_eval_samples=2,
        max_predict_samples=1,
    )
    assert cut.test is not None
    assert [len(part.texts) for part in (cut.train, cut.validation, cut.test)] == [4, 2, 1]
    assert set(cut.train.texts) <= set(whole.train.texts)
    assert set(cut.validation.texts) <= set(whole.validation.texts)
    assert np.bincount(cut.train.targets).tolist() == [2, 2]
    assert cut.summary.parts["train"].left_out["over_max_samples"].count == 6


def test_the_seed_decides_the_split_and_nothing_else_does() -> None:
    train = write_csv("train.csv", GOOD)
    assert load(train_file=train).validation.texts == load(train_file=train).validation.texts
    seen = {tuple(load(seed, train_file=train).validation.texts) for seed in range(5)}
    assert len(seen) > 1


def test_a_validation_file_is_used_whole() -> None:
    validation = write_csv("val.csv", [("text 1", "neg"), ("v", "pos"), ("v", "pos")])
    parts = load(train_file=write_csv("train.csv", GOOD), validation_file=validation)
    assert parts.validation.texts == ["text 1", "v", "v"]
    assert parts.summary.parts["train"].left_out["in_validation_or_test"].examples == ("train.csv:3",)


def test_formats_with_the_same_columns_make_one_part() -> None:
    Path("d").mkdir()
    write_csv("d/a.csv", GOOD[:10])
    write_jsonl("d/b.jsonl", GOOD[10:])
    assert load(train_file="d").summary.parts["train"].used == 18
    Path("d/notes.txt").write_text("hello", encoding="utf-8")
    assert problems_of(train_file="d") == [
        "d/notes.txt: plain text: it has no labels; "
        "use .csv, .tsv, .jsonl or .parquet, or name the files with a glob such as data/*.csv"
    ]


def test_rows_of_several_lines_are_said_with_the_longest() -> None:
    rows = [*GOOD, ('"two\nlines"', "pos"), ('"TV 42,neg\nswallowed,pos\nTV 40"', "neg")]
    lines = load(train_file=write_csv("a.csv", rows)).summary.lines()
    assert "a.csv: 2 rows span several lines, the longest 3 from a.csv:24" in lines


def test_keys_that_differ_are_said() -> None:
    rows = [json.dumps({"text": f"t{row}", "label": row % 2}) for row in range(8)]
    Path("a.jsonl").write_text("\n".join([*rows, '{"text": "x"}']), encoding="utf-8")
    summary = load(train_file="a.jsonl").summary
    assert "a.jsonl: 1 line has other keys than the first, a.jsonl:9 to begin with" in summary.lines()
    assert summary.parts["train"].left_out["unlabelled"].examples == ("a.jsonl:9",)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", "", "d"]), st.sampled_from(["x", "y", ""])), max_size=30),
    st.integers(0, 9),
)
def test_counts_add_up_and_no_text_stands_on_two_sides(rows: list[tuple[str, str]], seed: int) -> None:
    fixed: Rows = [(f"x{row}", "xy"[row % 2]) for row in range(8)]
    parts = load(
        seed,
        train_file=write_jsonl("a.jsonl", [*fixed, *rows]),
        test_file=write_jsonl("t.jsonl", [("a", "x"), ("a", "x")]),
    )
    account = parts.summary.parts["train"]
    assert account.read == 8 + len(rows) == account.used + sum(left.count for left in account.left_out.values())
    assert account.used == len(parts.train.texts) == len(set(parts.train.texts))
    assert not {"a"} & {*parts.train.texts, *parts.validation.texts}
    assert not set(parts.train.texts) & set(parts.validation.texts)


def write_documents(folder: str, documents: Sequence[str]) -> str:
    Path(folder).mkdir()
    for number, document in enumerate(documents):
        Path(folder, f"{number}.txt").write_text(document, encoding="utf-8")
    return folder


def test_documents_are_files_or_lines() -> None:
    write_documents("d", ["one\n\nstill one", "two", "two", "  \n", "three"])
    parts = load_document_parts(DataSettings(train_file=("d",)), seed=1)
    assert sorted([*parts.train.texts, *parts.validation.texts]) == ["one\n\nstill one", "three", "two"]
    train = parts.summary.parts["train"]
    assert (train.read, train.used, train.left_out["duplicate"].examples) == (5, 2, ("d/2.txt:1",))
    assert train.left_out["empty"].examples == ("d/3.txt:1",)
    by_line = load_document_parts(DataSettings(train_file=("d",), document_per="line"), seed=1)
    assert by_line.summary.parts["train"].read == 5
    assert sorted([*by_line.train.texts, *by_line.validation.texts]) == ["one", "still one", "three", "two"]


def test_a_single_document_cannot_be_split() -> None:
    write_documents("d", ["one"])
    with pytest.raises(DataError) as caught:
        load_document_parts(DataSettings(train_file=("d",)), seed=1)
    assert str(caught.value) == (
        "the data has 1 problem:\n  - d/0.txt: a single document: one document cannot be both trained on and held out; "
        "set document_per: line or paragraph where a file has several documents, or validation_file"
    )


def test_sources_of_a_single_document_each_cannot_be_split() -> None:
    write_documents("d", ["one", "two"])
    with pytest.raises(DataError) as caught:
        load_document_parts(
            DataSettings(dataset_mixture=({"train_file": "d/0.txt"}, {"train_file": "d/1.txt"})), seed=1
        )
    assert str(caught.value.problems[0]) == (
        "d/0.txt, d/1.txt: 2 documents, one of each source: one document cannot be both trained on and held out; "
        "set document_per: line or paragraph where a file has several documents"
    )


def test_a_document_that_is_held_out_is_not_trained_on() -> None:
    write_documents("d", ["one", "two", "three"])
    write_documents("v", ["two"])
    parts = load_document_parts(DataSettings(train_file=("d",), validation_file=("v",), max_train_samples=1), seed=1)
    assert list(parts.validation.texts) == ["two"]
    assert len(parts.train.texts) == 1
    train = parts.summary.parts["train"]
    assert train.left_out["in_validation_or_test"].examples == ("d/1.txt:1",)


def test_the_demo_reviews_are_split_by_their_text() -> None:
    parts = load_labelled_parts(DataSettings(dataset_name="demo:imdb"), seed=42)
    assert parts.label_names == ("neg", "pos")
    assert parts.test is not None
    accounts = parts.summary.parts
    assert (accounts["train"].read, accounts["test"].read) == (20_002, 4_998)
    assert not {*parts.train.texts, *parts.validation.texts} & set(parts.test.texts)
    assert np.bincount(parts.validation.targets).tolist() == [991, 1_002]
