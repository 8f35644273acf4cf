"""What a run says of its model: scores with intervals, calibration and thresholds that predict applies, predictions."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run_recipe_here
from interruption import killed_before_writing
from test_exact_losses import classify
from test_resume import language_model_settings, outcome

from hfpipe.config.sections import SINGLE_LABEL
from hfpipe.errors import ConfigError
from hfpipe.evaluation.classifier_scores import LogitReading, choose_reading
from hfpipe.evaluation.labelled_file import LabelledFile, evaluate_file
from hfpipe.evaluation.predictions import predictions_path, read_predictions
from hfpipe.evaluation.record import flatten_metrics, read_evaluation
from hfpipe.inference.loading import load_classifier
from hfpipe.inference.scoring_files import predict_file
from hfpipe.inference.tables import survey_table
from hfpipe.records.inference_settings import read_inference_settings
from hfpipe.records.run_directory import read_json

NO_BASELINES: dict[str, Any] = {"baselines": "[]"}
CHOSEN = {"threshold_for": "recall_at_precision=0.9", "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def judged_run(
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return a run that is calibrated and has thresholds, with a test file of 40 rows."""
    folder = tmp_path_factory.mktemp("judged") / "run"
    given = {**NO_BASELINES, "test_file": reviews_csv(40), **CHOSEN}
    classify(reviews_csv(60), checkpoints("bert"), folder, **given)
    return folder


def test_the_scores_are_in_three_places_and_agree(judged_run: Path) -> None:
    record, metrics = read_evaluation(judged_run), read_json(judged_run / "metrics.json")
    assert record.problem_type == SINGLE_LABEL
    assert record.headline == "accuracy"
    assert record.parts["test"].rows == 40
    flat = flatten_metrics(record)
    assert {name: metrics[name] for name in flat} == flat
    assert metrics["eval_accuracy_low"] <= metrics["eval_accuracy"] <= metrics["eval_accuracy_high"]
    assert metrics["test_log_loss_low"] < metrics["test_log_loss"] < metrics["test_log_loss_high"]
    # the loss of training is that of logits as they are
    assert metrics["test_loss"] == pytest.approx(metrics["test_log_loss_uncalibrated"], rel=1e-5)
    assert metrics["test_log_loss"] != metrics["test_log_loss_uncalibrated"]
    assert metrics["eval_log_loss"] < metrics["eval_log_loss_uncalibrated"]
    history = [line for line in (judged_run / "history.jsonl").read_text().splitlines() if "eval_loss" in line]
    assert history
    assert record.model.train_seconds is not None
    assert record.model.train_seconds > 0
    assert record.model.parameters == read_json(judged_run / "run.json")["parameters"]["count"]


def test_the_predictions_are_those_of_the_finished_model(judged_run: Path, reviews_csv: Callable[[int], Path]) -> None:
    predictions = read_predictions(predictions_path(judged_run, "test"))
    with reviews_csv(40).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(predictions.texts) == [row["text"] for row in rows]
    assert [predictions.label_names[target] for target in predictions.targets] == [row["label"] for row in rows]
    assert predictions.places[0] == f"{reviews_csv(40)}:2"
    right = predictions.logits.argmax(axis=1) == predictions.targets
    assert read_evaluation(judged_run).parts["test"].metrics["accuracy"].value == right.mean()
    classifier = load_classifier(judged_run)
    lengths = [len(ids) for ids in classifier.tokenizer(list(predictions.texts))["input_ids"]]
    assert predictions.token_counts.tolist() == lengths
    validation = read_predictions(predictions_path(judged_run, "validation"))
    assert len(validation) == read_evaluation(judged_run).parts["validation"].rows
    assert not set(validation.places) & set(predictions.places)


def test_predict_and_evaluate_say_what_the_record_says(
    judged_run: Path, reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    record, kept = read_evaluation(judged_run), read_inference_settings(judged_run)
    assert record.calibration is not None
    assert record.thresholds is not None
    assert kept.temperature == record.calibration.temperature != 1.0
    assert kept.thresholds == record.thresholds.values
    assert record.thresholds.aim == "recall_at_precision=0.9"
    predictions, classifier = read_predictions(predictions_path(judged_run, "test")), load_classifier(judged_run)
    scored = tmp_path / "scored.csv"
    predict_file(classifier, survey_table(reviews_csv(40)), scored)
    with scored.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    powers = np.exp(predictions.logits.astype(np.float64) / kept.temperature)
    expected = powers[:, 1] / powers.sum(axis=1)
    given = np.array([float(row["probability_pos"]) for row in rows])
    assert given == pytest.approx(expected, abs=2e-5)
    labels = ["pos" if each >= kept.thresholds["pos"] else "neg" for each in expected]
    assert [row["predicted_label"] for row in rows] == labels
    scores = evaluate_file(classifier, LabelledFile(reviews_csv(40))).metrics
    stated = {name: metric.value for name, metric in record.parts["test"].metrics.items()}
    assert scores.keys() == stated.keys()
    assert scores == pytest.approx(stated, abs=1e-5)
    targets = predictions.targets == 1
    found = np.array(labels) == "pos"
    assert stated["recall_at_thresholds"] == (found & targets).sum() / targets.sum()
    # the tables of report, card and evaluate count the labels that predict gives
    counts = tuple(tuple(int((found[targets == true] == own).sum()) for own in (0, 1)) for true in (0, 1))
    assert record.parts["test"].confusion == counts
    assert [row.recall for row in record.parts["test"].per_class][1] == stated["recall_at_thresholds"]
    per_class = evaluate_file(classifier, LabelledFile(reviews_csv(40))).per_class
    assert [row.recall for row in per_class][1] == stated["recall_at_thresholds"]


def test_what_is_chosen_is_chosen_on_the_validation_part(judged_run: Path) -> None:
    record = read_evaluation(judged_run)
    validation = read_predictions(predictions_path(judged_run, "validation"))
    plain = LogitReading(SINGLE_LABEL, ("neg", "pos"))
    aim = CHOSEN["threshold_for"]
    chosen = choose_reading(plain, validation.logits, validation.targets, calibrate=True, aim=str(aim))
    assert (record.calibration, record.thresholds) == (chosen.calibration, chosen.thresholds)
    assert record.calibration is not None
    assert record.calibration.rows == record.parts["validation"].rows
    assert record.calibration.log_loss_after == record.parts["validation"].metrics["log_loss"].value


def test_a_checkpoint_has_no_temperature_of_the_finished_model(judged_run: Path) -> None:
    checkpoint = next((judged_run / "checkpoints").glob("checkpoint-*"))
    settings = load_classifier(checkpoint).settings
    assert (settings.temperature, settings.thresholds) == (1.0, {})
    assert settings.text_column_names == ("text",)


def test_a_run_killed_while_it_is_judged_makes_the_same_files(
    judged_run: Path, checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    folder, model = tmp_path / "run", checkpoints("bert")
    given = {**NO_BASELINES, "test_file": reviews_csv(40), **CHOSEN}
    for name in ("validation.parquet", "inference.json", "evaluation.json"):
        # of inference.json the first one is written when the run begins, or goes on
        with killed_before_writing(name), pytest.raises(KeyboardInterrupt):
            classify(reviews_csv(60), model, folder, **given)
        assert not (folder / "evaluation.json").exists()
    classify(reviews_csv(60), model, folder, **given)
    assert outcome(folder)[0] == outcome(judged_run)[0]
    assert outcome(folder)[3] == outcome(judged_run)[3]


def test_without_calibration_nothing_is_changed(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    classify(reviews_csv(40), checkpoints("bert"), tmp_path / "run", **NO_BASELINES, calibrate="false")
    record, kept = read_evaluation(tmp_path / "run"), read_inference_settings(tmp_path / "run")
    assert (record.calibration, record.thresholds) == (None, None)
    assert (kept.temperature, kept.thresholds) == (1.0, {})
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert not [name for name in metrics if "uncalibrated" in name or "thresholds" in name]
    assert metrics["eval_log_loss"] == pytest.approx(metrics["eval_loss"], rel=1e-5)


def test_thresholds_for_three_labels_are_refused(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    table = tmp_path / "three.csv"
    table.write_text("text,label\n" + "".join(f"text number {row},{'abc'[row % 3]}\n" for row in range(30)))
    with pytest.raises(ConfigError) as error:
        classify(table, checkpoints("bert"), tmp_path / "run", threshold_for="f1")
    assert (
        "--threshold_for: f1: thresholds are for 2 labels, or several labels a row, and here a row has one of 3"
        in str(error.value)
    )
    assert not (tmp_path / "run" / "run.json").exists(), "it is known before anything is written"


def test_a_language_model_has_intervals_over_its_blocks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="hfpipe")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"line {index} of a corpus of plain words, {index * index}\n" for index in range(40)))
    run_recipe_here("pretrain_causal_lm", {**language_model_settings(corpus), "output_dir": tmp_path / "run"})
    record, metrics = read_evaluation(tmp_path / "run"), read_json(tmp_path / "run" / "metrics.json")
    assert record.headline == "bits_per_byte"
    assert record.label_names == ()
    part = record.parts["validation"]
    for name in ("loss", "perplexity", "bits_per_byte"):
        assert metrics[f"eval_{name}_low"] < metrics[f"eval_{name}"] < metrics[f"eval_{name}_high"]
    assert metrics["eval_perplexity_low"] == pytest.approx(math.exp(metrics["eval_loss_low"]))
    table = caplog.text[caplog.text.index("scores, 95 % interval") :].splitlines()
    assert table[1].endswith(_cell(part.metrics["bits_per_byte"]))


def _cell(metric: Any) -> str:
    return f"bits_per_byte         {metric.value:.4f} [{metric.low:.4f}, {metric.high:.4f}]"
