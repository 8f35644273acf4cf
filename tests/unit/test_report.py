"""Reports as HTML: every table, drawing and anchor, nothing from elsewhere, nothing of a text that is markup."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hub_runs import make_record
from page_reading import Page, read_page
from report_runs import (
    HOSTILE,
    ROWS,
    make_predictions,
    save_classifier_run,
    save_language_run,
    save_run_files,
)
from typer.testing import CliRunner

from hfpipe.cli import app
from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.errors import CheckpointError
from hfpipe.evaluation.predictions import predictions_path
from hfpipe.records.run_directory import REPORT_FILE, read_json, write_json
from hfpipe.report.page import build_report, write_report


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier_run(tmp_path_factory.mktemp("runs") / "reviews", make_predictions())


@pytest.fixture(scope="module")
def page(classifier: Path) -> Page:
    return read_page(build_report([classifier]))


def check_whole(page: Page) -> None:
    """Every link leads to something, every drawing is described, every table has headings, nothing is fetched."""
    assert sorted(page.ids) == sorted(set(page.ids))
    assert [anchor for anchor in page.anchors if anchor[1:] not in page.ids] == []
    assert set(page.addresses) == {"data:,"}
    assert not {"script", "iframe", "object", "embed", "form", "base", "img"} & set(page.tags)
    assert page.tags.count("link") == 1
    assert all(page.drawings) and page.unlabelled == [] and page.scopeless == 0
    assert "None" not in page.text and "nan" not in page.text.split()
    for name, rows in page.tables.items():
        assert len(rows) > 1, name


def test_every_part_of_a_classifier_is_there(page: Page) -> None:
    check_whole(page)
    wanted = ["ladder", "scores", "curves", "classes", "calibration", "groups", "rows", "data", "findings", "settings"]
    assert [each for each in page.ids if not each.endswith("-table")] == wanted
    assert page.anchors == [f"#{each}" for each in wanted]
    # loss, accuracy, learning rate; reliability, precision over recall, ROC
    assert len(page.drawings) == 6


def test_the_verdict_is_on_top(page: Page) -> None:
    head = " ".join(page.text.split("Against the baselines")[0].split())
    assert (
        "The model gives 80.0 % of the 120 test rows the right label (95 % interval 75.0 to 85.0 %). "
        "It beats the best of 2 baselines, TF-IDF + logistic regression (70.0 %), by 10.0 points (95 % interval 4.0 to "
        "16.0 points, p < 0.001, exact McNemar test)."
    ) in head
    assert "google/bert_uncased_L-2_H-128_A-2, trained on reviews.csv (40 rows)" in head


def test_tables_have_the_numbers_of_the_record(page: Page) -> None:
    ladder = [[cell.strip() for cell in row] for row in page.tables["ladder-table"][1:]]
    assert ladder == [
        ["BERT this run", "80.0 %", "75.0 to 85.0 %", "", "", "1,234,567", "1 min 2 s", "480"],
        [
            *("TF-IDF + logistic regression", "70.0 %", "65.0 to 75.0 %", "", "+10.0 p < 0.001"),
            "2,000",
            "0.5 s",
            "9,000",
        ],
        ["Majority class", "50.0 %", "45.0 to 55.0 %", "", "", "2,000", "0.5 s", "9,000"],
    ]
    assert ["accuracy", "80.0 %", "75.0 to 85.0 %", "80.0 %", "75.0 to 85.0 %"] in page.tables["scores-table"]
    assert page.tables["class-table"][1][:5] == ["neg", "60", "80.0 %", "75.0 %", "77.0 %"]
    predictions = make_predictions()
    wrong = predictions.logits.argmax(axis=1) != predictions.targets
    hits = [int((~wrong & (predictions.targets == label)).sum()) for label in (0, 1)]
    matrix = page.tables["confusion-table"]
    assert matrix[1][1] == f"{hits[0]}{100 * hits[0] / 60:.1f} %"
    assert matrix[2][2] == f"{hits[1]}{100 * hits[1] / 60:.1f} %"
    assert ["train", "50", "40", "10 duplicate"] in page.tables["Rows by part"]
    assert ["neg", "20", "8"] in page.tables["Rows by label"]


def test_groups_hold_every_row_once(page: Page) -> None:
    for name in ("By length of the text", "By source"):
        assert sum(int(row[1]) for row in page.tables[name][1:]) == ROWS
    assert any(", read in part" in row[0] for row in page.tables["By length of the text"])
    # a column with as many values as rows says nothing
    assert "By id" not in page.tables
    assert "Left out: it has one value, or nearly as many as rows." in page.text


def test_rows_are_told_with_their_words(page: Page) -> None:
    told = page.text.split("Most confident errors")[1]
    assert told.count("says ") == 10 and "Least certain" in told
    assert "reviews.csv:" in told and "strongest: “" in told


def test_labels_and_texts_cannot_break_out(tmp_path: Path) -> None:
    predictions = make_predictions(MULTI_LABEL, ("plot", HOSTILE, "</style></svg>"))
    several = save_classifier_run(tmp_path / "several", predictions, headline="f1_micro")
    source = build_report([several])
    assert "<script" not in source and source.count("</style>") == 1
    read = read_page(source)
    check_whole(read)
    assert HOSTILE in read.text
    assert [row[0] for row in read.tables["class-table"][1:]] == ["plot", HOSTILE, "</style></svg>"]


def test_numbers_are_told_as_numbers(tmp_path: Path) -> None:
    predictions = make_predictions(REGRESSION, ("stars",))
    run = save_classifier_run(tmp_path / "stars", predictions, headline="rmse", value=0.4, sign=-1)
    read = read_page(build_report([run]))
    check_whole(read)
    assert "On the 120 test rows the model's root mean squared error is 0.4000" in read.text
    assert "It beats the best of 2 baselines, TF-IDF + logistic regression (0.5000), by 0.1000" in read.text
    assert "Largest errors" in read.text and "Least certain" not in read.text
    assert any("Predicted numbers" in each for each in read.drawings)
    assert not {"classes", "calibration"} & set(read.ids)


def test_a_language_model_has_sources_and_continuations(tmp_path: Path) -> None:
    read = read_page(build_report([save_language_run(tmp_path / "lm")]))
    check_whole(read)
    sections = [each for each in read.ids if not each.endswith("-table")]
    assert sections == ["scores", "curves", "sources", "continuations", "data", "settings"]
    assert "The model needs 1.2500 bits for a byte of the 64 validation blocks" in read.text
    assert read.tables["source-table"][1:] == [
        ["books", "1.1000 1.0000 to 1.2000"],
        [HOSTILE, "1.4000 1.3000 to 1.5000"],
    ]
    told = read.text.split("Continuations through training")[-1]
    assert told.index("step 40") < told.index("step 80") < told.index(f"at the end {HOSTILE}")


def test_secrets_and_folders_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_API_KEY", "correct-horse-17")
    predictions = make_predictions()
    texts = [f"{text} correct-horse-17" for text in predictions.texts]
    hidden = replace(predictions, texts=texts, slices={"kind": ["correct-horse-17", "b"] * 60})
    run = save_classifier_run(tmp_path / "reviews", hidden)
    source = build_report([run])
    assert "correct-horse-17" not in source and "***" in source
    assert "/data" not in source and "secret place" not in source and str(tmp_path) not in source


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    save_run_files(tmp_path / "bare", make_record(), metrics={})
    read = read_page(build_report([tmp_path / "bare"]))
    check_whole(read)
    assert "the run has no evaluation.json" in read.text and "no findings.json" in read.text
    run = save_classifier_run(tmp_path / "reviews", make_predictions())
    (run / "attributions.json").unlink()
    assert "the run has no attributions.json" in build_report([run])
    predictions_path(run, "test").unlink()
    assert "there are no predictions/test.parquet" in build_report([run])


def test_runs_are_compared_on_the_same_rows(classifier: Path, tmp_path: Path) -> None:
    predictions = make_predictions()
    worse = replace(predictions, logits=predictions.logits * np.float32([[1, 0.2]]))
    other = save_classifier_run(tmp_path / "weaker", worse, value=0.6)
    record = read_json(other / "run.json")
    record["config"]["max_seq_length"]["value"] = 8
    write_json(other / "run.json", record)
    read = read_page(build_report([classifier, other]))
    check_whole(read)
    rows = read.tables["accuracy on the test part"][1:]
    assert [row[0] for row in rows] == ["reviews best", "weaker"]
    assert rows[0][5] == "" and rows[1][5].startswith("−") and "p = 0.004" in rows[1][5]
    assert read.tables["settings-table"][1:] == [["max_seq_length", "16", "8"]]
    assert len(read.drawings) == 3
    assert "their scores do not compare" not in read.text


def test_other_rows_do_not_compare(classifier: Path, tmp_path: Path) -> None:
    topics = save_classifier_run(tmp_path / "topics", make_predictions(labels=("a", "b", "c")), value=0.6)
    read = read_page(build_report([classifier, topics]))
    assert "The test rows are others than those of reviews in topics: their scores do not compare." in read.text
    rows = read.tables["accuracy on the test part"]
    assert len(rows[0]) == 5, "no column of differences"
    assert [row[0] for row in rows[1:]] == ["reviews", "topics"], "none is called the best"


def test_the_command_writes_where_it_says(classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["report", str(classifier)])
    assert (done.exit_code, done.output) == (0, f"wrote {classifier / REPORT_FILE}\n")
    both = ["report", str(classifier), str(classifier)]
    assert CliRunner().invoke(app, both).output == "wrote comparison.html\n"
    assert "reviews (1), reviews (2)" in read_page((tmp_path / "comparison.html").read_text()).text
    again = CliRunner().invoke(app, both)
    assert again.exit_code == 2 and "comparison.html" in again.output
    assert CliRunner().invoke(app, ["report", str(tmp_path)]).exit_code == 2


def test_a_report_is_the_same_again_and_refuses_what_is_no_run(classifier: Path, tmp_path: Path) -> None:
    write_report(classifier)
    assert (classifier / REPORT_FILE).read_text(encoding="utf-8") == build_report([classifier])
    with pytest.raises(CheckpointError, match="is this a run"):
        build_report([tmp_path])
