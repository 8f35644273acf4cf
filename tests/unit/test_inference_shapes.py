"""Predictions of every shape: several labels a text, numbers, pairs of texts, and texts in windows."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import SENTENCES, bert_config, make_classifier, make_tokenizer, message, save_model

from hfpipe.data.tokens import LengthRule
from hfpipe.errors import DataError
from hfpipe.evaluation.labelled_file import LabelledFile, evaluate_file
from hfpipe.inference.loading import LoadedClassifier, load_classifier
from hfpipe.inference.predict import Treatment, compute_logits, score_texts
from hfpipe.inference.scoring_files import predict_file
from hfpipe.inference.tables import TextColumns, survey_table
from hfpipe.records.inference_settings import InferenceSettings, read_inference_settings, write_inference_settings
from hfpipe.records.run_directory import read_json, write_json

MULTI_LABEL = {"problem_type": "multi_label_classification"}
REGRESSION = {"problem_type": "regression", "id2label": {0: "stars"}, "label2id": {"stars": 0}}
LONG = " ".join(SENTENCES)


def saved(folder: Path, settings: InferenceSettings, **changes: Any) -> LoadedClassifier:
    save_model(folder, make_classifier(bert_config(**changes)), make_tokenizer())
    write_inference_settings(folder, settings)
    return load_classifier(folder)


def logits_of(classifier: LoadedClassifier, text: str, pair: str | None = None) -> np.ndarray:
    """Return the logits of plain transformers code."""
    encoded = classifier.tokenizer(text, pair, return_tensors="pt", truncation=True, max_length=64)
    with torch.inference_mode():
        return classifier.model(**encoded).logits[0].numpy()


def predicted(classifier: LoadedClassifier, path: Path, lines: list[str], suffix: str = ".csv") -> list[dict[str, str]]:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    output = path.with_name(f"scored{suffix}")
    predict_file(classifier, survey_table(path), output)
    if suffix == ".jsonl":
        return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    with output.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_several_labels_a_text(tmp_path: Path) -> None:
    classifier = saved(tmp_path, InferenceSettings(("text",), label_delimiter=";"), **MULTI_LABEL)
    rows = predicted(classifier, tmp_path / "in.csv", ["text", *(f'"{text}"' for text in SENTENCES), '" "'])
    assert list(rows[0]) == ["text", "predicted_labels", "probability_neg", "probability_mid", "probability_pos"]
    assert set(rows[-1].values()) == {" ", ""}
    found = set()
    for row, text in zip(rows, SENTENCES, strict=False):
        probabilities = 1 / (1 + np.exp(-logits_of(classifier, text)))
        assert float(row["probability_mid"]) == pytest.approx(probabilities[1], abs=2e-6)
        names = [name for name, value in zip(("neg", "mid", "pos"), probabilities, strict=True) if value >= 0.5]
        assert row["predicted_labels"] == ";".join(names)
        found.add(len(names))
    assert len(found) > 1  # different texts have different numbers of labels


def test_lists_of_labels_stay_lists(tmp_path: Path) -> None:
    classifier = saved(tmp_path, InferenceSettings(("text",)), **MULTI_LABEL)
    lines = [json.dumps({"text": text}) for text in SENTENCES]
    rows = predicted(classifier, tmp_path / "in.jsonl", lines, ".jsonl")
    assert all(isinstance(row["predicted_labels"], list) for row in rows)
    assert rows[0]["predicted_labels"] == [
        name
        for name, value in zip(("neg", "mid", "pos"), logits_of(classifier, SENTENCES[0]), strict=True)
        if value >= 0
    ]


def test_numbers(tmp_path: Path) -> None:
    classifier = saved(tmp_path, InferenceSettings(("text",)), **REGRESSION)
    rows = predicted(classifier, tmp_path / "in.csv", ["text", "bad", "Wonderful!"])
    assert list(rows[0]) == ["text", "predicted_value"]
    for row in rows:
        assert float(row["predicted_value"]) == pytest.approx(logits_of(classifier, row["text"])[0], abs=2e-6)


def test_pairs_of_texts(tmp_path: Path) -> None:
    classifier = saved(tmp_path, InferenceSettings(("question",), text_pair_column_name="answer"))
    rows = predicted(classifier, tmp_path / "in.csv", ["question,answer", "bad,I liked it", "bad,Wonderful!", ",bad"])
    assert rows[0]["probability_neg"] != rows[1]["probability_neg"]
    assert rows[2]["predicted_label"] == ""
    for row in rows[:2]:
        logits = logits_of(classifier, row["question"], row["answer"])
        softmax = np.exp(logits) / np.exp(logits).sum()
        assert float(row["probability_neg"]) == pytest.approx(softmax[0], abs=2e-6)


def test_texts_of_several_columns(tmp_path: Path) -> None:
    classifier = saved(tmp_path, InferenceSettings(("title", "body"), text_column_delimiter=" - "))
    rows = predicted(classifier, tmp_path / "in.csv", ["title,body", "bad,I liked it", ",bad"])
    for row, text in zip(rows, ("bad - I liked it", "bad"), strict=True):
        logits = logits_of(classifier, text)
        assert float(row["probability_neg"]) == pytest.approx(np.exp(logits[0]) / np.exp(logits).sum(), abs=2e-6)


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_windows_are_pooled(pooling: str, batch_size: int, tmp_path: Path) -> None:
    treated = InferenceSettings(("text",), max_seq_length=12, long_texts="windows", doc_stride=4, max_windows=50)
    classifier = saved(tmp_path, treated)
    ids = classifier.tokenizer(LONG)["input_ids"]
    windows = [ids[start : start + 12] for start in range(0, len(ids) - 4, 8)]
    assert len(windows) > 3 and windows[-1][-1] == ids[-1]
    with torch.inference_mode():
        apart = torch.stack([classifier.model(torch.tensor([window])).logits[0] for window in windows])
    expected = apart.mean(0) if pooling == "mean" else apart.amax(0)
    treatment = Treatment(classifier.treatment.rule, pooling)
    texts = ["bad", LONG, "Wonderful!", LONG]
    found = list(
        compute_logits(classifier.model, classifier.tokenizer, texts, treatment=treatment, batch_size=batch_size)
    )
    np.testing.assert_allclose(found[1], expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(found[3], expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(found[0], logits_of(classifier, "bad"), atol=1e-5)


def test_the_end_of_a_text_is_kept_where_training_kept_it(tmp_path: Path) -> None:
    classifier = saved(tmp_path, InferenceSettings(("text",), max_seq_length=8, long_texts="tail"))
    scores = score_texts(classifier.model, classifier.tokenizer, [LONG], treatment=classifier.treatment)
    ids = classifier.tokenizer(LONG)["input_ids"][-8:]
    with torch.inference_mode():
        expected = classifier.model(torch.tensor([ids])).logits.softmax(-1)[0].numpy()
    np.testing.assert_allclose(next(scores), expected, atol=1e-5)


def evaluated(classifier: LoadedClassifier, path: Path, lines: list[str]) -> dict[str, float]:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return dict(evaluate_file(classifier, LabelledFile(path)).metrics)


def test_numbers_are_scored_as_numbers(tmp_path: Path) -> None:
    classifier = saved(tmp_path, InferenceSettings(("text",), label_column_name="stars"), **REGRESSION)
    said = [float(logits_of(classifier, text)[0]) for text in ("bad", "Wonderful!")]
    lines = ["text,stars", f"bad,{said[0] + 1}", f"Wonderful!,{said[1] - 3}"]
    metrics = evaluated(classifier, tmp_path / "in.csv", lines)
    assert metrics["loss"] == pytest.approx(metrics["mse"], rel=1e-6) == pytest.approx(5.0, abs=1e-4)
    assert metrics["mae"] == pytest.approx(2.0, abs=1e-4)


def test_sets_of_labels_are_scored_label_by_label(tmp_path: Path) -> None:
    treated = InferenceSettings(("text",), label_column_name="tags", label_delimiter=";")
    classifier = saved(tmp_path, treated, **MULTI_LABEL)
    logits = np.stack([logits_of(classifier, text) for text in ("bad", "Wonderful!")]).astype(np.float64)
    targets = np.array([[1, 0, 1], [0, 0, 0]])
    metrics = evaluated(classifier, tmp_path / "in.csv", ["text,tags", "bad,pos;neg", "Wonderful!,"])
    probabilities = 1 / (1 + np.exp(-logits))
    entropy = -(targets * np.log(probabilities) + (1 - targets) * np.log(1 - probabilities))
    assert metrics["loss"] == pytest.approx(entropy.mean(), rel=1e-5)
    assert metrics["hamming_loss"] == pytest.approx(((probabilities >= 0.5) != targets).mean())
    table = evaluate_file(classifier, LabelledFile(tmp_path / "in.csv")).per_class
    assert [(row.label, row.support) for row in table] == [("neg", 1), ("mid", 0), ("pos", 1)]


def test_columns_that_are_not_there_are_refused(tmp_path: Path) -> None:
    classifier = saved(tmp_path, InferenceSettings(("question",), text_pair_column_name="answer"))
    path = tmp_path / "in.csv"
    path.write_text("question,reply\nbad,good\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        predict_file(classifier, survey_table(path), tmp_path / "out.csv", columns=TextColumns(("q",)))
    assert [str(problem) for problem in caught.value.problems] == [
        f"{path}:1: no column 'q': the columns are 'question', 'reply'; change --text-column",
        f"{path}:1: no column 'answer': the columns are 'question', 'reply'; change --text-pair-column",
    ]


def test_a_second_text_for_a_model_of_one_is_refused(tmp_path: Path) -> None:
    classifier = saved(tmp_path, InferenceSettings(("question",)))
    path = tmp_path / "in.csv"
    path.write_text("question,reply\nbad,good\n", encoding="utf-8")
    with pytest.raises(DataError, match="--text-pair-column: reply: this model was trained on single texts; leave it"):
        predict_file(classifier, survey_table(path), tmp_path / "out.csv", columns=TextColumns((), pair="reply"))


def test_settings_come_back_as_they_were(tmp_path: Path) -> None:
    settings = InferenceSettings(("a", "b"), "|", "c", "d", ";", {"0": "no"}, 128, "windows", 16, 4, "max")
    settings = replace(settings, temperature=1.25, thresholds={"no": 0.25})
    write_inference_settings(tmp_path, settings)
    assert read_inference_settings(tmp_path) == settings
    assert read_inference_settings(tmp_path / "elsewhere") == InferenceSettings()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": "hfpipe inference 9"}, ": is not in the format 'hfpipe inference 1'"),
        ({"thresholds": [0.5]}, ": thresholds: [0.5]: is no setting of this format"),
        ({"thresholds": {"a": True}}, ": thresholds: {'a': True}: is no setting of this format"),
        ({"thresholds": {"a": -0.5}}, ": thresholds: {'a': -0.5}: is no setting of this format"),
        ({"temperature": 0}, ": temperature: 0: is no setting of this format"),
        ({"temperature": "1"}, ": temperature: '1': is no setting of this format"),
        ({"max_windows": "4"}, ": max_windows: '4': is no setting of this format"),
        ({"max_seq_length": 1.5}, ": max_seq_length: 1.5: is no setting of this format"),
    ],
)
def test_settings_of_another_version_are_refused(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    write_inference_settings(tmp_path, InferenceSettings())
    path = tmp_path / "inference.json"
    write_json(path, {**read_json(path), **change})
    remedy = "; use the version that wrote it, or put the file back as it was"
    assert message(lambda: read_inference_settings(tmp_path)) == f"{path}{expected}{remedy}"


def test_files_of_before_temperatures_mean_what_they_meant(tmp_path: Path) -> None:
    write_inference_settings(tmp_path, InferenceSettings(("text",)))
    path = tmp_path / "inference.json"
    write_json(path, {key: value for key, value in read_json(path).items() if key not in ("temperature", "thresholds")})
    assert read_inference_settings(tmp_path) == InferenceSettings(("text",))


def test_probabilities_are_calibrated_and_labels_given_by_thresholds(tmp_path: Path) -> None:
    settings = InferenceSettings(("text",), temperature=0.5, thresholds={"mid": 0.3, "pos": 1.0})
    classifier = saved(tmp_path, settings, **MULTI_LABEL)
    rows = predicted(classifier, tmp_path / "in.jsonl", [json.dumps({"text": text}) for text in SENTENCES], ".jsonl")
    for row, text in zip(rows, SENTENCES, strict=True):
        probabilities = 1 / (1 + np.exp(-logits_of(classifier, text) / 0.5))
        assert float(row["probability_mid"]) == pytest.approx(probabilities[1], abs=2e-6)
        expected = [name for name, given in zip(("neg", "mid"), probabilities >= (0.5, 0.3, 1), strict=False) if given]
        assert row["predicted_labels"] == expected


def test_thresholds_of_other_labels_are_refused(tmp_path: Path) -> None:
    place = f"{tmp_path / 'inference.json'}: thresholds: 'good': "
    rule = "no label of the model, whose labels are neg, mid, pos; put the file back as it was"
    assert message(lambda: saved(tmp_path, InferenceSettings(("text",), thresholds={"good": 0.3}))) == place + rule


def test_a_rule_that_never_cuts_is_the_model_s_own_limit(tmp_path: Path) -> None:
    assert saved(tmp_path, InferenceSettings(("text",))).treatment.rule == LengthRule(64)
