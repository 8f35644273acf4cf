"""A model of cleaned texts: the same steps wherever it reads one, and never in what is written out."""

import csv
import json
from pathlib import Path

import pytest
from hub_runs import make_facts, make_record
from tiny_models import bert_config, make_classifier, make_tokenizer, save_model
from typer.testing import CliRunner

from hfpipe.cli import app
from hfpipe.errors import CheckpointError
from hfpipe.evaluation.labelled_file import LabelledFile, evaluate_file
from hfpipe.hub.card import render_card
from hfpipe.inference.loading import LoadedClassifier, load_classifier
from hfpipe.inference.scoring_files import predict_file
from hfpipe.inference.tables import survey_table
from hfpipe.records.inference_settings import InferenceSettings, read_inference_settings, write_inference_settings

STEPS = ("strip_html", "lowercase", "collapse_whitespace")
DIRTY = ("<b>GOOD</b><br />film", "bad   plot", "<br />", "")
CLEAN = ("good film", "bad plot", "", "")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def classifier() -> LoadedClassifier:
    save_model(Path("model"), make_classifier(bert_config()), make_tokenizer())
    write_inference_settings(Path("model"), InferenceSettings(("text",), "label", cleaning_steps=STEPS))
    return load_classifier(Path("model"))


def write(name: str, texts: tuple[str, ...]) -> Path:
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((text, "neg") for text in texts)])
    return Path(name)


def predict(classifier: LoadedClassifier, path: Path) -> list[dict[str, str]]:
    output = Path(f"{path.stem}.out.csv")
    predict_file(classifier, survey_table(path), output)
    with output.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_are_those_of_the_cleaned_texts_and_columns_stay(classifier: LoadedClassifier) -> None:
    of_dirty, of_clean = (predict(classifier, write(f"{name}.csv", texts)) for name, texts in FILES.items())
    assert [row.pop("text") for row in of_dirty] == list(DIRTY)
    assert [row.pop("text") for row in of_clean] == list(CLEAN)
    assert of_dirty == of_clean
    assert of_dirty[0]["predicted_label"] and not of_dirty[2]["predicted_label"]
    plain = LoadedClassifier(
        classifier.model, classifier.tokenizer, classifier.label_names, InferenceSettings(("text",), max_seq_length=64)
    )
    assert predict(plain, Path("dirty.csv"))[0] != {"text": DIRTY[0], **of_dirty[0]}


FILES = {"dirty": DIRTY, "clean": CLEAN}


def test_a_labelled_file_is_cleaned_and_counted(classifier: LoadedClassifier) -> None:
    scores = {
        name: evaluate_file(classifier, LabelledFile(write(f"{name}.csv", texts))) for name, texts in FILES.items()
    }
    assert scores["dirty"].metrics == scores["clean"].metrics
    assert scores["dirty"].lines[1:] == (
        "evaluated: 4 rows from dirty.csv = 2 used + 1 empty + 1 emptied",
        "evaluated: left out: empty text: 1 (dirty.csv:5)",
        "evaluated: left out: nothing left of the text after cleaning_steps: 1 (dirty.csv:4)",
        "evaluated: 2 of 3 texts changed by strip_html (dirty.csv:2, dirty.csv:4)",
        "evaluated: 1 of 3 texts changed by lowercase (dirty.csv:2)",
        "evaluated: 3 of 3 texts changed by collapse_whitespace (dirty.csv:2, dirty.csv:3, dirty.csv:4)",
        "scored in float32",
    )


def test_the_command_cleans_too(classifier: LoadedClassifier) -> None:
    outputs = []
    for name, texts in FILES.items():
        told = CliRunner().invoke(app, ["predict", "model", str(write(f"{name}.csv", texts))])
        assert told.exit_code == 0, told.stderr
        outputs.append([row[1:] for row in csv.reader(told.stdout.splitlines())])
    assert outputs[0] == outputs[1]


def test_steps_are_stored_and_others_than_the_known_are_refused(classifier: LoadedClassifier) -> None:
    assert read_inference_settings(Path("model")).cleaning_steps == STEPS
    path = Path("model/inference.json")
    stored = json.loads(path.read_text())
    assert stored["cleaning_steps"] == list(STEPS)
    for strange in ("strip_everything", "deduplicate"):
        path.write_text(json.dumps({**stored, "cleaning_steps": [strange]}))
        with pytest.raises(CheckpointError) as caught:
            load_classifier(Path("model"))
        assert [str(problem) for problem in caught.value.problems] == [
            f"{path.resolve()}: cleaning_steps: '{strange}': no step that this version knows; "
            "use the version that wrote it"
        ]
    path.write_text(json.dumps({**stored, "cleaning_steps": "strip_html"}))
    with pytest.raises(CheckpointError, match="cleaning_steps: 'strip_html': is no setting of this format"):
        read_inference_settings(Path("model"))
    path.write_text(json.dumps({key: value for key, value in stored.items() if key != "cleaning_steps"}))
    assert read_inference_settings(Path("model")).cleaning_steps == ()


def test_the_card_says_what_a_pipeline_does_not_do() -> None:
    card = render_card(make_facts(make_record(max_seq_length=64, cleaning_steps=[*STEPS, "deduplicate"])))
    assert (
        "Every text was cleaned by `strip_html`, `lowercase`, `collapse_whitespace`, in this order, before the model "
        "saw it: clean yours in the same way, or the scores are not those of the report. "
        "`from hfpipe.data.cleaning_steps import apply_steps` brings "
        "`apply_steps(text, ('strip_html', 'lowercase', 'collapse_whitespace'))`; `hfpipe predict` does so by itself."
    ) in card
    assert "cleaned by" not in render_card(make_facts(make_record(max_seq_length=64)))
    corpus = make_record("pretrain_causal_lm", document_per="line", cleaning_steps=["strip_html"])
    assert "The texts it was trained on were cleaned by `strip_html`, in this order." in render_card(
        make_facts(corpus, metrics={})
    )
