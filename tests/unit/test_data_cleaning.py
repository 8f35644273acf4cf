"""Texts cleaned where they become rows: what is found equal, what is left out, and what is said of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from data_files import load, problems_of

from hfpipe.config.sections import DataSettings
from hfpipe.data.cleaning_diff import describe_diff, diff_texts, mark_differences
from hfpipe.data.parts import load_document_parts
from hfpipe.data.streamed_parts import load_streamed_parts
from hfpipe.data.streams import START, USED, Share, read_stream

HTML = ("unescape_html", "strip_html", "collapse_whitespace")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, rows: Sequence[Mapping[str, str]]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def labelled(*texts: str) -> list[dict[str, str]]:
    """Return rows of these texts, labels in turn, behind ten rows that no step changes."""
    plain = [f"plain text {letter * 3}" for letter in "abcdefghij"]
    return [{"text": text, "label": ("neg", "pos")[row % 2]} for row, text in enumerate([*plain, *texts])]


def test_rows_are_cleaned_counted_and_left_out_where_nothing_is_left() -> None:
    train = write("a.jsonl", labelled("good<br />film", "bad &amp; long", "<br />", "<p> </p>", ""))
    parts = load(train_file=train, cleaning_steps=HTML, validation_fraction=0.2)
    texts = {*parts.train.texts, *parts.validation.texts}
    assert {"good film", "bad & long"} < texts and len(texts) == 12
    account = parts.summary.parts["train"]
    assert account.left_out["empty"].examples == ("a.jsonl:15",)
    assert account.left_out["emptied"].examples == ("a.jsonl:13", "a.jsonl:14")
    lines = parts.summary.lines()
    assert "train: left out: nothing left of the text after cleaning_steps: 2 (a.jsonl:13, a.jsonl:14)" in lines
    assert [line for line in lines if " changed by " in line] == [
        "train: 1 of 14 texts changed by unescape_html (a.jsonl:12)",
        "train: 3 of 14 texts changed by strip_html (a.jsonl:11, a.jsonl:13, a.jsonl:14)",
        "train: 3 of 14 texts changed by collapse_whitespace (a.jsonl:11, a.jsonl:13, a.jsonl:14)",
    ]
    assert account.to_json()["cleaned"][0] == {"step": "unescape_html", "count": 1, "examples": ["a.jsonl:12"]}
    assert account.used + sum(rows.count for rows in account.left_out.values()) == account.read == 15


def test_a_step_that_changes_nothing_is_said_and_no_steps_are_not() -> None:
    train = write("a.jsonl", labelled())
    assert "train: 0 of 10 texts changed by strip_html" in load(train_file=train, cleaning_steps=HTML).summary.lines()
    plain = load(train_file=train).summary
    assert "cleaned" not in plain.parts["train"].to_json()
    assert not [line for line in plain.lines() if " changed by " in line]


def test_repeats_contradictions_and_texts_of_other_parts_are_found_after_cleaning() -> None:
    rows = [
        *labelled(),
        {"text": "same<br/>text", "label": "pos"},
        {"text": "same text", "label": "pos"},
        {"text": "two<b> minds", "label": "pos"},
        {"text": "two minds", "label": "neg"},
        {"text": "known<br>there", "label": "neg"},
    ]
    other = write("b.jsonl", [{"text": "known  there", "label": "neg"}, {"text": "x<i>y", "label": "pos"}])
    left_out = (
        load(train_file=write("a.jsonl", rows), validation_file=other, cleaning_steps=HTML)
        .summary.parts["train"]
        .left_out
    )
    assert {reason: rows.examples for reason, rows in left_out.items()} == {
        "in_validation_or_test": ("a.jsonl:15",),
        "conflicting": ("a.jsonl:13", "a.jsonl:14"),
        "duplicate": ("a.jsonl:12",),
    }


def test_both_texts_of_a_row_are_cleaned_and_it_counts_once() -> None:
    rows = [{"text": f"q<b>{n}", "answer": f"a{n}<br>", "label": ("neg", "pos")[n % 2]} for n in range(8)]
    rows.append({"text": "q", "answer": "<hr>", "label": "neg"})
    parts = load(train_file=write("a.jsonl", rows), text_pair_column_name="answer", cleaning_steps=HTML)
    pairs = {*zip(parts.train.texts, parts.train.text_pairs or (), strict=True)}
    pairs |= {*zip(parts.validation.texts, parts.validation.text_pairs or (), strict=True)}
    assert pairs == {(f"q{n}", f"a{n}") for n in range(8)}
    assert "train: 9 of 9 texts changed by strip_html (a.jsonl:1, a.jsonl:2, a.jsonl:3, ...)" in parts.summary.lines()
    assert parts.summary.parts["train"].left_out["emptied"].examples == ("a.jsonl:9",)


def test_columns_are_joined_before_they_are_cleaned() -> None:
    rows = [{"a": "<b", "b": f">bold {n}", "label": ("neg", "pos")[n % 2]} for n in range(8)]
    parts = load(train_file=write("a.jsonl", rows), text_column_names=("a", "b"), cleaning_steps=HTML)
    assert {*parts.train.texts, *parts.validation.texts} == {f"bold {n}" for n in range(8)}


def test_nothing_left_of_any_row_is_an_error_with_the_count() -> None:
    rows = [{"text": "<br>", "label": ("neg", "pos")[n % 2]} for n in range(8)]
    assert problems_of(train_file=write("a.jsonl", rows), cleaning_steps=("strip_html",))[0].startswith(
        "a.jsonl: no row can be used: 8 rows were read: 8 emptied"
    )


def test_documents_and_every_source_of_a_mixture_are_cleaned() -> None:
    write("web.jsonl", [{"text": f"web<br>page {n}"} for n in range(10)])
    write("books.jsonl", [{"text": f"book {n}"} for n in range(10)] + [{"text": "<p>web page 3"}])
    sources = ({"train_file": "web.jsonl"}, {"train_file": "books.jsonl"})
    mixed = load_document_parts(DataSettings(dataset_mixture=sources, cleaning_steps=HTML), seed=1)
    assert {*mixed.train.texts, *mixed.validation.texts} == {
        *(f"web page {n}" for n in range(10)),
        *(f"book {n}" for n in range(10)),
    }
    lines = mixed.summary.lines()
    assert "train: 11 of 21 texts changed by strip_html (web.jsonl:1, web.jsonl:2, web.jsonl:3, ...)" in lines
    assert mixed.summary.parts["train"].left_out["duplicate"].examples == ("books.jsonl:11",)


def test_a_stream_is_cleaned_row_by_row() -> None:
    write("s.jsonl", [{"text": f"page<br>{n}"} for n in range(40)] + [{"text": "<br>"}])
    settings = DataSettings(
        train_file=("s.jsonl",), streaming=True, max_eval_samples=3, validation_fraction=0.3, cleaning_steps=HTML
    )
    parts = load_streamed_parts(settings, seed=3)
    assert all(text.startswith("page ") for text in parts.validation.texts)
    stream = read_stream(parts.train, Share(0, 1), START)
    seen = [next(stream) for _ in range(41)]
    assert seen[-1].fate == "empty" and seen[-1].place == "s.jsonl:41"
    assert {document.text for document in seen if document.fate == USED} <= {f"page {n}" for n in range(40)}


NEAR = "the plot of this film about a dog and a cat is thin but the acting of both animals is simply wonderful"


@pytest.mark.parametrize("step", ["deduplicate", "deduplicate_near"])
def test_rows_that_repeat_others_nearly_are_left_out_of_training_alone(step: str) -> None:
    rows = [
        *labelled(),
        {"text": NEAR, "label": "pos"},
        {"text": f"{NEAR.upper()}!!", "label": "pos"},
        {"text": f"{NEAR}?", "label": "neg"},
        {"text": "Seen,elsewhere: twice over and again", "label": "pos"},
    ]
    others = [
        {"text": "seen elsewhere twice over and again", "label": "pos"},
        {"text": "SEEN elsewhere twice over and again", "label": "pos"},
        {"text": "plain", "label": "neg"},
    ]
    train, validation = write("a.jsonl", rows), write("b.jsonl", others)
    parts = load(train_file=train, validation_file=validation, cleaning_steps=(step,))
    account = parts.summary.parts["train"]
    assert {reason: rows.examples for reason, rows in account.left_out.items()} == {
        "near_validation_or_test": ("a.jsonl:14",),
        "near_duplicate": ("a.jsonl:12",),
    }
    assert account.noted["near_conflicting"].examples == ("a.jsonl:13",)
    assert len(parts.validation.texts) == 3
    assert {NEAR, f"{NEAR}?"} < {*parts.train.texts} and account.used == len(parts.train.texts) == 12
    plain = load(train_file=train, validation_file=validation).summary.parts["train"]
    assert not {"near_duplicate", "near_validation_or_test"} & plain.left_out.keys()


def test_only_the_near_step_finds_a_changed_word() -> None:
    changed = NEAR.replace("thin", "slim")
    rows = [*labelled(), {"text": NEAR, "label": "pos"}, {"text": changed, "label": "pos"}]
    train = write("a.jsonl", rows)
    found = {
        step: load(train_file=train, cleaning_steps=(step,)).summary.parts["train"].left_out.get("near_duplicate")
        for step in ("deduplicate", "deduplicate_near")
    }
    assert found["deduplicate"] is None
    assert found["deduplicate_near"] is not None and found["deduplicate_near"].examples == ("a.jsonl:12",)


def test_the_difference_is_shown_by_words_with_what_cannot_be_seen_escaped() -> None:
    rows = [
        ("a.csv:2", "as it was"),
        ("a.csv:3", "Good.<br /><br />Bad  one\u200b"),
        ("a.csv:4", "<br />"),
        ("a.csv:5", "\x1b[31mred"),
    ]
    steps = ("strip_html", "remove_invisible", "collapse_whitespace")
    diff = diff_texts(rows, steps, examples=2)
    assert (diff.texts, diff.changed, diff.emptied) == (4, 3, 1)
    assert list(describe_diff(diff)) == [
        "  strip_html                    2 of 4 texts changed",
        "  remove_invisible              2 of 4 texts changed",
        "  collapse_whitespace           2 of 4 texts changed",
        "3 of 4 texts changed by any step; of 1 of them nothing is left, and their rows are left out",
        "",
        "a.csv:3 (strip_html, remove_invisible, collapse_whitespace)",
        "  Good.[-<br /><br />-]{+ +}Bad [- -]one[-\\u200b-]",
        "",
        "a.csv:4 (strip_html, collapse_whitespace)",
        "  [-<br />-]",
    ]
    colored = mark_differences("\x1b[31mred", "[31mred", in_color=True)
    assert colored == "\x1b[31m[-\\x1b-]\x1b[0m[31mred"


def test_every_step_that_changes_something_is_among_the_rows_shown() -> None:
    rows = [(f"a.csv:{n}", "x  y") for n in range(2, 20)] + [("a.csv:20", "x<b>y")]
    diff = diff_texts(rows, ("strip_html", "collapse_whitespace"), examples=2)
    assert [example.place for example in diff.examples] == ["a.csv:2", "a.csv:20"]


def test_long_texts_are_cut_to_what_stands_beside_a_change() -> None:
    long = "word " * 300
    assert mark_differences(f"{long}<b>x", f"{long}x") == f"... {long[-40:]}[-<b>-]x"
    assert mark_differences(f"<b>x {long}", f"x {long}") == f"[-<b>-]x {long[:38]} ..."
    assert mark_differences("a <b>" * 40, "a " * 40) == "a " + "[-<b>-]a " * 12 + " ..."
    assert mark_differences(f"x<{'y' * 190}>", "x") == f"x[-<{'y' * 39} ... {'y' * 39}>-]"
