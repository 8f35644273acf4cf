"""Metrics of models that predict a number, each one function computed by scikit-learn or scipy.

References and predictions are (rows,) of numbers, taken as float64. Every metric is defined for every input: a
correlation with constant numbers is 0, and R2 where the references do not vary is 1 if they are met, else 0.
"""

import warnings

import numpy as np
from scipy import stats
from sklearn import metrics


def mse(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean squared error."""
    return float(metrics.mean_squared_error(references, predictions))


def rmse(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the root of the mean squared error, in the unit of the references."""
    return float(metrics.root_mean_squared_error(references, predictions))


def mae(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean absolute error."""
    return float(metrics.mean_absolute_error(references, predictions))


def median_absolute_error(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the error that half of the rows are below: a few that are far off do not move it."""
    return float(metrics.median_absolute_error(references, predictions))


def r2(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return the share of the references' variance that is explained; below 0 it is worse than their mean."""
    if len(references) < 2:
        return float((references == predictions).all())  # scikit-learn gives NaN and warns
    return float(metrics.r2_score(references, predictions))


def pearson(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return Pearson's correlation; 0 where references or predictions are constant."""
    if np.ptp(references) == 0 or np.ptp(predictions) == 0:
        return 0.0
    with warnings.catch_warnings():
        # an untrained model's predictions hardly differ, and nobody doubts the digits of that
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return float(stats.pearsonr(references, predictions).statistic)


def spearman(references: np.ndarray, predictions: np.ndarray) -> float:
    """Return Spearman's rank correlation, ties ranked in the middle; 0 where one of the two is constant."""
    return pearson(stats.rankdata(references), stats.rankdata(predictions))
