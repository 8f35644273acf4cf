"""The metrics of a run, each one function computed by scikit-learn, offered as `evaluate.Metric` objects.

`evaluate.load` is never called: it needs the network even for what it has cached. A metric is added as one
function in `CLASSIFICATION` or `BINARY` (its name is the metric's name), its name in the settings, and its test.
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

from hfpipe.errors import ConfigError, Problem

Score = Callable[[np.ndarray, np.ndarray], float]
"""Takes reference and predicted label ids, each of shape (rows,), in scikit-learn's order."""


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

LANGUAGE_MODEL: tuple[str, ...] = ("loss", "perplexity", "bits_per_byte")
"""The names `language_model_metrics` returns."""

_INT64 = datasets.Value("int64")
_FEATURES = datasets.Features({"predictions": _INT64, "references": _INT64})


class ScikitLearnMetric(evaluate.Metric):
    """One metric as an `evaluate.Metric` that keeps its rows in memory; make it with `load_metric`."""

    def __init__(self, score: Score, cache_dir: str) -> None:
        self._score = score
        super().__init__(config_name=score.__name__, keep_in_memory=True, cache_dir=cache_dir)

    def _info(self) -> evaluate.MetricInfo:
        described = (self._score.__doc__ or "").strip()
        # Format numpy: scikit-learn would otherwise convert a list of Python integers for every metric.
        return evaluate.MetricInfo(
            description=described, citation="", inputs_description="", features=_FEATURES, format="numpy"
        )

    def _compute(
        self, *, predictions: np.ndarray | None = None, references: np.ndarray | None = None, **_: Any
    ) -> dict[str, float]:
        assert predictions is not None and references is not None
        return {self._score.__name__: self._score(references, predictions)}


def load_metric(name: str) -> evaluate.Metric:
    """Return the named metric of label ids as a new `evaluate.Metric`; it needs no network and leaves no files.

    Each call returns an object of its own, so two threads or two runs never share one.

    Raises:
        ConfigError: If there is no metric of that name.
    """
    known = {**CLASSIFICATION, **BINARY}
    if name not in known:
        names = ", ".join(known)
        raise ConfigError(Problem(place="metric", value=repr(name), rule="no such metric", remedy=f"there are {names}"))
    # evaluate makes a folder when a metric is built, even for one that never writes to it.
    with tempfile.TemporaryDirectory() as folder:
        return ScikitLearnMetric(known[name], folder)


def find_metric_names(label_count: int) -> tuple[str, ...]:
    """Return the names of what `classification_metrics` computes for so many labels."""
    return (*CLASSIFICATION, *BINARY) if label_count == 2 else tuple(CLASSIFICATION)


def classification_metrics(scores: np.ndarray, label_ids: np.ndarray) -> dict[str, float]:
    """Return every metric of a classifier by name.

    Args:
        scores: Shape (rows, labels): logits or probabilities; the highest of a row is its prediction,
            the lowest label id at a tie.
        label_ids: Shape (rows,): the true labels.
    """
    predictions = _predict_label_ids(scores, label_ids)
    found: dict[str, float] = {}
    for name in find_metric_names(scores.shape[1]):
        found.update(load_metric(name).compute(predictions=predictions, references=label_ids))
    return found


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class; `support` is its rows in the references."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def per_class_table(scores: np.ndarray, label_ids: np.ndarray, *, label_names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Return one row a label, in the order of the label ids, also for labels that do not occur (all 0).

    Args:
        scores: Shape (rows, labels), as in `classification_metrics`.
        label_ids: Shape (rows,).
        label_names: The name of each label id.
    """
    assert scores.shape[1] == len(label_names), "every label has a name"
    columns = metrics.precision_recall_fscore_support(
        label_ids, _predict_label_ids(scores, label_ids), labels=range(len(label_names)), zero_division=0.0
    )
    return tuple(
        ClassScore(label, float(precision_), float(recall_), float(f1_), int(support))
        for label, precision_, recall_, f1_, support in zip(label_names, *columns, strict=True)
    )


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


def _predict_label_ids(scores: np.ndarray, label_ids: np.ndarray) -> np.ndarray:
    assert scores.ndim == 2 and label_ids.shape == scores.shape[:1], "one row of scores for every label id"
    assert len(label_ids) > 0, "no metric is defined on no rows"
    return scores.argmax(axis=1)
