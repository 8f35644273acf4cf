"""Values that follow from what the user said: saving follows evaluating, and the direction of a metric is known.

A best model can only be kept where checkpoints are written when it is scored, so naming one of the two strategies
decides the other. Nothing the user wrote is changed; `rules` refuses what does not agree.
"""

from collections.abc import Mapping

from hfpipe.config.batch_size import plan_batch_size
from hfpipe.config.optimizers import ADAM_SETTINGS, reads_setting
from hfpipe.config.schedules import METRIC_SCHEDULES
from hfpipe.config.sections import FINETUNE, MULTI_LABEL, PRETRAIN, REGRESSION, SINGLE_LABEL
from hfpipe.config.settled import Settled
from hfpipe.config.streaming import plan_streaming

METRICS: Mapping[str, tuple[str, ...]] = {
    SINGLE_LABEL: (
        *("loss", "accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro"),
        *("precision_weighted", "recall_weighted", "f1_weighted", "mcc", "precision", "recall", "f1"),
        *("roc_auc", "average_precision", "log_loss", "brier", "ece"),
    ),
    MULTI_LABEL: (
        *("loss", "subset_accuracy", "hamming_loss", "precision_micro", "recall_micro", "f1_micro"),
        *("precision_macro", "recall_macro", "f1_macro"),
        *("precision_weighted", "recall_weighted", "f1_weighted", "f1_samples"),
        *("roc_auc_micro", "roc_auc_macro", "average_precision_micro", "average_precision_macro"),
        *("log_loss", "brier", "ece"),
    ),
    REGRESSION: ("loss", "mse", "rmse", "mae", "median_absolute_error", "r2", "pearson", "spearman"),
    PRETRAIN: ("loss", "perplexity", "bits_per_byte"),
}
LOWER_IS_BETTER = (
    *("loss", "perplexity", "bits_per_byte", "hamming_loss", "log_loss", "brier", "ece"),
    *("mse", "rmse", "mae", "median_absolute_error"),
)


def find_metrics(settled: Settled) -> tuple[str, ...]:
    """Return the names of the metrics a run has: those of its problem, or of its recipe where that has one only."""
    return METRICS[str(settled.get("problem_type")) if settled.recipe == FINETUNE else settled.recipe]


def plan_values(settled: Settled) -> Settled:
    """Return the values with those added that follow from the given ones."""
    settled = plan_batch_size(plan_streaming(_plan_problem(settled)))
    settled = _plan_metric(_plan_best_model(_plan_steps(_plan_strategies(settled))))
    return _drop_adam_defaults(_plan_mode(settled))


def _plan_problem(settled: Settled) -> Settled:
    """A delimiter between labels says that there may be several."""
    if settled.has("label_delimiter") and not settled.is_given("problem_type"):
        return settled.plan("problem_type", MULTI_LABEL, cause="label_delimiter")
    return settled


def _plan_strategies(settled: Settled) -> Settled:
    evaluates, saves = settled.get("eval_strategy"), settled.get("save_strategy")
    if settled.is_given("eval_strategy") and not settled.is_given("save_strategy") and evaluates != "no":
        return settled.plan("save_strategy", evaluates, cause="eval_strategy")
    if settled.is_given("save_strategy") and not settled.is_given("eval_strategy") and saves != "no":
        return settled.plan("eval_strategy", saves, cause="save_strategy")
    return settled


def _plan_steps(settled: Settled) -> Settled:
    if settled.get("eval_strategy") == "steps" and not settled.is_given("eval_steps"):
        return settled.plan("eval_steps", settled.get("save_steps"), cause="save_steps")
    if settled.get("save_strategy") == "steps" and not settled.is_given("save_steps"):
        steps = settled.get("eval_steps")
        return settled if steps is None else settled.plan("save_steps", steps, cause="eval_steps")
    return settled


def _plan_best_model(settled: Settled) -> Settled:
    for cause in ("eval_strategy", "save_strategy"):
        if settled.get(cause) == "no" and not settled.is_given("load_best_model_at_end"):
            return settled.plan("load_best_model_at_end", False, cause=cause)
    return settled


def _plan_metric(settled: Settled) -> Settled:
    metric = str(settled.get("metric_for_best_model")).removeprefix("eval_")
    settled = Settled(settled.recipe, {**settled.values, "metric_for_best_model": metric}, settled.origins)
    if settled.is_given("greater_is_better"):
        return settled
    # Trainer takes every metric that does not end in 'loss' for one that should rise.
    return settled.plan("greater_is_better", metric not in LOWER_IS_BETTER, cause="metric_for_best_model")


def _plan_mode(settled: Settled) -> Settled:
    """A schedule that watches the metric lowers the rate when the metric stops falling, unless told otherwise."""
    given = settled.get("lr_scheduler_kwargs") or {}
    follows = settled.get("lr_scheduler_type") in METRIC_SCHEDULES and settled.get("greater_is_better")
    if not follows or not isinstance(given, Mapping) or "mode" in given:
        return settled
    cause = "lr_scheduler_kwargs" if given else "metric_for_best_model"
    return settled.plan("lr_scheduler_kwargs", {**given, "mode": "max"}, cause=cause)


def _drop_adam_defaults(settled: Settled) -> Settled:
    """Leave out what a recipe says about Adam where the optimizer is another."""
    idle = [
        key
        for key in ADAM_SETTINGS
        if key in settled.values and not settled.is_given(key) and not reads_setting(settled, key)
    ]
    values = {key: value for key, value in settled.values.items() if key not in idle}
    return Settled(settled.recipe, values, {key: settled.origins[key] for key in values})
