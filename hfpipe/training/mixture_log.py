"""What a mixture has trained on and how well each of its sources is predicted.

The losses of training are not kept apart by source: that would take the loss of every row in every micro-batch.
Evaluations have them at no cost.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.evaluation.language_metrics import language_model_metrics
from hfpipe.training.evaluation_loop import Outcome
from hfpipe.training.mixed_rows import MixedBlocks, find_sources_of

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer


class SourceCounts(TrainerCallback):
    """Adds to log events how many rows of each source the run has trained on; it stands before the history."""

    def __init__(self, trainer: "PlannedTrainer") -> None:
        self.trainer = trainer
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)  # drawn once an epoch, not at every log event

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add the counts since the run began: `rows_<source>` and, of blocks, `tokens_<source>`."""
        if logs and "loss" in logs:
            logs |= self._counts(state.global_step)

    def _counts(self, step: int) -> dict[str, int]:
        plan, rows = self.trainer.plan, self.trainer.train_rows
        sources = find_sources_of(rows)
        assert sources is not None
        epochs = step // plan.steps_per_epoch
        if epochs != self._epoch:
            self._epoch, self._order = epochs, plan.order(epochs)
        begun = self._order[: plan.count_samples(step) - epochs * plan.num_rows]
        size = len(sources.names)
        counts = epochs * np.bincount(sources.ids, minlength=size) + np.bincount(sources.ids[begun], minlength=size)
        found = {f"rows_{name}": int(count) for name, count in zip(sources.names, counts, strict=True)}
        if isinstance(rows, MixedBlocks):
            found |= {
                f"tokens_{name}": int(count) * rows.block_size
                for name, count in zip(sources.names, counts, strict=True)
            }
        return found


def score_blocks_by_source(outcome: Outcome) -> dict[str, float]:
    """Return the metrics of a language model on each source, named `<metric>_<source>`; none without a mixture."""
    rows = outcome.rows
    if not isinstance(rows, MixedBlocks) or outcome.source_sums is None:
        return {}
    metrics: dict[str, float] = {}
    for name, (loss_sum, items) in zip(rows.sources.names, outcome.source_sums.tolist(), strict=True):
        scores = language_model_metrics(loss_sum, int(items), rows.of_source[name].byte_count)
        metrics |= {f"{metric}_{name}": value for metric, value in scores.items()}
    return metrics


def score_rows_by_source(outcome: Outcome, score: Callable[[np.ndarray], dict[str, float]]) -> dict[str, float]:
    """Return the metrics of a classifier on each source that has rows; `score` takes the ids of those rows."""
    sources = find_sources_of(outcome.rows)
    if sources is None or outcome.source_sums is None:
        return {}
    metrics: dict[str, float] = {}
    for number, (name, (loss_sum, items)) in enumerate(zip(sources.names, outcome.source_sums.tolist(), strict=True)):
        if items:
            scores = {"loss": loss_sum / items, **score(sources.rows_of(number))}
            metrics |= {f"{metric}_{name}": value for metric, value in scores.items()}
    return metrics
