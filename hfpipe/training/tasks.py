"""What the kinds of run bring to the trainer: objective and metrics."""

from hfpipe.evaluation.metrics import classification_metrics, language_model_metrics
from hfpipe.training.datasets import BlockRows, LabelledRows
from hfpipe.training.evaluation_loop import Outcome
from hfpipe.training.objectives import CausalLMObjective, ClassificationObjective, Objective
from hfpipe.training.trainer import Task


def classification_task(objective: Objective) -> Task:
    """Return the task of giving each text one label."""

    def score(outcome: Outcome) -> dict[str, float]:
        assert outcome.logits is not None and isinstance(outcome.rows, LabelledRows)
        scores = classification_metrics(outcome.logits, outcome.rows.label_ids)
        return {"loss": outcome.loss, **scores}

    return Task(objective, ClassificationObjective(), score, keep_predictions=True)


def causal_lm_task(objective: Objective) -> Task:
    """Return the task of predicting each next token."""

    def score(outcome: Outcome) -> dict[str, float]:
        assert isinstance(outcome.rows, BlockRows)
        return language_model_metrics(outcome.loss_sum, int(outcome.item_count), outcome.rows.byte_count)

    return Task(objective, CausalLMObjective(), score, keep_predictions=False)
