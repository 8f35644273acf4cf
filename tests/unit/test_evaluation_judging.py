"""What is chosen on validation rows, what it does to scores, and the forms that scores take."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.data.corpus import pack_heldout_blocks
from hfpipe.data.places import Places
from hfpipe.evaluation.classifier_scores import (
    LogitReading,
    choose_reading,
    compute_further_scores,
    compute_scores,
    describe_part,
)
from hfpipe.evaluation.headlines import find_headline, find_headlines
from hfpipe.evaluation.language_scores import describe_blocks
from hfpipe.evaluation.metrics import compute_metrics
from hfpipe.evaluation.probabilities import to_probabilities
from hfpipe.evaluation.record import (
    CAUSAL_LM,
    BaselinePart,
    BaselineRecord,
    EvaluationRecord,
    MetricRecord,
    ModelRecord,
    PartRecord,
    flatten_metrics,
)
from hfpipe.inference.decisions import find_label, find_labels
from hfpipe.training.datasets import BlockRows
from hfpipe.training.score_table import score_table

SEED = 7
TWO = LogitReading(SINGLE_LABEL, ("neg", "pos"))
THREE = LogitReading(MULTI_LABEL, ("a", "b", "c"))


def sharpened(rows: int, *, sharpness: float, labels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are too large by `sharpness`, and labels drawn by what they were before."""
    generator = np.random.default_rng(SEED)
    logits = generator.standard_normal((rows, labels))
    drawn = generator.random(rows)[:, None] > np.cumsum(to_probabilities(SINGLE_LABEL, logits), axis=1)
    return (logits * sharpness).astype(np.float32), np.minimum(drawn.sum(axis=1), labels - 1)


def test_the_temperature_is_what_the_logits_are_too_large_by() -> None:
    logits, targets = sharpened(20_000, sharpness=3.0)
    chosen = choose_reading(TWO, logits, targets, calibrate=True, aim=None)
    assert chosen.reading.temperature == pytest.approx(3.0, rel=0.05)
    assert chosen.calibration is not None
    assert chosen.calibration.temperature == chosen.reading.temperature
    assert chosen.calibration.rows == 20_000
    assert chosen.thresholds is None
    plain = choose_reading(TWO, logits, targets, calibrate=False, aim=None)
    assert plain.reading == TWO
    assert plain.calibration is None


def test_numbers_are_not_calibrated() -> None:
    reading = LogitReading(REGRESSION, ("stars",))
    chosen = choose_reading(reading, np.zeros((3, 1), np.float32), np.zeros(3), calibrate=True, aim=None)
    assert chosen.reading == reading
    assert chosen.calibration is None


def test_calibration_changes_probabilities_and_no_label() -> None:
    logits, targets = sharpened(500, sharpness=4.0, labels=3)
    names = ("a", "b", "c")
    reading = choose_reading(LogitReading(SINGLE_LABEL, names), logits, targets, calibrate=True, aim=None).reading
    plain, found = compute_metrics(SINGLE_LABEL, logits, targets), compute_scores(reading, logits, targets)
    assert {name for name in found if name.endswith("_uncalibrated")} == {
        "log_loss_uncalibrated",
        "brier_uncalibrated",
        "ece_uncalibrated",
    }
    for name in ("log_loss", "brier", "ece"):
        assert found[f"{name}_uncalibrated"] == plain[name]
        assert found[name] < plain[name]
    for name in ("accuracy", "f1_macro", "mcc"):
        assert found[name] == plain[name]
    assert compute_further_scores(LogitReading(SINGLE_LABEL, names), logits, targets) == {}


def test_thresholds_of_two_labels_decide_as_predict_does() -> None:
    logits, targets = sharpened(300, sharpness=2.0)
    chosen = choose_reading(TWO, logits, targets, calibrate=True, aim="precision_at_recall=0.95")
    reading = chosen.reading
    assert set(reading.thresholds) == {"pos"}
    assert chosen.thresholds is not None
    assert chosen.thresholds.values == reading.thresholds
    given = to_probabilities(SINGLE_LABEL, reading.calibrate(logits))
    labels = [find_label(row, reading.label_names, reading.thresholds) for row in given]
    assert [reading.label_names[label] for label in reading.decide(logits).argmax(axis=1)] == labels
    assert len(set(labels)) == 2
    assert labels != [reading.label_names[label] for label in logits.argmax(axis=1)]
    found = compute_scores(reading, logits, targets)
    hits = sum(label == "pos" and target == 1 for label, target in zip(labels, targets, strict=True))
    assert found["recall_at_thresholds"] == hits / (targets == 1).sum() >= 0.95
    assert found["precision_at_thresholds"] == hits / labels.count("pos")


def test_thresholds_of_several_labels_decide_as_predict_does() -> None:
    generator = np.random.default_rng(SEED)
    logits = generator.standard_normal((200, 3)).astype(np.float32)
    targets = (generator.random((200, 3)) < to_probabilities(MULTI_LABEL, logits - 1)).astype(np.float32)
    reading = choose_reading(THREE, logits, targets, calibrate=True, aim="f1").reading
    assert set(reading.thresholds) == {"a", "b", "c"}
    given = to_probabilities(MULTI_LABEL, reading.calibrate(logits))
    labels = [find_labels(row, reading.label_names, reading.thresholds) for row in given]
    decided = reading.decide(logits)
    assert [[name for name, sign in zip("abc", row, strict=True) if sign > 0] for row in decided] == labels
    found = compute_scores(reading, logits, targets)
    assert found["f1_macro_at_thresholds"] > found["f1_macro"]
    assert {name for name in found if name.endswith("_at_thresholds")} == {
        f"{name}_at_thresholds"
        for name in ("f1_micro", "precision_micro", "recall_micro", "f1_macro", "subset_accuracy")
    }


def test_the_record_of_a_part_has_tables_and_intervals() -> None:
    logits = np.array([[2, 0], [2, 0], [0, 1], [0, 3], [4, 0], [0, 1]], dtype=np.float32)
    targets = np.array([0, 0, 1, 0, 1, 1])
    scores = {"loss": 9.0, **compute_scores(TWO, logits, targets), "accuracy_films": 0.5}
    part = describe_part(TWO, logits, targets, scores=scores, headline="accuracy", seed=SEED)
    assert part.rows == 6
    assert list(part.metrics) == list(scores)
    assert part.confusion == ((2, 1), (1, 2))
    assert [(row.label, row.support) for row in part.per_class] == [("neg", 3), ("pos", 3)]
    assert part.metrics["loss"] == MetricRecord(9.0)
    assert part.metrics["accuracy_films"] == MetricRecord(0.5)
    accuracy = part.metrics["accuracy"]
    assert accuracy.value == 4 / 6
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low < 4 / 6 < accuracy.high
    again = describe_part(TWO, logits, targets, scores=scores, headline="accuracy", seed=SEED)
    assert again == part


def test_scores_by_thresholds_have_intervals_too() -> None:
    logits, targets = sharpened(100, sharpness=1.0)
    reading = LogitReading(SINGLE_LABEL, ("neg", "pos"), 1.5, {"pos": 0.3})
    scores = compute_scores(reading, logits, targets)
    part = describe_part(reading, logits, targets, scores=scores, headline="f1", seed=SEED)
    found = part.metrics["f1_at_thresholds"]
    assert found.value == scores["f1_at_thresholds"] != scores["f1"]
    assert found.low is not None
    assert found.low < scores["f1_at_thresholds"]
    # the tables are those of the labels that predict gives
    assert part.confusion is not None
    assert part.confusion[0][0] + part.confusion[1][1] == round(scores["accuracy_at_thresholds"] * 100)
    assert [row.recall for row in part.per_class][1] == scores["recall_at_thresholds"]


def test_numbers_have_no_tables() -> None:
    reading = LogitReading(REGRESSION, ("stars",))
    logits, targets = np.array([[1.0], [2], [4]], np.float32), np.array([1.0, 3, 3])
    scores = compute_scores(reading, logits, targets)
    part = describe_part(reading, logits, targets, scores=scores, headline="rmse", seed=SEED)
    assert part.per_class == ()
    assert part.confusion is None
    assert part.metrics["rmse"].low is not None


def test_the_scores_of_blocks_are_ratios_of_sums() -> None:
    losses, tokens, sizes = np.array([8.0, 12, 10, 14]), np.array([4, 4, 4, 2]), np.array([10.0, 12, 9, 5])
    scores = {"loss": 44 / 14, "perplexity": math.exp(44 / 14), "bits_per_byte": 44 / 36 / math.log(2), "loss_x": 1.0}
    part = describe_blocks(losses, tokens, sizes, scores=scores, seed=SEED)
    assert part.rows == 4
    assert part.metrics["loss_x"] == MetricRecord(1.0)
    ends = {name: (part.metrics[name].low, part.metrics[name].high) for name in ("loss", "perplexity", "bits_per_byte")}
    for name, (low, high) in ends.items():
        assert low is not None
        assert high is not None
        assert low < scores[name] < high
    assert ends["perplexity"] == tuple(math.exp(end) for end in ends["loss"] if end is not None)
    alone = describe_blocks(losses[:1], tokens[:1], sizes[:1], scores={"perplexity": math.exp(2)}, seed=SEED)
    assert alone.metrics["perplexity"] == MetricRecord(math.exp(2))


@pytest.mark.parametrize(
    ("problem_type", "metric", "known", "headline"),
    [
        (SINGLE_LABEL, "loss", {"loss", "accuracy"}, "accuracy"),
        (SINGLE_LABEL, "f1_macro", {"loss", "accuracy", "f1_macro"}, "f1_macro"),
        (SINGLE_LABEL, "roc_auc", {"loss", "accuracy"}, "accuracy"),
        (MULTI_LABEL, "loss", {"loss", "f1_micro"}, "f1_micro"),
        (REGRESSION, "loss", {"loss", "rmse"}, "rmse"),
        (CAUSAL_LM, "loss", {"loss", "bits_per_byte"}, "bits_per_byte"),
        (CAUSAL_LM, "perplexity", {"loss", "perplexity", "bits_per_byte"}, "perplexity"),
    ],
)
def test_a_run_is_compared_by_the_score_that_chose_it(
    problem_type: str, metric: str, known: set[str], headline: str
) -> None:
    assert find_headline(problem_type, metric, known) == headline
    assert find_headlines(problem_type, headline, known)[0] == headline
    assert set(find_headlines(problem_type, headline, known)) <= known


def test_scores_are_flattened_as_metrics_json_has_them() -> None:
    majority = BaselineRecord("majority", "Majority", None, 0.1, 9.0, {"test": BaselinePart({"f1": MetricRecord(0.2)})})
    record = EvaluationRecord(
        SINGLE_LABEL,
        ("neg", "pos"),
        "f1",
        {
            "validation": PartRecord(3, {"loss": MetricRecord(0.5), "f1": MetricRecord(0.7, 0.6, 0.8)}),
            "test": PartRecord(2, {"loss": MetricRecord(None), "f1": MetricRecord(0.75, 0.5, 1.0)}),
        },
        None,
        None,
        (majority,),
        ModelRecord("model", 10),
    )
    assert flatten_metrics(record) == {
        "eval_loss": 0.5,
        "eval_f1": 0.7,
        "eval_f1_low": 0.6,
        "eval_f1_high": 0.8,
        "test_loss": None,
        "test_f1": 0.75,
        "test_f1_low": 0.5,
        "test_f1_high": 1.0,
        "test_majority_f1": 0.2,
    }


def test_the_shown_scores_are_few_and_in_order() -> None:
    headlines = {name: MetricRecord(0.5, 0.25, 0.75) for name in ("roc_auc", "mcc", "accuracy", "f1", "f1_macro")}
    further = {name: MetricRecord(0.5) for name in ("precision", "loss_films", "accuracy_films", "f1_at_thresholds")}
    metrics = {"loss": MetricRecord(1234.5), **headlines, "log_loss": MetricRecord(None), **further}
    metrics |= {"brier": MetricRecord(0.1, 0.1, 0.1), "average_precision": MetricRecord(0.1, 0.1, 0.1)}
    parts = {"validation": PartRecord(3, metrics), "test": PartRecord(3, {"f1": MetricRecord(0.125, 0, 1)})}
    record = EvaluationRecord(SINGLE_LABEL, ("neg", "pos"), "f1", parts, None, None, (), ModelRecord("model", 1))
    assert score_table(record) == [
        "scores, 95 % interval   validation                test",
        "  f1                    0.5000 [0.2500, 0.7500]   0.1250 [0.0000, 1.0000]",
        "  accuracy              0.5000 [0.2500, 0.7500]",
        "  f1_macro              0.5000 [0.2500, 0.7500]",
        "  mcc                   0.5000 [0.2500, 0.7500]",
        "  roc_auc               0.5000 [0.2500, 0.7500]",
        "  average_precision     0.1000 [0.1000, 0.1000]",
        "  f1_at_thresholds      0.5000",
        "  loss                  1,234.5000",
        "  5 more in metrics.json",
    ]
    mixed = replace(record, headline="accuracy")
    assert "  accuracy_films        0.5000" in score_table(mixed)


def test_bytes_are_spread_over_the_tokens_of_their_document() -> None:
    # separator, three tokens, separator, one token, separator, two tokens, separator: ten tokens, nine predicted
    stream = np.arange(10, dtype=np.int32)
    blocks = pack_heldout_blocks(stream, 4, padding_id=0)
    places = Places(("corpus.txt",), np.zeros(3, np.int32), np.arange(1, 4))
    rows = BlockRows(blocks, np.array([8, 6, 30]), np.array([0, 4, 6]), places)
    assert rows.byte_count == 44
    assert rows.predicted_tokens.tolist() == [3, 3, 3]
    # of the first document 3 of 4 tokens, then its last one, both of the second, and all three of the third
    assert rows.predicted_bytes.tolist() == [6.0, 2.0 + 6.0, 30.0]
    padded = BlockRows(pack_heldout_blocks(stream[:7], 5, padding_id=0), np.array([8, 6]), np.array([0, 4]), places)
    assert padded.predicted_tokens.tolist() == [4, 2]
    assert padded.predicted_bytes.tolist() == [8.0, 6.0]


@pytest.mark.parametrize(
    ("probabilities", "thresholds", "label"),
    [
        ([0.4, 0.6], {}, "pos"),
        ([0.5, 0.5], {}, "neg"),
        ([0.4, 0.6], {"pos": 0.7}, "neg"),
        ([0.3, 0.7], {"pos": 0.7}, "pos"),
        ([0.3, 0.7], {"neg": 0.3}, "neg"),
        ([0.3, 0.7], {"neg": 0.4}, "pos"),
    ],
)
def test_a_threshold_gives_the_label_from_there_on(
    probabilities: list[float], thresholds: dict[str, float], label: str
) -> None:
    assert find_label(np.array(probabilities), ("neg", "pos"), thresholds) == label


def test_labels_without_a_threshold_have_one_of_a_half() -> None:
    assert find_labels(np.array([0.5, 0.4, 0.6]), ("a", "b", "c"), {}) == ["a", "c"]
    assert find_labels(np.array([0.5, 0.4, 0.6]), ("a", "b", "c"), {"b": 0.4, "c": 0.7}) == ["a", "b"]
