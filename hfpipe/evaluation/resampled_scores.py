"""Every metric of a classifier for many resamples at once, under the names of `metrics.py`.

What depends on the rows is prepared once (cells, sums, rankings); a `Resample` then takes weights. Only what is asked
for is computed. The decision worth knowing: of the calibration error a resample gives the signed gaps of its bins, not
their sum, for chance alone drives that sum up and an interval must know by how much; bins are those of the real rows.
"""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation.metrics import as_references, predict
from hfpipe.evaluation.probabilities import (
    assign_bins,
    judge_confidence,
    ranked_labels,
    squared_errors,
    to_probabilities,
)
from hfpipe.evaluation.resampled_counts import divide, find_cells, find_sums, score_cells, score_sums
from hfpipe.evaluation.resampled_ranks import (
    LabelRanking,
    correlate_ranks,
    find_medians,
    rank_answers,
    rank_rows,
    score_ranking,
)
from hfpipe.evaluation.resampling import ADDED_ROWS

Resample = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Takes weights (resamples, rows + added); returns values (resamples,) by name, of 'ece' gaps (resamples, bins)."""

RIGHT_OF_ADDED = (True, True, False, False)
RIGHT_OF_ADDED_TO_OTHER = (True, False, True, False)
"""Of the other of two models: each is right alone in one added row, which Bonett and Price (2012) add to such rows."""

_OF_PROBABILITIES = {"log_loss", "brier", "ece"}
_EPSILON = np.finfo(np.float64).eps


def count_added(problem_type: str) -> int:
    """Return how many rows are added to those drawn from; none where no answer is simply right or wrong."""
    return 0 if problem_type == REGRESSION else ADDED_ROWS


def build_resample(
    problem_type: str,
    logits: np.ndarray,
    targets: np.ndarray,
    *,
    names: Collection[str],
    right_of_added: Sequence[bool] = RIGHT_OF_ADDED,
) -> Resample:
    """Return what computes the named metrics of resamples of these rows, perhaps with others beside them.

    The metrics must be defined for these rows; they are those of `compute_metrics`.
    """
    references, wanted = as_references(problem_type, targets), set(names)
    if problem_type == REGRESSION:
        return _join(_resample_numbers(references, predict(problem_type, logits), wanted))
    rankings = {name for name in wanted if name.startswith(("roc_auc", "average_precision"))}
    parts: list[Resample] = []
    if wanted - rankings - _OF_PROBABILITIES:
        parts.append(_resample_predictions(problem_type, logits, references, right_of_added))
    if wanted & _OF_PROBABILITIES:
        parts.append(_resample_probabilities(problem_type, logits, references))
    if any(name.endswith("_micro") for name in rankings):
        parts.append(_resample_rankings([_rank_all(logits, references, right_of_added)], "_micro"))
    if any(not name.endswith("_micro") for name in rankings):
        ranked = _rank_labels(problem_type, logits, references, right_of_added)
        parts.append(_resample_rankings(ranked, "" if problem_type == SINGLE_LABEL else "_macro"))
    return _join(parts)


def _join(parts: Sequence[Resample]) -> Resample:
    return lambda weights: {name: values for part in parts for name, values in part(weights).items()}


def _resample_predictions(
    problem_type: str, logits: np.ndarray, references: np.ndarray, right_of_added: Sequence[bool]
) -> Resample:
    predictions, labels = predict(problem_type, logits), logits.shape[1]
    if problem_type == MULTI_LABEL:
        sums = find_sums(predictions, references, right_of_added=right_of_added)
        return lambda weights: score_sums(weights, sums)
    cells = find_cells(predictions, references, label_count=labels, right_of_added=right_of_added)
    return lambda weights: score_cells(weights, cells, labels)


def _resample_probabilities(problem_type: str, logits: np.ndarray, references: np.ndarray) -> Resample:
    """Return what computes log loss and Brier score, and the gaps of the bins: all of them means over rows."""
    probabilities = to_probabilities(problem_type, logits)
    gaps = bin_gaps(problem_type, probabilities, references)
    if problem_type == MULTI_LABEL:
        surprise = -np.log(np.maximum(np.where(references == 1, probabilities, 1 - probabilities), _EPSILON))
        errors = ((probabilities - references) ** 2).mean(axis=1)
        columns = np.column_stack((surprise.mean(axis=1), errors, gaps))
    else:
        chosen = probabilities[np.arange(len(references)), references]
        surprise = -np.log(np.maximum(chosen, _EPSILON))
        columns = np.column_stack((surprise, squared_errors(references, probabilities), gaps))

    def resample(weights: np.ndarray) -> dict[str, np.ndarray]:
        real = weights[:, : len(columns)]
        means = divide(real @ columns, np.broadcast_to(real.sum(axis=1)[:, None], (len(real), columns.shape[1])))
        return {"log_loss": means[:, 0], "brier": means[:, 1], "ece": means[:, 2:]}

    return resample


def bin_gaps(problem_type: str, probabilities: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return what each row adds to the signed gap of each bin, (rows, bins): its confidence less what came true.

    The mean over the rows of their sum of absolute values by bin is the expected calibration error.
    """
    if problem_type == SINGLE_LABEL:
        confidence, outcomes = judge_confidence(references, probabilities)
        gaps = confidence - outcomes
        bins = assign_bins(confidence)
        return np.where(bins[:, None] == np.arange(bins.max() + 1), gaps[:, None], 0.0)
    rows, labels = probabilities.shape
    bins = assign_bins(probabilities.ravel())
    count = int(bins.max()) + 1
    places = np.repeat(np.arange(rows), labels) * count + bins
    gaps = (probabilities - references).ravel() / labels
    return np.bincount(places, weights=gaps, minlength=rows * count).reshape(rows, count)


def _rank_labels(
    problem_type: str, logits: np.ndarray, references: np.ndarray, right_of_added: Sequence[bool]
) -> list[LabelRanking]:
    """Return the ranking of each label that the mean is of; added rows count in all of them together as in one."""
    probabilities, labels = to_probabilities(problem_type, logits), logits.shape[1]
    single = problem_type == SINGLE_LABEL
    there = references[:, None] == np.arange(labels) if single else references == 1
    ranked = ranked_labels(labels) if single else range(labels)
    rows = np.arange(len(there))
    return [
        rank_answers(probabilities[:, each], there[:, each], rows, right_of_added=right_of_added, share=1 / len(ranked))
        for each in ranked
    ]


def _rank_all(logits: np.ndarray, references: np.ndarray, right_of_added: Sequence[bool]) -> LabelRanking:
    """Return one ranking of all answers of all rows."""
    rows = np.repeat(np.arange(len(references)), references.shape[1])
    probabilities, there = to_probabilities(MULTI_LABEL, logits).ravel(), references.ravel() == 1
    return rank_answers(probabilities, there, rows, right_of_added=right_of_added, share=1.0)


def _resample_rankings(labels: Sequence[LabelRanking], suffix: str) -> Resample:
    def resample(weights: np.ndarray) -> dict[str, np.ndarray]:
        scores = np.array([score_ranking(weights, label) for label in labels])
        return {f"roc_auc{suffix}": _mean(scores[:, 0]), f"average_precision{suffix}": _mean(scores[:, 1])}

    return resample


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over labels (labels, resamples) of those that are defined in a resample; NaN where none is."""
    known = np.isfinite(values)
    return divide(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64), otherwise=np.nan)


def _resample_numbers(references: np.ndarray, predictions: np.ndarray, names: Collection[str]) -> list[Resample]:
    errors = predictions - references
    # centred, so that squares of large numbers do not cancel
    true, given = references - references.mean(), predictions - predictions.mean()
    columns = np.column_stack((errors**2, np.abs(errors), true, true**2, given, given**2, true * given))
    parts: list[Resample] = [lambda weights: _score_moments(weights @ columns / weights.sum(axis=1, keepdims=True))]
    if "spearman" in names:
        rankings = rank_rows(references), rank_rows(predictions)
        parts.append(lambda weights: {"spearman": correlate_ranks(weights, *rankings)})
    if "median_absolute_error" in names:
        by_size = rank_rows(np.abs(errors))
        parts.append(lambda weights: {"median_absolute_error": find_medians(weights, np.abs(errors), by_size)})
    return parts


def _score_moments(means: np.ndarray) -> dict[str, np.ndarray]:
    squared, absolute, true, true_squared, given, given_squared, product = means.T
    variance, spread = true_squared - true**2, given_squared - given**2
    correlation = divide(product - true * given, np.sqrt(np.maximum(variance * spread, 0.0)))
    # rounding leaves a trace of variance where all drawn rows are one
    varies = variance > 1e-12 * np.maximum(true_squared, true**2)
    explained = 1 - divide(squared, np.where(varies, variance, 0.0), otherwise=np.nan)
    return {
        "mse": squared,
        "rmse": np.sqrt(squared),
        "mae": absolute,
        "r2": np.where(varies, explained, (squared == 0).astype(np.float64)),
        "pearson": np.where(varies, np.clip(correlation, -1.0, 1.0), 0.0),
    }
