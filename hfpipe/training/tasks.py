"""What the kinds of run bring to the trainer: objective and metrics."""

from collections.abc import Sequence

from hfpipe.config import RunConfig
from hfpipe.errors import ConfigError, Problem
from hfpipe.evaluation.metrics import classification_metrics, find_metric_names, language_model_metrics
from hfpipe.training.datasets import BlockRows, LabelledRows
from hfpipe.training.evaluation_loop import Outcome
from hfpipe.training.objectives import CausalLMObjective, ClassificationObjective, Objective
from hfpipe.training.trainer import Task


def classification_task(objective: Objective, config: RunConfig, label_names: Sequence[str]) -> Task:
    """Return the task of giving each text one of `label_names`.

    Raises:
        ConfigError: If `metric_for_best_model` is not defined for so many labels.
    """
    check_metric(config, label_names)

    def score(outcome: Outcome) -> dict[str, float]:
        assert outcome.logits is not None and isinstance(outcome.rows, LabelledRows)
        scores = classification_metrics(outcome.logits, outcome.rows.label_ids)
        return {"loss": outcome.loss, **scores}

    return Task(objective, ClassificationObjective(), score, keep_predictions=True)


def check_metric(config: RunConfig, label_names: Sequence[str]) -> None:
    """Raise a ConfigError where `metric_for_best_model` is not defined for so many labels."""
    wanted = config.trainer_arguments.get("metric_for_best_model", "loss")
    known = ("loss", *find_metric_names(len(label_names)))
    if wanted not in known:
        rule = f"defined for 2 labels, and there are {len(label_names)}"
        remedy = f"choose one of {', '.join(known)}"
        raise ConfigError(Problem(config.place("metric_for_best_model"), wanted, rule, remedy))


def causal_lm_task(objective: Objective) -> Task:
    """Return the task of predicting each next token."""

    def score(outcome: Outcome) -> dict[str, float]:
        assert isinstance(outcome.rows, BlockRows)
        return language_model_metrics(outcome.loss_sum, int(outcome.item_count), outcome.rows.byte_count)

    return Task(objective, CausalLMObjective(), score, keep_predictions=False)
