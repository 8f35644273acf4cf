"""What the kinds of run bring to the trainer: objective and metrics.

The metrics of a classifier are imported where they are used: scikit-learn takes half a second, for which no language
model waits.
"""

from hfpipe.config import RunConfig
from hfpipe.data.parts import LabelledParts
from hfpipe.errors import ConfigError, Problem
from hfpipe.evaluation.language_metrics import language_model_metrics
from hfpipe.training.datasets import BlockRows, LabelledRows
from hfpipe.training.evaluation_loop import Outcome
from hfpipe.training.mixed_rows import MixedBlocks
from hfpipe.training.mixture_log import score_blocks_by_source, score_rows_by_source
from hfpipe.training.objectives import CausalLMObjective, Objective, plain_classification_objective
from hfpipe.training.trainer import Task


def classification_task(objective: Objective, config: RunConfig, parts: LabelledParts) -> Task:
    """Return the task of giving each text its label, its labels or its number."""
    from hfpipe.evaluation.metrics import compute_metrics

    def score(outcome: Outcome) -> dict[str, float]:
        assert outcome.logits is not None and isinstance(outcome.rows, LabelledRows)
        logits, targets = outcome.logits, outcome.rows.targets
        scores = compute_metrics(parts.problem_type, logits, targets)
        by_source = score_rows_by_source(
            outcome, lambda rows: compute_metrics(parts.problem_type, logits[rows], targets[rows])
        )
        return {"loss": outcome.loss, **scores, **by_source}

    plain = plain_classification_objective(parts.problem_type)
    return Task(
        objective,
        plain,
        score,
        keep_predictions=True,
        window_pooling=config.data.window_pooling,
        max_tokens_per_batch=config.training.max_tokens_per_batch,
    )


def check_metric(config: RunConfig, parts: LabelledParts) -> None:
    """Raise a ConfigError where so many labels, or the validation part, do not define `metric_for_best_model`."""
    from hfpipe.evaluation.metrics import find_metric_names
    from hfpipe.evaluation.probabilities import find_undefined

    wanted = config.trainer_arguments.get("metric_for_best_model", "loss")
    count = len(parts.label_names)
    known = ("loss", *find_metric_names(parts.problem_type, count))
    undefined = find_undefined(parts.problem_type, parts.validation.targets, count)
    rule = f"defined for 2 labels, and there are {count}" if wanted not in known else ""
    if wanted in undefined:
        rule = "needs validation rows with and without each label"
    if rule:
        remedy = f"choose one of {', '.join(name for name in known if name not in undefined)}"
        raise ConfigError(Problem(config.place("metric_for_best_model"), wanted, rule, remedy))


def causal_lm_task(objective: Objective) -> Task:
    """Return the task of predicting each next token."""

    def score(outcome: Outcome) -> dict[str, float]:
        assert isinstance(outcome.rows, BlockRows | MixedBlocks)
        scores = language_model_metrics(outcome.loss_sum, int(outcome.item_count), outcome.rows.byte_count)
        return scores | score_blocks_by_source(outcome)

    return Task(objective, CausalLMObjective(), score, keep_predictions=False)
