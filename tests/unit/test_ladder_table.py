"""The ladder in words, and baselines scored and compared from what is written beside two runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from hfpipe.config.sections import REGRESSION, SINGLE_LABEL
from hfpipe.errors import CheckpointError
from hfpipe.evaluation.baseline_scores import read_trained, read_trained_language_model, score_classical
from hfpipe.evaluation.block_losses import BlockLosses, read_block_losses, write_block_losses
from hfpipe.evaluation.classical import TrainingRows, fit_majority, fit_tfidf
from hfpipe.evaluation.intervals import compare_paired
from hfpipe.evaluation.ladder_table import compare_in_words, describe_ladder
from hfpipe.evaluation.predictions import Predictions, predictions_path, write_predictions
from hfpipe.evaluation.record import (
    CAUSAL_LM,
    BaselinePart,
    BaselineRecord,
    CalibrationRecord,
    ComparisonRecord,
    EvaluationRecord,
    MetricRecord,
    ModelRecord,
    PartRecord,
    write_evaluation,
)

TITLE = "TF-IDF + logistic regression"
NAMES = ("neg", "pos")
MINUS = "\N{MINUS SIGN}"


def compared(
    difference: float, low: float | None, high: float | None, *, p: float = 0.0004, metric: str = "accuracy"
) -> str:
    found = ComparisonRecord("test", metric, difference, low, high, p, "exact McNemar test")
    return compare_in_words(BaselineRecord("tfidf", TITLE, 10, 1.0, 2.0, {}, found))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            compared(0.042, 0.026, 0.058),
            f"+4.2 points over {TITLE} [95 % interval +2.6 to +5.8; p < 0.001]",
        ),
        (
            compared(0.003, -0.008, 0.014, p=0.61),
            f"not distinguishable from {TITLE}: +0.3 points [95 % interval {MINUS}0.8 to +1.4; p = 0.61]; "
            "consider the simpler model",
        ),
        (
            compared(-0.021, -0.03, -0.01, p=0.002),
            f"worse than {TITLE}: {MINUS}2.1 points [95 % interval {MINUS}3.0 to {MINUS}1.0; p = 0.002]; "
            "use the simpler model",
        ),
        (
            compared(-0.25, -0.35, -0.15, metric="bits_per_byte"),
            f"{MINUS}0.2500 bits per byte (lower is better) against {TITLE} "
            f"[95 % interval {MINUS}0.3500 to {MINUS}0.1500; p < 0.001]",
        ),
        (
            compared(1.0, None, None, p=1.0),
            f"+100.0 points against {TITLE}; how sure that is is not known, for there are too few rows",
        ),
    ],
)
def test_a_sentence_says_by_how_much_and_how_sure(said: str, expected: str) -> None:
    assert said == expected


def make_record(*baselines: BaselineRecord, headline: str = "accuracy") -> EvaluationRecord:
    part = PartRecord(100, {headline: MetricRecord(0.9, 0.84, 0.95)})
    model = ModelRecord("tiny-bert", 12_345, 61.0, 12.34)
    return EvaluationRecord(SINGLE_LABEL, NAMES, headline, {"test": part}, None, None, baselines, model)


def make_baseline(name: str, title: str, value: float, difference: float) -> BaselineRecord:
    metrics = {"accuracy": MetricRecord(value, value - 0.05, value + 0.04)}
    found = ComparisonRecord(
        "test", "accuracy", difference, difference - 0.01, difference + 0.01, 0.03, "exact McNemar test"
    )
    return BaselineRecord(name, title, 1_000, 0.5, 12_345.6, {"test": BaselinePart(metrics)}, found)


def test_the_ladder_is_best_first_and_ends_in_a_sentence() -> None:
    majority = make_baseline("majority", "majority class", 0.5, 0.4)
    tfidf = make_baseline("tfidf", TITLE, 0.88, 0.02)
    assert describe_ladder(make_record(majority, tfidf)) == [
        "test accuracy                    score   95 % interval  parameters  trained in  rows/s",
        "* tiny-bert                     90.0 %  84.0 to 95.0 %      12,345   1 min 1 s      12",
        "  TF-IDF + logistic regression  88.0 %  83.0 to 92.0 %       1,000       0.5 s  12,346",
        "  majority class                50.0 %  45.0 to 54.0 %       1,000       0.5 s  12,346",
        f"+2.0 points over {TITLE} [95 % interval +1.0 to +3.0; p = 0.030]",
    ]
    assert describe_ladder(make_record()) == []


def make_predictions(seed: int, *, problem_type: str = SINGLE_LABEL) -> Predictions:
    drawn = np.random.default_rng(seed)
    targets = np.random.default_rng(0).integers(2, size=60)
    logits = drawn.normal(size=(60, 2 if problem_type == SINGLE_LABEL else 1)).astype(np.float32)
    texts = [f"{'good' if target else 'bad'} film {index % 7}" for index, target in enumerate(targets)]
    own = targets if problem_type == SINGLE_LABEL else targets.astype(np.float32)
    names = NAMES if problem_type == SINGLE_LABEL else ("stars",)
    places = [f"a.csv:{index + 2}" for index in range(60)]
    return Predictions(problem_type, names, logits, own, places, texts, None, np.full(60, 3))


def test_a_classical_baseline_is_scored_on_the_models_rows() -> None:
    predictions = {"validation": make_predictions(1), "test": make_predictions(2)}
    record = replace(make_record(), parts={"test": make_record().parts["test"], "validation": PartRecord(60, {})})
    own = predictions["test"]
    rows = TrainingRows(SINGLE_LABEL, 2, own.texts, own.targets)
    found = score_classical(fit_tfidf(rows, seed=1), record, predictions, seed=5)
    assert (found.name, found.parts["test"].metrics["accuracy"].value) == ("tfidf", 1.0)
    assert found.parts.keys() == predictions.keys()
    logits = fit_tfidf(rows, seed=1).logits(own.texts)
    expected = compare_paired(SINGLE_LABEL, own.logits, logits, own.targets, metric="accuracy", seed=5)
    assert found.comparison == ComparisonRecord("test", **vars(expected))


def test_probabilities_are_compared_calibrated_where_the_models_are() -> None:
    clean = make_predictions(1)
    own = replace(clean, targets=np.where(np.arange(60) % 5 == 0, 1 - clean.targets, clean.targets))
    predictions = {"validation": own}
    parts = {"validation": PartRecord(60, {"log_loss": MetricRecord(0.7)})}
    plain = replace(make_record(headline="log_loss"), parts=parts)
    calibrated = replace(plain, calibration=CalibrationRecord(20.0, 60, 1.0, 0.7, 0.2, 0.1))
    rows = TrainingRows(SINGLE_LABEL, 2, clean.texts, clean.targets)
    for fit, changes in ((fit_tfidf(rows, seed=1), True), (fit_majority(rows), False)):
        losses = [
            score_classical(fit, record, predictions, seed=5).parts["validation"].metrics["log_loss"].value
            for record in (plain, calibrated)
        ]
        assert (losses[0] != losses[1]) == changes
    found = score_classical(fit_majority(rows), calibrated, predictions, seed=5).comparison
    majority = fit_majority(rows).logits(own.texts)
    expected = compare_paired(SINGLE_LABEL, own.logits / 20, majority, own.targets, metric="log_loss", seed=5)
    assert found is not None and found.difference == pytest.approx(expected.difference)


def test_a_number_has_baselines_too() -> None:
    own = make_predictions(1, problem_type=REGRESSION)
    record = replace(make_record(headline="rmse"), problem_type=REGRESSION, label_names=("stars",))
    record = replace(record, parts={"validation": record.parts["test"]})
    rows = TrainingRows(REGRESSION, 1, own.texts, own.targets)
    found = score_classical(fit_majority(rows), record, {"validation": own}, seed=5)
    assert found.parts["validation"].metrics["rmse"].value == pytest.approx(own.targets.std())
    assert found.comparison is not None and found.comparison.metric == "rmse"


def write_run(folder: Path, predictions: Predictions) -> None:
    folder.mkdir()
    write_evaluation(folder, make_record())
    write_predictions(predictions_path(folder, "test"), predictions)


def test_a_trained_baseline_of_other_rows_is_refused(tmp_path: Path) -> None:
    own, other = make_predictions(1), make_predictions(2)
    write_run(tmp_path / "same", other)
    found = read_trained(tmp_path / "same", "gru", "GRU", record=make_record(), predictions={"test": own}, seed=5)
    expected = compare_paired(SINGLE_LABEL, own.logits, other.logits, own.targets, metric="accuracy", seed=5)
    assert found.comparison == ComparisonRecord("test", **vars(expected))
    assert (found.parameters, found.train_seconds) == (12_345, 61.0)
    others = {
        "places": replace(other, places=[f"b.csv:{index}" for index in range(60)]),
        "targets": replace(other, targets=1 - other.targets),
    }
    for name, predictions in others.items():
        write_run(tmp_path / name, predictions)
        with pytest.raises(CheckpointError, match=r"is of other rows than the model's: .*; remove the folder of this"):
            read_trained(tmp_path / name, "gru", "GRU", record=make_record(), predictions={"test": own}, seed=5)


def make_blocks(seed: int) -> BlockLosses:
    losses = np.random.default_rng(seed).gamma(9.0, 3.0, size=50)
    return BlockLosses(losses, np.full(50, 15), np.linspace(40.5, 60.25, 50))


def test_language_models_are_compared_by_blocks(tmp_path: Path) -> None:
    own, other = make_blocks(1), make_blocks(2)
    record = replace(make_record(headline="bits_per_byte"), problem_type=CAUSAL_LM, label_names=())
    write_evaluation(tmp_path, record)
    write_block_losses(tmp_path, "test", other)
    read = read_block_losses(tmp_path, "test")
    assert all((mine == theirs).all() for mine, theirs in zip(vars(read).values(), vars(other).values(), strict=True))
    found = read_trained_language_model(tmp_path, "lstm", "LSTM", record=record, blocks={"test": own}, seed=5)
    bits = (own.losses.sum() - other.losses.sum()) / np.log(2) / own.byte_counts.sum()
    assert found.comparison is not None and found.comparison.difference == pytest.approx(bits)
    by_loss = replace(record, headline="perplexity")
    of_tokens = read_trained_language_model(tmp_path, "lstm", "LSTM", record=by_loss, blocks={"test": own}, seed=5)
    assert of_tokens.comparison is not None and of_tokens.comparison.metric == "loss"
    assert of_tokens.comparison.difference == pytest.approx((own.losses.sum() - other.losses.sum()) / 750)
    cut = {"test": replace(own, tokens=own.tokens + 1)}
    with pytest.raises(CheckpointError, match="is of other rows"):
        read_trained_language_model(tmp_path, "lstm", "LSTM", record=record, blocks=cut, seed=5)


def test_block_losses_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_block_losses(tmp_path, "test")
    path = tmp_path / "block_losses" / "test.parquet"
    path.parent.mkdir()
    path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(CheckpointError, match="cannot be read as Parquet"):
        read_block_losses(tmp_path, "test")
    pyarrow.parquet.write_table(pyarrow.table({"loss": [1.0]}), path)
    with pytest.raises(CheckpointError, match="holds other columns"):
        read_block_losses(tmp_path, "test")
