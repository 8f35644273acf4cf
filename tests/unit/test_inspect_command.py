"""`hfpipe inspect`: what it prints and writes, its exit codes, and what it refuses."""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from data_files import write_csv

from hfpipe.cli import app
from hfpipe.errors import CheckpointError, ConfigError
from hfpipe.inspection.excerpts import excerpt, mask_value
from hfpipe.inspection.options import read_data_options, read_row_limit
from hfpipe.inspection.record import (
    FINDINGS_FORMAT,
    Cut,
    Finding,
    FindingsRecord,
    FoundRow,
    Overview,
    PartOverview,
    read_findings,
)
from hfpipe.inspection.rendering import render
from hfpipe.inspection.reporting import percent

MESSY = [
    ("a warm film", "pos"),
    ("a cold film", "neg"),
    ("a warm film", "neg"),
    ("a dull<br />plot", "neg"),
    ("write to kim@mail.example today", "pos"),
    ("a dull<br />plot", "neg"),
    ("", "pos"),
    ("no label here", ""),
]
EXPECTED = """\
train: 6 rows (8 read, 2 left out or elsewhere) from messy.csv
columns: text 'text' (found by its name), label 'label' (found by its name)

label  rows   share
neg       4  66.7 %
pos       2  33.3 %

length      min  median  p90  p99  max
words         3       3    3    3    4
characters   11      11   16   16   31

7 findings: 2 SERIOUS, 5 LOOK

SERIOUS  labels with next to no rows: 6 of 6 rows, 100.0 %
  under 10 rows in training: neither learnt nor scored with any certainty
    'pos'  2 rows (33.3 %)
    'neg'  4 rows (66.7 %)
  what to do: add rows, join the label with another, or leave it out

SERIOUS  equal texts, different labels: 2 of 6 rows, 33.3 %
  1 text with more than one label each, equal in every character
    messy.csv:2  labelled 'pos'; messy.csv:4 says 'neg'  a warm film
    messy.csv:4  labelled 'neg'; messy.csv:2 says 'pos'  a warm film
  what to do: decide which label is right; training leaves all of them out
"""


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def inspect(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["inspect", *map(str, words)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_findings_are_printed_worst_first_and_are_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(write_csv("messy.csv", MESSY)) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(EXPECTED)
    assert "\033" not in printed
    assert "kim@mail.example" not in printed
    assert "messy.csv:6  k**@****.*******" in printed
    assert printed.index("\nSERIOUS  ") < printed.index("\nLOOK     ")
    assert printed.endswith(
        "\nnot looked for\n"
        "  leak: 6 rows are too few to tell a leak from chance\n"
        "  label error: 3 different texts are too few to judge labels by\n"
    )


def test_the_file_has_every_row_in_strict_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"text {row % 5}", "a") for row in range(30)]
    assert inspect(write_csv("a.csv", rows), "--output", "found.json", "--rows", "1") == 0
    assert "    and 24 more\n" in capsys.readouterr().out
    written = json.loads(Path("found.json").read_text(), parse_constant=pytest.fail)
    assert written["format"] == FINDINGS_FORMAT
    (duplicate,) = (each for each in written["findings"] if each["kind"] == "duplicate")
    assert (duplicate["count"], duplicate["of"], duplicate["share"], len(duplicate["rows"])) == (25, 30, 0.833333, 25)
    assert duplicate["rows"][0] == {"place": "a.csv:7", "note": "first in a.csv:2", "excerpt": "text 0"}
    record = read_findings(Path("found.json"))
    assert record.to_json() == written
    assert inspect("a.csv", "--output", "found.json") == 2
    assert "found.json: the file exists; add --overwrite to replace it" in capsys.readouterr().err
    assert inspect("a.csv", "--output", "found.json", "--overwrite", "--rows", "all") == 0
    assert capsys.readouterr().out.count("  first in a.csv:") == 25


def test_what_a_run_would_refuse_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*((f"text {row}", ("Pos", "pos", "neg")[row % 3]) for row in range(30))]
    assert inspect(write_csv("spelled.csv", rows)) == 0
    printed = capsys.readouterr().out
    assert "SERIOUS  a run would refuse these data: 1 problem\n" in printed
    assert "spelled.csv: labels 'Pos' (10 rows: spelled.csv:2, spelled.csv:5" in printed


def test_files_that_cannot_be_read_are_refused_by_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    Path("shop.csv").write_text("id,subject,body,message,stars\n1,Broken,It broke,It broke after a day,1\n")
    assert inspect("shop.csv", "--test", "nowhere.csv") == 2
    assert capsys.readouterr().err == (
        "the data has 1 problem:\n"
        "  - --test: nowhere.csv: no such file: the folder . has 1 others; write the path anew\n"
    )
    assert inspect("shop.csv") == 2
    assert capsys.readouterr().err == (
        "the data has 2 problems:\n"
        "  - shop.csv:1: 2 columns may be the text: 'body', 'message'; set --text-column\n"
        "  - shop.csv:1: no column is known to be the label: "
        "the columns are 'id', 'subject', 'body', 'message', 'stars'; set --label-column\n"
    )


def test_a_column_that_differs_in_every_row_is_asked_about_once(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"a film and its number {row}", f"id{row}") for row in range(345)]
    assert inspect(write_csv("ids.csv", rows), "--label-column", "label", "--output", "ids.json") == 0
    printed = capsys.readouterr().out
    assert "\n345 labels in 345 rows: is this a label column?\n" in printed
    assert "label 'label' (set by --label-column)\n" in printed
    assert re.findall(r"^ *'?id\d", printed, re.MULTILINE) == []
    assert "labels with next to no rows" not in printed
    assert "(set by --label-column)" in read_findings(Path("ids.json")).overview.columns


def test_a_long_table_of_labels_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"a film and its number {row}", f"topic{row % 30:02d}") for row in range(330)]
    assert inspect(write_csv("topics.csv", rows)) == 0
    printed = capsys.readouterr().out
    assert "\ntopic19    11  3.3 %\n  ... and 10 more\n\n" in printed
    assert "topic20" not in printed.split("\n\n")[1]


def test_what_a_length_cuts_is_told_with_its_parts() -> None:
    parts = tuple(PartOverview(name, "a.csv", 4, 4) for name in ("train", "test"))
    overview = Overview(None, "", parts, (), (), (), (Cut(64, 0.5, 0.25, True),))
    lines = render(FindingsRecord(overview, (), ()), rows=3, coloured=False)
    assert "max_seq_length (train, test)  texts cut  tokens cut" in lines
    alone = replace(overview, parts=parts[:1])
    assert "max_seq_length  texts cut  tokens cut" in render(FindingsRecord(alone, (), ()), rows=3, coloured=False)


def test_a_tokenizer_that_is_not_there_is_told_by_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(write_csv("messy.csv", MESSY), "--tokenizer", "./nope") == 2
    told = capsys.readouterr().err
    assert "\n  - --tokenizer: ./nope: " in told
    assert "tokenizer_name" not in told and "model_name_or_path" not in told


def test_a_run_is_told_by_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("recipe: finetune_classifier", "model_name_or_path: demo:minilm", "train_file: messy.csv")
    write_csv("messy.csv", MESSY)
    Path("run.yaml").write_text("\n".join(settings))
    assert inspect("run.yaml", "text_column_names=nope") == 2
    told = "messy.csv:1: no column 'nope': the columns are 'text', 'label'; set text_column_names\n"
    assert capsys.readouterr().err == f"the data has 1 problem:\n  - {told}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a.csv", "--learning_rate"), "--learning_rate: is no option of hfpipe inspect, and no file; "),
        (("a.csv", "seed=3"), "seed=3: a setting, where files are looked at; settings go with a YAML file"),
        (("a.csv", "b.yaml"), "b.yaml: a run is looked at by itself; name either one YAML file or files of data"),
        (("a.csv", "--max-seq-length", "64"), "--max-seq-length 64: counts tokens, and no tokenizer is named; add"),
        (("a.csv", "--no-labels", "--label-column", "x"), "--label-column: x: without effect beside --no-labels; "),
        (("a.csv", "--rows", "-1"), "--rows -1: must be a whole number or 'all'"),
        (
            ("a.csv", "--problem-type", "classes"),
            "--problem-type classes: must be one of single_label_classification, ",
        ),
        (("run.yaml", "--text-column", "x"), "--text-column: an option for files; a run has its own settings; "),
    ],
)
def test_options_that_do_not_go_together(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv("a.csv", MESSY)
    Path("run.yaml").write_text("recipe: finetune_classifier\ntrain_file: a.csv\n")
    assert inspect(*words) == 2
    assert f"\n  - {message}" in capsys.readouterr().err


def test_options_become_settings() -> None:
    settings = read_data_options({"text_column_names": ["a", "b"], "label_delimiter": ";", "encoding": None})
    assert (settings.text_column_names, settings.problem_type) == (("a", "b"), "multi_label_classification")
    assert (read_row_limit("all"), read_row_limit("12")) == (None, 12)
    with pytest.raises(ConfigError, match="--label-delimiter ';': without effect beside --problem-type regression"):
        read_data_options({"label_delimiter": ";", "problem_type": "regression"})


def test_texts_without_labels(capsys: pytest.CaptureFixture[str]) -> None:
    Path("book.txt").write_text("one line\nanother line\none line\nONE LINE\n")
    assert inspect("book.txt", "--no-labels", "--document-per", "line") == 0
    printed = capsys.readouterr().out
    assert "LOOK     texts that repeat an earlier one: 1 of 4 rows, 25.0 %\n" in printed
    assert "book.txt:4  1.00 like book.txt:1  ONE LINE" in printed
    assert "not looked for" not in printed


def test_without_datasketch_the_others_are_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "datasketch" else found(name))
    assert inspect(write_csv("messy.csv", MESSY)) == 0
    printed = capsys.readouterr().out
    assert "equal texts, different labels" in printed
    assert printed.endswith(
        "  near duplicate: they need the package datasketch, which is not installed; pip install 'hfpipe[inspect]'\n"
    )


def test_colours_are_for_terminals() -> None:
    write_csv("messy.csv", MESSY)
    assert inspect("messy.csv", "--output", "found.json") == 0
    record = read_findings(Path("found.json"))
    assert (
        render(record, rows=3, coloured=True)[0]
        == "\033[1mtrain\033[0m: 6 rows (8 read, 2 left out or elsewhere) from messy.csv"
    )
    plain = "\n".join(render(record, rows=3, coloured=False))
    assert "\033" not in plain


def test_a_record_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    path.write_text('{"format": "hfpipe findings 0"}')
    with pytest.raises(CheckpointError, match="format 'hfpipe findings 0': must be 'hfpipe findings 1'"):
        read_findings(path)


def test_words_of_shares_and_values() -> None:
    assert [percent(share) for share in (0.0, 0.0001, 0.125, 0.99999, 1.0)] == [
        *("0.0 %", "under 0.1 %", "12.5 %"),
        *("over 99.9 %", "100.0 %"),
    ]
    assert mask_value("kim.lee@mail.example") == "k**.***@****.*******"
    assert excerpt("call 212-555-0123\n\tnow " + "x" * 100) == "call [PHONE] now " + "x" * 40 + "..."
    # where masks make room, a number that the cut goes through would come into sight
    address = f"{'x' * 60}@{'y' * 40}.example"
    assert excerpt(f"{address} {address} number: 4111 1111 1111 1111 of a card") == ""
    finding = Finding("x", "note", "", "t", 1, 0, "", "", (FoundRow("a", "", ""),))
    assert finding.share == 0.0
