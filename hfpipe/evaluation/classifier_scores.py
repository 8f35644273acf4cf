"""What a classifier is worth on rows whose logits are known: calibration, thresholds, scores with intervals, tables.

Temperature and thresholds are chosen on one part, the validation part, and applied to both. All scores are those of
the calibrated model, which `predict` runs; those that the temperature changes are there without it too, under a name
that ends in `_uncalibrated`. Scores are those of the likeliest labels, or of those of a half and more, whatever was
chosen; where thresholds were, scores of the labels they give end in `_at_thresholds`. The tables, the confusion matrix
and that of the classes, count the labels that `predict` gives, so by thresholds where there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from sklearn.metrics import confusion_matrix

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation.calibration import apply_temperature, fit_temperature
from hfpipe.evaluation.headlines import find_headlines
from hfpipe.evaluation.intervals import bootstrap_intervals
from hfpipe.evaluation.metrics import compute_metrics, per_class_table
from hfpipe.evaluation.probabilities import to_probabilities
from hfpipe.evaluation.record import CalibrationRecord, ClassRecord, MetricRecord, PartRecord, ThresholdsRecord
from hfpipe.evaluation.thresholds import choose_thresholds
from hfpipe.inference.decisions import THRESHOLD

UNCALIBRATED, AT_THRESHOLDS = "_uncalibrated", "_at_thresholds"
OF_PROBABILITIES = ("log_loss", "brier", "ece")
"""The scores that a temperature is there for."""
OF_LABELS: Mapping[str, tuple[str, ...]] = {
    SINGLE_LABEL: ("accuracy", "precision", "recall", "f1"),
    MULTI_LABEL: ("f1_micro", "precision_micro", "recall_micro", "f1_macro", "subset_accuracy"),
}
"""By problem, the scores of the labels that thresholds give."""


@dataclass(frozen=True)
class LogitReading:
    """How a classifier's logits are read: divided by `temperature`, labels given by `thresholds` where there are."""

    problem_type: str
    label_names: tuple[str, ...]
    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def calibrate(self, logits: np.ndarray) -> np.ndarray:
        """Return the logits divided by the temperature; as they are where there is none."""
        # in float64, where no two logits become equal
        return logits if self.temperature == 1.0 else apply_temperature(logits.astype(np.float64), self.temperature)

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """Return logits of 1 and -1, (rows, labels), that say no more than which labels the thresholds give.

        Without thresholds they are returned as they are: the likeliest label, or all of a half and more, is given.
        """
        if not self.thresholds:
            return logits
        given = to_probabilities(self.problem_type, self.calibrate(logits))
        if self.problem_type == MULTI_LABEL:
            return np.where(given >= [self.thresholds.get(name, THRESHOLD) for name in self.label_names], 1.0, -1.0)
        ((name, threshold),) = self.thresholds.items()
        positive = self.label_names.index(name)
        signs = np.where(given[:, [positive]] >= threshold, 1.0, -1.0)
        return signs * np.where(np.arange(2) == positive, 1.0, -1.0)


@dataclass(frozen=True)
class Choices:
    """What was chosen on the validation part, as the record has it, and how logits are read by it."""

    reading: LogitReading
    calibration: CalibrationRecord | None = None
    thresholds: ThresholdsRecord | None = None


def choose_reading(
    reading: LogitReading, logits: np.ndarray, targets: np.ndarray, *, calibrate: bool, aim: str | None
) -> Choices:
    """Return what the validation rows tell: a temperature where one is to be fitted, thresholds where there is an aim.

    `reading` says what the labels are; `logits` (rows, labels) and `targets` are those of `compute_metrics`.
    """
    problem_type, calibration, thresholds = reading.problem_type, None, None
    temperature = 1.0
    if calibrate and problem_type != REGRESSION:
        fitted = fit_temperature(problem_type, logits, targets)
        assert fitted is not None, "an evaluation refuses logits that are not finite"
        calibration, temperature = CalibrationRecord(**vars(fitted)), fitted.temperature
    chosen = LogitReading(problem_type, reading.label_names, temperature)
    if aim is not None:
        given = to_probabilities(problem_type, chosen.calibrate(logits))
        found = choose_thresholds(aim, given, targets, reading.label_names)
        thresholds = ThresholdsRecord(found.aim, found.values, found.reached)
        chosen = LogitReading(problem_type, reading.label_names, temperature, found.values)
    return Choices(chosen, calibration, thresholds)


def compute_scores(reading: LogitReading, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return every score of a classifier as it is read, without temperature and by thresholds too."""
    return compute_metrics(reading.problem_type, reading.calibrate(logits), targets) | compute_further_scores(
        reading, logits, targets
    )


def compute_further_scores(reading: LogitReading, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return the scores that `compute_metrics` does not have: without temperature, and of labels by thresholds."""
    found: dict[str, float] = {}
    if reading.temperature != 1.0:
        plain = compute_metrics(reading.problem_type, logits, targets)
        found |= {f"{name}{UNCALIBRATED}": plain[name] for name in OF_PROBABILITIES if name in plain}
    if reading.thresholds:
        decided = compute_metrics(reading.problem_type, reading.decide(logits), targets)
        found |= {f"{name}{AT_THRESHOLDS}": decided[name] for name in OF_LABELS[reading.problem_type]}
    return found


def describe_part(
    reading: LogitReading,
    logits: np.ndarray,
    targets: np.ndarray,
    *,
    scores: Mapping[str, float],
    headline: str,
    seed: int,
) -> PartRecord:
    """Return the record of a part: `scores` with the intervals of those that stand for the run, and the tables.

    The intervals are drawn by `seed`; `headline` is among the scores that have one.
    """
    problem_type = reading.problem_type
    names = find_headlines(problem_type, headline, scores)
    found = dict(bootstrap_intervals(problem_type, reading.calibrate(logits), targets, names=names, seed=seed))
    if reading.thresholds:
        of_labels = OF_LABELS[problem_type]
        decided = bootstrap_intervals(problem_type, reading.decide(logits), targets, names=of_labels, seed=seed)
        found |= {f"{name}{AT_THRESHOLDS}": interval for name, interval in decided.items()}
    metrics = {
        name: MetricRecord(value, found[name].low, found[name].high) if name in found else MetricRecord(value)
        for name, value in scores.items()
    }
    if problem_type == REGRESSION:
        return PartRecord(len(targets), metrics)
    given = reading.decide(logits)
    table = per_class_table(problem_type, given, targets, label_names=reading.label_names)
    per_class = tuple(ClassRecord(**vars(row)) for row in table)
    return PartRecord(len(targets), metrics, per_class, _confusion(reading, given, targets))


def _confusion(reading: LogitReading, logits: np.ndarray, targets: np.ndarray) -> tuple[tuple[int, ...], ...] | None:
    if reading.problem_type != SINGLE_LABEL:
        return None
    counts = confusion_matrix(targets, logits.argmax(axis=1), labels=range(len(reading.label_names)))
    return tuple(tuple(map(int, row)) for row in counts)
