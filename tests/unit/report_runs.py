"""Run directories as finished runs leave them, for reports: hand-made scores and predictions, no training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from conftest import make_review
from hub_runs import make_record

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation.predictions import Predictions, predictions_path, write_predictions
from hfpipe.evaluation.record import (
    CAUSAL_LM,
    BaselinePart,
    BaselineRecord,
    CalibrationRecord,
    ClassRecord,
    ComparisonRecord,
    EvaluationRecord,
    MetricRecord,
    ModelRecord,
    PartRecord,
    write_evaluation,
)
from hfpipe.inspection.record import Finding, FindingsRecord, FoundRow, NotLookedFor, Overview, write_findings
from hfpipe.records.run_directory import append_history, write_json
from hfpipe.report.occlusion import explain_rows, write_attributions
from hfpipe.report.told_rows import ScoredPart

HOSTILE = '<script>alert("x")</script>&$\\frac{1}'
ROWS = 120


def make_predictions(problem_type: str = SINGLE_LABEL, labels: Sequence[str] = ("neg", "pos")) -> Predictions:
    """Return 120 rows that a fair model has scored, with a column to cut them by."""
    generator = np.random.default_rng(3)
    texts = [make_review(row)[0] for row in range(ROWS)]
    targets, logits = _targets(problem_type, len(labels), generator)
    return Predictions(
        problem_type,
        tuple(labels),
        logits.astype(np.float32),
        targets,
        [f"/data/secret place/reviews.csv:{row + 2}" for row in range(ROWS)],
        texts,
        None,
        np.array([len(text.split()) for text in texts]),
        {"source": [("web", "print", None)[row % 3] for row in range(ROWS)], "id": [str(row) for row in range(ROWS)]},
    )


def _targets(problem_type: str, labels: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if problem_type == REGRESSION:
        numbers = np.linspace(1, 5, ROWS).astype(np.float32)
        return numbers, (numbers + generator.normal(0, 0.4, ROWS))[:, None]
    if problem_type == MULTI_LABEL:
        several = (generator.random((ROWS, labels)) < 0.4).astype(np.float32)
        return several, (several * 2 - 1) * 1.5 + generator.normal(0, 1.2, (ROWS, labels))
    ids = np.arange(ROWS, dtype=np.int64) % labels
    return ids, np.eye(labels)[ids] * 2.2 + generator.normal(0, 1, (ROWS, labels))


def make_evaluation(predictions: Predictions, headline: str, value: float, *, sign: int = 1) -> EvaluationRecord:
    """Return a record of the test part with two baselines, the better one beaten by 0.1."""
    names, is_single = predictions.label_names, predictions.problem_type == SINGLE_LABEL
    confusion = None
    if is_single:
        counts = np.zeros((len(names), len(names)), int)
        np.add.at(counts, (predictions.targets, predictions.logits.argmax(axis=1)), 1)
        confusion = tuple(map(tuple, counts.tolist()))
    per_class = (
        () if predictions.problem_type == REGRESSION else tuple(ClassRecord(n, 0.8, 0.75, 0.77, 60) for n in names)
    )
    metrics = {"loss": MetricRecord(0.31), headline: MetricRecord(value, value - 0.05, value + 0.05)}
    part = PartRecord(len(predictions), metrics, per_class, confusion)
    best = ComparisonRecord(
        "test", headline, sign * 0.1, sign * 0.1 - 0.06, sign * 0.1 + 0.06, 0.0004, "exact McNemar test"
    )
    return EvaluationRecord(
        predictions.problem_type,
        names,
        headline,
        {"validation": part, "test": part},
        CalibrationRecord(1.6, 90, 0.40, 0.35, 0.08, 0.03) if is_single else None,
        None,
        (
            _baseline("majority", "Majority class", headline, value - sign * 0.3, None),
            _baseline("tfidf", "TF-IDF + logistic regression", headline, value - sign * 0.1, best),
        ),
        ModelRecord("BERT", 1_234_567, 61.5, 480.0),
    )


def _baseline(
    name: str, title: str, headline: str, value: float, comparison: ComparisonRecord | None
) -> BaselineRecord:
    score = MetricRecord(value, value - 0.05, value + 0.05)
    return BaselineRecord(name, title, 2_000, 0.5, 9_000.0, {"test": BaselinePart({headline: score})}, comparison)


def make_findings() -> FindingsRecord:
    """Return one finding, in hostile words."""
    row = FoundRow("/data/secret place/reviews.csv:7", "as row 3", HOSTILE)
    finding = Finding(
        "duplicates", "serious", "train", f"Equal texts {HOSTILE}", 4, 40, "By hash.", "Remove them.", (row,)
    )
    overview = Overview("single_label_classification", "text", (), (), (), (), ())
    return FindingsRecord(overview, (finding,), (NotLookedFor("near_duplicates", "too many rows"),))


def save_classifier_run(
    folder: Path, predictions: Predictions, *, headline: str = "accuracy", value: float = 0.8, sign: int = 1
) -> Path:
    """Write the directory of a finished classifier run with everything a report shows."""
    evaluation = make_evaluation(predictions, headline, value, sign=sign)
    record = make_record(problem_type=predictions.problem_type, max_seq_length=16)
    record["data"]["labels"] = {name: {"train": 20, "validation": 8} for name in predictions.label_names}
    save_run_files(folder, {**record, "label_names": list(predictions.label_names)}, metrics={"eval_accuracy": 0.8})
    write_evaluation(folder, evaluation)
    write_predictions(predictions_path(folder, "test"), predictions)
    temperature = evaluation.calibration.temperature if evaluation.calibration else 1.0
    told = ScoredPart(predictions, temperature).find_told_rows()
    texts = [predictions.texts[row.row] for row in told]
    width = len(predictions.label_names)
    attributions = explain_rows(told, texts, lambda given: score_by_length(given, width), part="test")
    write_attributions(folder, attributions)
    write_findings(folder / "findings.json", make_findings())
    return folder


def save_language_run(folder: Path) -> Path:
    """Write the directory of a finished language model: two sources, continuations at two steps and at the end."""
    record = make_record("pretrain_causal_lm", document_per="line", max_steps=40)
    record["mixture"] = {"books": {}, HOSTILE: {}}
    record["samples"] = [{"prompt": "The film", "text": f"The film at the end {HOSTILE}"}]
    history = [{"step": step, "loss": 5 - step / 40, "learning_rate": 1e-3 * step / 40} for step in range(1, 81)]
    save_run_files(folder, record, metrics={"train_samples_per_second": 20.0}, history=history)
    for step in (40, 80):
        samples = [{"prompt": "The film", "text": f"The film of step {step}"}]
        append_history(folder / "samples.jsonl", {"step": step, "samples": samples})
    metrics = {
        "bits_per_byte": MetricRecord(1.25, 1.2, 1.3),
        "bits_per_byte_books": MetricRecord(1.1, 1.0, 1.2),
        f"bits_per_byte_{HOSTILE}": MetricRecord(1.4, 1.3, 1.5),
    }
    part = PartRecord(64, metrics)
    model = ModelRecord("Llama", 243_008, 12.0, 300.0)
    write_evaluation(
        folder, EvaluationRecord(CAUSAL_LM, (), "bits_per_byte", {"validation": part}, None, None, (), model)
    )
    return folder


def save_run_files(
    folder: Path,
    record: Mapping[str, Any],
    *,
    metrics: Mapping[str, float],
    history: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write what every run has."""
    folder.mkdir(parents=True)
    write_json(folder / "run.json", record)
    write_json(folder / "metrics.json", metrics)
    for event in history or [
        {"step": 2, "loss": 0.7, "learning_rate": 1e-4, "epoch": 0.5},
        {"step": 2, "eval_loss": 0.6, "eval_accuracy": 0.7, "epoch": 0.5},
        {"step": 4, "loss": 0.5, "learning_rate": 0.0, "epoch": 1.0},
        {"step": 4, "eval_loss": 0.45, "eval_accuracy": 0.8, "epoch": 1.0},
    ]:
        append_history(folder / "history.jsonl", event)


def score_by_length(texts: Sequence[Any], labels: int) -> np.ndarray:
    """Return scores that rise with the signs of a text, (texts, labels)."""
    lengths = np.array([[len(text)] for text in texts], dtype=np.float64)
    return np.repeat(lengths / 1_000, labels, axis=1)
