"""Files given to predict and evaluate: which columns are taken, and remedies that can be typed there."""

from pathlib import Path

import pytest
from tiny_models import bert_config, make_classifier, make_tokenizer, save_model
from typer.testing import CliRunner

from hfpipe.cli import app
from hfpipe.config.option_names import tell_options
from hfpipe.errors import DataError, Problem
from hfpipe.evaluation.labelled_file import FileScores, LabelledFile, evaluate_file
from hfpipe.inference.loading import LoadedClassifier, load_classifier
from hfpipe.inference.scoring_files import predict_file
from hfpipe.inference.tables import TextColumns, survey_table
from hfpipe.records.inference_settings import InferenceSettings, write_inference_settings

MULTI_LABEL = {"problem_type": "multi_label_classification"}
REGRESSION = {"problem_type": "regression", "id2label": {0: "stars"}, "label2id": {"stars": 0}}


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(settings: InferenceSettings, **changes: object) -> LoadedClassifier:
    save_model(Path("model"), make_classifier(bert_config(**changes)), make_tokenizer())
    write_inference_settings(Path("model"), settings)
    return load_classifier(Path("model"))


def write(name: str, *lines: str) -> Path:
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Path(name)


def problems_of_predicting(classifier: LoadedClassifier, path: Path, columns: TextColumns | None = None) -> list[str]:
    with pytest.raises(DataError) as caught:
        predict_file(classifier, survey_table(path), Path("out.csv"), columns=columns)
    assert not Path("out.csv").exists()
    return [str(problem) for problem in caught.value.problems]


def problems_of_evaluating(classifier: LoadedClassifier, file: LabelledFile) -> list[str]:
    with pytest.raises(DataError) as caught:
        evaluate_file(classifier, file)
    return [str(problem) for problem in caught.value.problems]


def lines_of(scores: FileScores) -> list[str]:
    return list(scores.lines)


REMEDIES = {
    "set text_column_names": "set --text-column",
    "set field_delimiter: ';'": "set --delimiter ';'",
    r'set field_delimiter: "\t"': r"set --delimiter $'\t'",
    "set encoding: cp1252, or save the file as UTF-8": "set --encoding cp1252, or save the file as UTF-8",
    "set encoding to that of the file": "set --encoding to that of the file",
    "did you mean label_column_name: label?": "did you mean --label-column label?",
    "set label_delimiter, as in label_delimiter: ';'": "set --label-delimiter, as in --label-delimiter ';'",
    "convert its encoding": "convert its encoding",
    "set problem_type: regression to predict numbers": "name a file that is labelled as the model's training was",
}


@pytest.mark.parametrize(("remedy", "expected"), REMEDIES.items())
def test_remedies_name_options(remedy: str, expected: str) -> None:
    problem = Problem("a.csv:1", "column 'encoding'", "label_delimiter", remedy)
    assert tell_options(problem) == Problem("a.csv:1", "column 'encoding'", "label_delimiter", expected)


def test_settings_in_places_become_options() -> None:
    assert str(tell_options(Problem("encoding: 'x'", rule="without effect"))) == "--encoding: 'x': without effect"


def test_both_commands_tell_options() -> None:
    saved(InferenceSettings(("text",), label_column_name="label"))
    path = write("in.csv", "text;label", "bad;neg")
    for command in ("predict", "evaluate"):
        told = CliRunner().invoke(app, [command, "model", str(path)])
        assert told.exit_code == 2
        assert "the file is delimited by ';'; set --delimiter ';'" in told.stderr
        told = CliRunner().invoke(app, [command, "model", str(write("other.csv", "a,b,label", "x,y,neg"))])
        assert "the columns are 'a', 'b', 'label'; set --text-column" in told.stderr


def test_a_part_of_a_joined_text_is_no_text() -> None:
    classifier = saved(InferenceSettings(("title", "body"), label_column_name="label"))
    path = write("in.csv", "body,label", "bad,neg")
    assert problems_of_predicting(classifier, path) == [
        "in.csv:1: no column 'title': the columns are 'body', 'label'; "
        "the training joined 'title' + 'body': add it, or name other columns by --text-column"
    ]
    assert problems_of_evaluating(classifier, LabelledFile(path)) == [
        "in.csv:1: no column 'title': the columns are 'body', 'label'; set text_column_names"
    ]
    assert predict_file(classifier, survey_table(path), Path("out.csv"), columns=TextColumns(("body",))).rows == 1
    scores = evaluate_file(classifier, LabelledFile(path, text_columns=("body",)))
    assert lines_of(scores)[0] == "texts from column 'body', labels from 'label'"


def test_a_column_is_not_both_texts() -> None:
    classifier = saved(InferenceSettings(("question",), text_pair_column_name="answer"))
    path = write("in.csv", "question", "bad")
    assert problems_of_predicting(classifier, path, TextColumns((), pair="question")) == [
        "in.csv:1: column 'question': is text and second text at once; change --text-pair-column"
    ]
    path = write("in.csv", "answer", "bad")
    assert problems_of_predicting(classifier, path) == [
        "in.csv:1: no column is known to be the text: the columns are 'answer'; set text_column_names"
    ]


def test_values_that_are_no_texts_are_refused_as_in_training() -> None:
    classifier = saved(InferenceSettings(("text",)))
    path = write("in.jsonl", '{"text": "good"}', '{"text": 5}', '{"text": ["bad"]}', '{"text": null}')
    assert problems_of_predicting(classifier, path) == [
        "in.jsonl:2: column 'text' holds a number, '5': a text is expected; write it as a text, or name another column",
        "in.jsonl:3: column 'text' holds a list, \"['bad']\": a text is expected; "
        "write it as a text, or name another column",
    ]


def test_another_column_is_not_taken_for_the_labels() -> None:
    classifier = saved(InferenceSettings(("text",), label_column_name="stars"), **REGRESSION)
    path = write("in.csv", "id,text", "1,bad", "2,Wonderful!")
    assert problems_of_evaluating(classifier, LabelledFile(path)) == [
        "in.csv:1: no column 'stars': nothing says that 'id' holds the labels; set label_column_name"
    ]
    scores = evaluate_file(classifier, LabelledFile(path, label_column="id"))
    assert lines_of(scores) == [
        "texts from column 'text', labels from 'id'",
        "evaluated: 2 rows from in.csv = 2 used",
        "scored in float32",
    ]


def test_labels_of_a_cell_are_divided_as_asked() -> None:
    classifier = saved(InferenceSettings(("text",), label_column_name="tags"), **MULTI_LABEL)
    path = write("in.csv", "text,tags", "bad,pos|neg", "Wonderful!,")
    support = [row.support for row in evaluate_file(classifier, LabelledFile(path, label_delimiter="|")).per_class]
    assert support == [1, 0, 1]
    assert (
        "set label_delimiter, as in label_delimiter: ';'" in problems_of_evaluating(classifier, LabelledFile(path))[0]
    )
    number = saved(InferenceSettings(("text",), label_column_name="tags"), **REGRESSION)
    assert problems_of_evaluating(number, LabelledFile(path, label_delimiter="|")) == [
        "label_delimiter: '|': without effect: a text of this model has one label, or a number; leave it out"
    ]
