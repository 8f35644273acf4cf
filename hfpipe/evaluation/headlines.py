"""Which scores of a run stand for it: those with intervals, and the one it is compared by."""

from collections.abc import Collection, Mapping

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation.record import CAUSAL_LM

HEADLINES: Mapping[str, tuple[str, ...]] = {
    SINGLE_LABEL: (
        *("accuracy", "balanced_accuracy", "f1", "f1_macro", "mcc"),
        *("roc_auc", "average_precision", "log_loss", "brier", "ece"),
    ),
    MULTI_LABEL: (
        *("f1_micro", "f1_macro", "subset_accuracy", "hamming_loss"),
        *("roc_auc_macro", "average_precision_macro", "log_loss", "brier", "ece"),
    ),
    REGRESSION: ("rmse", "mae", "r2", "pearson", "spearman"),
    CAUSAL_LM: ("bits_per_byte", "perplexity", "loss"),
}
"""By problem, the scores that have an interval, the most telling first."""


def find_headline(problem_type: str, metric_for_best_model: str, known: Collection[str]) -> str:
    """Return the metric that a run is compared by: the one that chose its weights, where that is a score.

    `known` are the scores there are; one that the rows do not define is not among them.
    """
    default = HEADLINES[problem_type][0]
    return metric_for_best_model if metric_for_best_model in known and metric_for_best_model != "loss" else default


def find_headlines(problem_type: str, headline: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the scores that get an interval, the `headline` first."""
    wanted = dict.fromkeys((headline, *HEADLINES[problem_type]))
    return tuple(name for name in wanted if name in known)
