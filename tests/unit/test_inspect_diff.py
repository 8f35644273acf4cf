"""`hfpipe inspect --diff`: what cleaning steps change in the rows of files and runs, and what is no such question."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hfpipe.cli import app

ROWS = ("Good.<br /><br />Bad  one", "hello", "<br />", "call 555-123-4567", "x  y")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{text},{label}" for text, label in zip(ROWS, ("pos", "neg", "pos", "neg", "pos"), strict=True)]
    Path("a.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")


def inspect(*words: str) -> list[str]:
    told = CliRunner().invoke(app, ["inspect", *words])
    assert told.exit_code == 0, told.stderr
    return told.stdout.splitlines()


def refused(*words: str) -> str:
    told = CliRunner().invoke(app, ["inspect", *words])
    assert told.exit_code == 2
    assert "Traceback" not in told.stderr
    return told.stderr


def write_run(**settings: object) -> str:
    lines = [f"{key}: {json.dumps(value)}" for key, value in settings.items()]
    Path("run.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "run.yaml"


SHOWN = [
    "  strip_html                    2 of 5 texts changed",
    "  mask_personal                 1 of 5 texts changed",
    "  collapse_whitespace           3 of 5 texts changed",
    "4 of 5 texts changed by any step; of 1 of them nothing is left, and their rows are left out",
    "",
    "a.csv:2 (strip_html, collapse_whitespace)",
    "  Good.[-<br /><br />-]{+ +}Bad [- -]one",
    "",
    "a.csv:4 (strip_html, collapse_whitespace)",
    "  [-<br />-]",
    "",
    "a.csv:5 (mask_personal)",
    "  call [-555-123-4567-]{+[PHONE]+}",
    "",
    "a.csv:6 (collapse_whitespace)",
    "  x [- -]y",
]


def test_rows_of_a_file_are_shown_before_and_after() -> None:
    steps = ("--cleaning-steps", "strip_html,mask_personal,collapse_whitespace")
    assert inspect("a.csv", *steps, "--diff", "--rows", "all") == SHOWN
    assert inspect("a.csv", *steps, "--diff", "--no-labels") == SHOWN[:13]
    assert inspect("a.csv", *steps, "--diff", "--rows", "0") == SHOWN[:4]


def test_those_of_a_run_are_its_own_steps_on_all_rows_of_its_files() -> None:
    run = write_run(
        recipe="finetune_classifier",
        train_file="a.csv",
        model_name_or_path="demo:minilm",
        cleaning_steps=["strip_html", "mask_personal", "collapse_whitespace", "deduplicate"],
    )
    assert inspect(run, "--diff", "--rows", "all") == SHOWN
    assert inspect(run, "cleaning_steps=lowercase", "--diff", "--rows", "0") == [
        "  lowercase           1 of 5 texts changed",
        "1 of 5 texts changed by any step",
    ]


def test_every_source_of_a_mixture_is_looked_at() -> None:
    Path("b.jsonl").write_text('{"text": "<p>b"}\n', encoding="utf-8")
    run = write_run(
        recipe="pretrain_causal_lm",
        dataset_mixture=[{"train_file": "b.jsonl"}, {"train_file": "a.csv"}],
        cleaning_steps=["strip_html"],
    )
    assert inspect(run, "--diff", "--rows", "1") == [
        "  strip_html           3 of 6 texts changed",
        "3 of 6 texts changed by any step; of 1 of them nothing is left, and their rows are left out",
        "",
        "b.jsonl:1 (strip_html)",
        "  [-<p>-]{+\\n+}b",
    ]


def test_findings_are_those_of_the_cleaned_texts_where_steps_are_named() -> None:
    Path("b.csv").write_text("text,label\n" + "".join(f"row{n}<br>,x{n % 2}\n" for n in range(20)), encoding="utf-8")
    assert any("tags or entities of HTML: 20 of 20 rows" in line for line in inspect("b.csv"))
    assert "nothing was found" in inspect("b.csv", "--cleaning-steps", "strip_html")


def test_what_is_no_such_question_is_refused() -> None:
    assert "--diff: no step that changes a text is named; add --cleaning-steps strip_html,..." in refused(
        "a.csv", "--diff"
    )
    slip = refused("a.csv", "--diff", "--cleaning-steps", "strp_html")
    assert "--cleaning-steps strp_html: must be one of unescape_html" in slip
    assert "did you mean 'strip_html'?" in slip
    steps = ("--cleaning-steps", "remove_punctuation,strip_html")
    assert "strip_html finds nothing after remove_punctuation" in refused("a.csv", "--diff", *steps)
    output = ("--cleaning-steps", "strip_html", "--output", "found.json")
    assert "--output found.json: holds findings, and --diff looks for none" in refused("a.csv", "--diff", *output)
    run = write_run(recipe="finetune_classifier", train_file="a.csv", model_name_or_path="demo:minilm")
    assert "--diff: no step that changes a text is named; add cleaning_steps=strip_html,..." in refused(run, "--diff")
    stream = write_run(recipe="pretrain_causal_lm", train_file="a.csv", streaming=True, max_steps=2)
    words = ("max_eval_samples=2", "tokenizer_name=gpt2", "cleaning_steps=strip_html")
    assert "streaming: true: rows of a stream are never held" in refused(stream, *words, "--diff")
