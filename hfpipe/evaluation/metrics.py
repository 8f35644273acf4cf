"""The metrics of a run, each one function computed by scikit-learn, offered as `evaluate.Metric` objects.

`evaluate.load` is never called: it needs the network even for what it has cached. A metric is added as one
function in the mapping of its problem below (its name is the metric's name), its name in the settings, and its test.
Refuses (by assertion) empty or misshapen arrays; the loss is computed where the objective is known, not here.
The decision worth knowing: averages are scikit-learn's defaults with `zero_division=0`, so a class that is in
neither references nor predictions does not count, and one that is only predicted counts as 0.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import evaluate
import numpy as np
from sklearn import metrics

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.errors import ConfigError, Problem
from hfpipe.evaluation import multi_label, regression

Score = Callable[[np.ndarray, np.ndarray], float]
"""Takes references and predictions, in scikit-learn's order: label ids or numbers (rows,), or labels (rows, labels)."""


def accuracy(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the share of rows whose label is right."""
    return float(metrics.accuracy_score(references, predictions))


def balanced_accuracy(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean recall of the classes that occur in the references.

    This is `balanced_accuracy_score` by its definition; that function warns of predicted classes
    without references, which small validation parts make an everyday thing.
    """
    present = np.unique(references)
    return float(metrics.recall_score(references, predictions, labels=present, average="macro", zero_division=0.0))


def precision_macro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the unweighted mean of the classes' precisions; a class never predicted has 0."""
    return float(metrics.precision_score(references, predictions, average="macro", zero_division=0.0))


def recall_macro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the unweighted mean of the classes' recalls; a class that is only predicted has 0."""
    return float(metrics.recall_score(references, predictions, average="macro", zero_division=0.0))


def f1_macro(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the unweighted mean of the classes' F1."""
    return float(metrics.f1_score(references, predictions, average="macro", zero_division=0.0))


def f1_weighted(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean of the classes' F1, weighted by their rows in the references."""
    return float(metrics.f1_score(references, predictions, average="weighted", zero_division=0.0))


def mcc(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return Matthews' correlation coefficient (its generalisation by Gorodkin, 2004, for several classes).

    It is 0 where references or predictions are constant, since no correlation is defined there.
    """
    if len(np.union1d(references, predictions)) == 1:
        return 0.0  # what scikit-learn returns, after a warning
    return float(metrics.matthews_corrcoef(references, predictions))


def precision(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the precision of label id 1 of two labels."""
    return float(metrics.precision_score(references, predictions, pos_label=1, zero_division=0.0))


def recall(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the recall of label id 1 of two labels."""
    return float(metrics.recall_score(references, predictions, pos_label=1, zero_division=0.0))


def f1(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the F1 of label id 1 of two labels."""
    return float(metrics.f1_score(references, predictions, pos_label=1, zero_division=0.0))


def _by_name(*scores: Score) -> Mapping[str, Score]:
    return {score.__name__: score for score in scores}


CLASSIFICATION: Mapping[str, Score] = _by_name(
    accuracy, balanced_accuracy, precision_macro, recall_macro, f1_macro, f1_weighted, mcc
)
"""Computed for every classifier."""

BINARY: Mapping[str, Score] = _by_name(precision, recall, f1)
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
    multi_label.f1_weighted,
    multi_label.f1_samples,
)
"""Computed where a row has any number of labels."""

REGRESSION_METRICS: Mapping[str, Score] = _by_name(
    regression.mse, regression.rmse, regression.mae, regression.r2, regression.pearson, regression.spearman
)
"""Computed where a row has a number."""

LANGUAGE_MODEL: tuple[str, ...] = ("loss", "perplexity", "bits_per_byte")
"""The names `language_model_metrics` returns."""

_BY_PROBLEM: Mapping[str, Mapping[str, Score]] = {
    SINGLE_LABEL: {**CLASSIFICATION, **BINARY},
    MULTI_LABEL: MULTI_LABEL_METRICS,
    REGRESSION: REGRESSION_METRICS,
}
_VALUES: Mapping[str, datasets.Value | datasets.List] = {
    SINGLE_LABEL: datasets.Value("int64"),
    MULTI_LABEL: datasets.List(datasets.Value("int8")),
    REGRESSION: datasets.Value("float64"),
}


class ScikitLearnMetric(evaluate.Metric):
    """One metric as an `evaluate.Metric` that keeps its rows in memory; make it with `load_metric`."""

    def __init__(self, score: Score, problem_type: str, cache_dir: str) -> None:
        self._score = score
        self._value = _VALUES[problem_type]
        super().__init__(config_name=score.__name__, keep_in_memory=True, cache_dir=cache_dir)

    def _info(self) -> evaluate.MetricInfo:
        described = (self._score.__doc__ or "").strip()
        # Format numpy: scikit-learn would otherwise convert a list of Python integers for every metric.
        features = datasets.Features({"predictions": self._value, "references": self._value})
        # Format numpy: scikit-learn would otherwise convert a list of Python integers for every metric; evaluate has it
        # for single values only.
        kept = "numpy" if isinstance(self._value, datasets.Value) else None
        return evaluate.MetricInfo(
            description=described, citation="", inputs_description="", features=features, format=kept
        )

    def _compute(
        self, *, predictions: np.ndarray | None = None, references: np.ndarray | None = None, **_: Any
    ) -> dict[str, float]:
        assert predictions is not None and references is not None
        return {self._score.__name__: self._score(np.asarray(references), np.asarray(predictions))}


def load_metric(name: str, problem_type: str = SINGLE_LABEL) -> evaluate.Metric:
    """Return the named metric of a problem as a new `evaluate.Metric`; it needs no network and leaves no files.

    Each call returns an object of its own, so two threads or two runs never share one.

    Raises:
        ConfigError: If there is no metric of that name.
    """
    known = _BY_PROBLEM[problem_type]
    if name not in known:
        names = ", ".join(known)
        raise ConfigError(Problem(place="metric", value=repr(name), rule="no such metric", remedy=f"there are {names}"))
    # evaluate makes a folder when a metric is built, even for one that never writes to it.
    with tempfile.TemporaryDirectory() as folder:
        return ScikitLearnMetric(known[name], problem_type, folder)


def find_metric_names(problem_type: str, label_count: int) -> tuple[str, ...]:
    """Return the names of what `compute_metrics` computes for so many labels."""
    if problem_type == SINGLE_LABEL and label_count != 2:
        return tuple(CLASSIFICATION)
    return tuple(_BY_PROBLEM[problem_type])


def compute_metrics(problem_type: str, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return every metric of a classifier by name.

    Args:
        problem_type: What the labels of a row are.
        logits: Shape (rows, labels). Of one label a row, the highest is its prediction (probabilities do as well), the
            lowest label id at a tie; of several, those at least 0, a probability of one half; of numbers, the only one.
        targets: The true label ids (rows,), labels (rows, labels) of 0 and 1, or numbers (rows,).
    """
    predictions, references = _predict(problem_type, logits, targets), _as_references(problem_type, targets)
    # The functions themselves: evaluate would copy every row once a metric.
    scores = _BY_PROBLEM[problem_type]
    return {name: scores[name](references, predictions) for name in find_metric_names(problem_type, logits.shape[1])}


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
    predicted = _predict(problem_type, logits, targets)
    return tuple(_score_class(name, predicted == index, targets == index) for index, name in enumerate(label_names))


def _score_class(label: str, predictions: np.ndarray, references: np.ndarray) -> ClassScore:
    true, predicted = references.astype(np.int8), predictions.astype(np.int8)
    values = (precision(true, predicted), recall(true, predicted), f1(true, predicted))
    return ClassScore(label, *values, support=int(true.sum()))


def language_model_metrics(loss_sum_nats: float, token_count: int, byte_count: int) -> dict[str, float]:
    """Return `loss` (nats a token), `perplexity` (its exponential) and `bits_per_byte` of a text.

    Bits per byte compares models of different tokenizers (Gao et al. 2020, The Pile, section 3.1).
    The perplexity of a loss above about 709 nats is infinite: it does not fit a float.

    Args:
        loss_sum_nats: Sum of the negative log-likelihoods of all predicted tokens.
        token_count: The predicted tokens.
        byte_count: UTF-8 bytes of the text those tokens stand for.
    """
    assert token_count > 0 and byte_count > 0, "an empty text has no loss"
    loss = loss_sum_nats / token_count
    return {
        "loss": loss,
        "perplexity": _exponential(loss),
        "bits_per_byte": loss_sum_nats / (math.log(2) * byte_count),
    }


def _exponential(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _predict(problem_type: str, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    shape = logits.shape if problem_type == MULTI_LABEL else logits.shape[:1]
    assert logits.ndim == 2 and targets.shape == shape, "one row of scores for every row of targets"
    assert len(targets) > 0, "no metric is defined on no rows"
    if problem_type == SINGLE_LABEL:
        return logits.argmax(axis=1)
    return (logits >= 0).astype(np.int8) if problem_type == MULTI_LABEL else logits[:, 0].astype(np.float64)


def _as_references(problem_type: str, targets: np.ndarray) -> np.ndarray:
    types = {MULTI_LABEL: np.int8, REGRESSION: np.float64}
    return targets.astype(types[problem_type]) if problem_type in types else targets
