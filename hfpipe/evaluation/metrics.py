"""The metrics of a run by name, each one function computed by scikit-learn, and the tables made of them.

A metric is added as one function (`single_label.py`, `multi_label.py`, `regression.py`, or `probabilities.py` where it
judges probabilities) in a mapping below (its name is the metric's name), its name in the settings, and its test.
`evaluate_metrics.py` offers each as an `evaluate.Metric`. Refuses (by assertion) empty or misshapen arrays; the loss
is computed where the objective is known, not here. The decision worth knowing: a metric that is not defined for the
rows at hand is left out, for no number would be a true one.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation import multi_label, probabilities, regression, single_label
from hfpipe.evaluation.probabilities import find_undefined, to_probabilities

Score = Callable[[np.ndarray, np.ndarray], float]
"""Takes references and predictions, in scikit-learn's order: label ids or numbers (rows,), or labels (rows, labels);
of those that judge probabilities, these (rows, labels) for predictions."""


def _by_name(*scores: Score) -> Mapping[str, Score]:
    return {score.__name__: score for score in scores}


CLASSIFICATION: Mapping[str, Score] = _by_name(
    single_label.accuracy,
    single_label.balanced_accuracy,
    single_label.precision_macro,
    single_label.recall_macro,
    single_label.f1_macro,
    single_label.precision_weighted,
    single_label.recall_weighted,
    single_label.f1_weighted,
    single_label.mcc,
)
"""Computed for every classifier of one label a row."""

BINARY: Mapping[str, Score] = _by_name(single_label.precision, single_label.recall, single_label.f1)
"""Computed besides for a classifier of two labels; label id 1 is the positive one."""

MULTI_LABEL_METRICS: Mapping[str, Score] = _by_name(
    multi_label.subset_accuracy,
    multi_label.hamming_loss,
    multi_label.precision_micro,
    multi_label.recall_micro,
    multi_label.f1_micro,
    multi_label.precision_macro,
    multi_label.recall_macro,
    multi_label.f1_macro,
    multi_label.precision_weighted,
    multi_label.recall_weighted,
    multi_label.f1_weighted,
    multi_label.f1_samples,
)
"""Computed where a row has any number of labels."""

REGRESSION_METRICS: Mapping[str, Score] = _by_name(
    regression.mse,
    regression.rmse,
    regression.mae,
    regression.median_absolute_error,
    regression.r2,
    regression.pearson,
    regression.spearman,
)
"""Computed where a row has a number."""

PROBABILITY_METRICS: Mapping[str, Mapping[str, Score]] = {
    SINGLE_LABEL: _by_name(
        probabilities.roc_auc,
        probabilities.average_precision,
        probabilities.log_loss,
        probabilities.brier,
        probabilities.ece,
    ),
    MULTI_LABEL: _by_name(
        multi_label.roc_auc_micro,
        multi_label.roc_auc_macro,
        multi_label.average_precision_micro,
        multi_label.average_precision_macro,
        multi_label.log_loss,
        multi_label.brier,
        multi_label.ece,
    ),
    REGRESSION: {},
}
"""Computed besides, by problem, of probabilities instead of predictions."""

PREDICTION_METRICS: Mapping[str, Mapping[str, Score]] = {
    SINGLE_LABEL: {**CLASSIFICATION, **BINARY},
    MULTI_LABEL: MULTI_LABEL_METRICS,
    REGRESSION: REGRESSION_METRICS,
}
"""By problem, what is computed of the predicted labels or numbers."""


def find_metric_names(problem_type: str, label_count: int) -> tuple[str, ...]:
    """Return the names of what `compute_metrics` computes for so many labels, where all is defined."""
    known = CLASSIFICATION if problem_type == SINGLE_LABEL and label_count != 2 else PREDICTION_METRICS[problem_type]
    return (*known, *PROBABILITY_METRICS[problem_type])


def compute_metrics(
    problem_type: str, logits: np.ndarray, targets: np.ndarray, *, only: Collection[str] | None = None
) -> dict[str, float]:
    """Return every metric of a classifier by name, without those that `find_undefined` names for its targets.

    Where a logit is not finite there are no probabilities, and the metrics of these are left out too.

    Args:
        problem_type: What the labels of a row are.
        logits: Shape (rows, labels). Of one label a row, the highest is its prediction, the lowest label id at a tie;
            of several, those at least 0, a probability of one half; of numbers, the only one.
        targets: The true label ids (rows,), labels (rows, labels) of 0 and 1, or numbers (rows,).
        only: The names of those to compute, where not all are wanted: each takes its time.
    """
    check_shapes(problem_type, logits, targets)
    predictions, references = predict(problem_type, logits), as_references(problem_type, targets)
    # The functions themselves: evaluate would copy every row once a metric.
    scores, of_probabilities = PREDICTION_METRICS[problem_type], PROBABILITY_METRICS[problem_type]
    known = find_metric_names(problem_type, logits.shape[1])
    names = [name for name in known if only is None or name in only]
    found = {name: scores[name](references, predictions) for name in names if name in scores}
    if not any(name in of_probabilities for name in names) or not np.isfinite(logits).all():
        return found
    given, undefined = to_probabilities(problem_type, logits), find_undefined(problem_type, references, logits.shape[1])
    defined = [name for name in names if name in of_probabilities and name not in undefined]
    return found | {name: of_probabilities[name](references, given) for name in defined}


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class; `support` is its rows in the references."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def per_class_table(
    problem_type: str, logits: np.ndarray, targets: np.ndarray, *, label_names: Sequence[str]
) -> tuple[ClassScore, ...]:
    """Return one row a label, in the order of the label ids, also for labels that do not occur (all 0).

    `logits` and `targets` are those of `compute_metrics`, of one label a row or of several.
    """
    assert logits.shape[1] == len(label_names), "every label has a name"
    if problem_type == MULTI_LABEL:
        each = zip(label_names, (logits >= 0).T, targets.T, strict=True)
        return tuple(_score_class(label, predictions, references) for label, predictions, references in each)
    check_shapes(problem_type, logits, targets)
    predicted = predict(problem_type, logits)
    return tuple(_score_class(name, predicted == index, targets == index) for index, name in enumerate(label_names))


def _score_class(label: str, predictions: np.ndarray, references: np.ndarray) -> ClassScore:
    true, predicted = references.astype(np.int8), predictions.astype(np.int8)
    values = {name: score(true, predicted) for name, score in BINARY.items()}
    return ClassScore(label, **values, support=int(true.sum()))


def predict(problem_type: str, logits: np.ndarray) -> np.ndarray:
    """Return what logits predict: label ids (rows,), labels (rows, labels) of 0 and 1, or numbers (rows,)."""
    if problem_type == SINGLE_LABEL:
        return logits.argmax(axis=1)
    return (logits >= 0).astype(np.int8) if problem_type == MULTI_LABEL else logits[:, 0].astype(np.float64)


def check_shapes(problem_type: str, logits: np.ndarray, targets: np.ndarray) -> None:
    """Assert that there are rows, and as many of scores as of targets."""
    shape = logits.shape if problem_type == MULTI_LABEL else logits.shape[:1]
    assert logits.ndim == 2 and targets.shape == shape, "one row of scores for every row of targets"
    assert len(targets) > 0, "no metric is defined on no rows"


def as_references(problem_type: str, targets: np.ndarray) -> np.ndarray:
    """Return targets in the type that scikit-learn takes them in: labels as int8, numbers as float64."""
    types = {MULTI_LABEL: np.int8, REGRESSION: np.float64}
    return targets.astype(types[problem_type]) if problem_type in types else targets
