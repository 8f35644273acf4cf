"""Reports of classifiers with thresholds: tables, errors and words go by the labels that `predict` gives."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from page_reading import Page, read_page
from report_runs import make_evaluation, make_predictions, save_classifier_run

from hfpipe.config.sections import MULTI_LABEL, SINGLE_LABEL
from hfpipe.evaluation.classifier_scores import LogitReading, compute_scores, describe_part
from hfpipe.evaluation.numbers import show_rate, show_scoring_rate
from hfpipe.evaluation.predictions import Predictions
from hfpipe.evaluation.record import EvaluationRecord, ThresholdsRecord, write_evaluation
from hfpipe.evaluation.verdict import judge_record, say_decision
from hfpipe.inference.decisions import find_label, find_labels
from hfpipe.report.page import build_report
from hfpipe.report.told_rows import ScoredPart, ToldRow

TEMPERATURE = 1.6


def decide_one(predictions: Predictions, thresholds: Mapping[str, float]) -> list[str]:
    """Return the labels that `predict` gives to the rows."""
    scores = ScoredPart(predictions, TEMPERATURE).scores
    return [find_label(row, predictions.label_names, thresholds) for row in scores]


def make_record(predictions: Predictions, headline: str, values: Mapping[str, float]) -> EvaluationRecord:
    """Return the record that a run with these thresholds writes."""
    reading = LogitReading(predictions.problem_type, tuple(predictions.label_names), TEMPERATURE, values)
    logits, targets = predictions.logits, predictions.targets
    scores = compute_scores(reading, logits, targets)
    part = describe_part(reading, logits, targets, scores=scores, headline=headline, seed=1)
    plain = make_evaluation(predictions, headline, 0.8)
    return replace(plain, parts={"validation": part, "test": part}, thresholds=ThresholdsRecord("f1", values, {}))


def read_report(folder: Path, predictions: Predictions, record: EvaluationRecord) -> Page:
    run = save_classifier_run(folder, predictions, headline=record.headline)
    write_evaluation(run, record)
    return read_page(build_report([run]))


def test_the_page_counts_what_predict_says(tmp_path: Path) -> None:
    predictions, values = make_predictions(), {"pos": 0.2}
    given = decide_one(predictions, values)
    assert given != decide_one(predictions, {})
    truth = [predictions.label_names[target] for target in predictions.targets]
    pairs = list(zip(truth, given, strict=True))
    counts = [[pairs.count((true, own)) for own in ("neg", "pos")] for true in ("neg", "pos")]
    record = make_record(predictions, "accuracy", values)
    page = read_report(tmp_path / "run", predictions, record)
    expected = [[f"{count}{100 * count / sum(own):.1f} %" for count in own] for own in counts]
    assert [row[1:] for row in page.tables["confusion-table"][1:]] == expected
    per_class = {row[0]: row for row in page.tables["class-table"][1:]}
    recall = counts[1][1] / sum(counts[1])
    assert per_class["pos"][3] == f"{100 * recall:.1f} %"
    assert "By the labels that predict gives: pos from 0.2000 on, else neg." in page.text
    wrong = sum(counts[0][1:]) + counts[1][0]
    right = record.parts["test"].metrics["accuracy_at_thresholds"].value
    assert right == pytest.approx(1 - wrong / len(truth))
    assert f"accuracy at thresholds{100 * right:.1f} %" in page.text.replace("\n", "").replace("  ", "")
    assert "Without thresholds the model gives" in page.text
    told = ScoredPart(predictions, TEMPERATURE, values).find_told_rows()
    says = [f"says {('neg', 'pos')[each.label]} {100 * each.score:.1f} %" for each in told]
    assert [each for each in says if each not in page.text] == []


def test_errors_and_doubts_go_by_the_threshold() -> None:
    # logarithms of odds for the second label: its probabilities are 0.88, 0.38, 0.12, 0.27, 0.5
    odds = np.array([2.0, -0.5, -2.0, -1.0, 0.0])
    logits = np.stack([np.zeros(5), odds], axis=1).astype(np.float32)
    predictions = replace(make_predictions(), logits=logits, targets=np.array([1, 0, 1, 0, 0]))
    plain = ScoredPart(replace(predictions, texts=predictions.texts[:5]))
    part = replace(plain, thresholds={"pos": 0.3})
    assert part.answers.tolist() == [1, 1, 0, 0, 1]
    assert part.is_right.tolist() == [True, False, False, True, False]
    assert plain.is_right.tolist() == [True, True, False, True, True]
    told = part.find_told_rows(3)
    assert [(each.kind, each.row, each.label) for each in told] == [
        *(("error", 2, 0), ("error", 4, 1), ("error", 1, 1)),
        *(("uncertain", 3, 0), ("uncertain", 1, 1), ("uncertain", 2, 0)),
    ]
    assert told[2].score == pytest.approx(1 / (1 + np.exp(0.5)))
    # how sure means how right is asked of the likeliest label
    assert all(map(np.array_equal, part.confidence, plain.confidence))


def test_each_of_several_labels_has_its_threshold() -> None:
    logits = np.array([[1.0, -3.0], [-1.0, 3.0]], np.float32)
    targets = np.array([[1, 0], [1, 1]], np.float32)
    several = replace(make_predictions(MULTI_LABEL, ("a", "b")), logits=logits, targets=targets, texts=("x", "y"))
    part = ScoredPart(several, thresholds={"a": 0.2, "b": 0.97})
    given = [find_labels(row, ("a", "b"), part.thresholds) for row in part.scores]
    assert given == [["a"], ["a"]]
    assert [[name for name, own in zip("ab", row, strict=True) if own] for row in part.answers] == given
    assert part.find_told_rows(1) == [
        ToldRow("error", 1, 1, pytest.approx(1 / (1 + np.exp(-3)))),
        ToldRow("uncertain", 1, 1, pytest.approx(1 / (1 + np.exp(-3)))),
    ]


def test_the_verdict_tells_both(tmp_path: Path) -> None:
    record = make_record(make_predictions(), "accuracy", {"pos": 0.2})
    first, second, *_ = judge_record(record).sentences
    metrics = record.parts["test"].metrics
    assert first.startswith(f"Without thresholds the model gives {100 * (metrics['accuracy'].value or 0):.1f} % of")
    numbers = [metrics[f"{name}_at_thresholds"].value or 0 for name in ("accuracy", "precision", "recall")]
    told = "accuracy {:.1f} %, precision {:.1f} % and recall {:.1f} %".format(*(100 * each for each in numbers))
    assert second == f"By its thresholds for f1, which predict applies: {told}."
    assert "thresholds" not in judge_record(replace(record, thresholds=None)).text
    ranked = judge_record(make_record(make_predictions(), "roc_auc", {"pos": 0.2})).sentences[0]
    assert ranked.startswith("On the 120 test rows the model's ROC AUC is ")
    share = judge_record(make_record(make_predictions(), "f1", {"pos": 0.2})).sentences[0]
    assert "the model's F1, without thresholds, is " in share


def test_thresholds_are_told_in_words() -> None:
    record = make_evaluation(make_predictions(), "accuracy", 0.8)
    assert say_decision(record) == ""
    several = make_evaluation(make_predictions(MULTI_LABEL, tuple("abcdefgh")), "f1_micro", 0.8)
    values = dict.fromkeys("abcdefgh", 0.25)
    told = say_decision(replace(several, thresholds=ThresholdsRecord("f1", values, {})))
    assert told == ", ".join(f"{name} from 0.2500 on" for name in "abcdef") + " and 2 more"


def test_rates_of_what_takes_no_time_are_no_figures(tmp_path: Path) -> None:
    assert [show_scoring_rate(each) for each in (None, 9.53, 12_345.6, 1_000_000.0, 18_885_741.0)] == [
        *("–", "9.5", "12,346", "1,000,000", "over 1,000,000")
    ]
    # tokens a second are measured over hours, and may be that many
    assert show_rate(18_885_741.0) == "18,885,741"
    predictions = make_predictions()
    record = make_evaluation(predictions, "accuracy", 0.8)
    majority, tfidf = record.baselines
    record = replace(record, baselines=(replace(majority, rows_per_second=18_885_741.0), tfidf))
    page = read_report(tmp_path / "run", predictions, record)
    assert [row[-1] for row in page.tables["ladder-table"][1:]] == ["480", "9,000", "over 1,000,000"]


def test_shares_of_compared_runs_are_in_per_cent(tmp_path: Path) -> None:
    runs = [save_classifier_run(tmp_path / name, make_predictions(SINGLE_LABEL)) for name in ("one", "two")]
    page = build_report(runs)
    chart = page.split("validation accuracy</figcaption>")[1].split("</figure>")[0]
    assert ">75 %</text>" in chart and ">0.75<" not in chart
