"""Evaluation by sums and counts, gathered once at the end.

A mean of batch means depends on how rows fall into batches; a sum over a count does not. Sums are kept
in float64, so the order of batches does not show in the digits reported.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import TrainingArguments
from transformers.trainer_utils import EvalLoopOutput

from hfpipe.data.batches import FILLER
from hfpipe.errors import Problem, TrainingError
from hfpipe.training.culprits import find_nonfinite_rows, name_rows
from hfpipe.training.datasets import Rows
from hfpipe.training.finite_weights import check_weights
from hfpipe.training.mixed_rows import count_sources, find_source
from hfpipe.training.objectives import CausalLMObjective, Objective
from hfpipe.training.workers import find_rows

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

ROWS_SCORED_ALONE = 64
"""Of the rows in batches whose loss is not finite: with weights that went wrong these are all there are, and under
`nonfinite_policy: skip` the next evaluation meets them again."""


@dataclass(frozen=True)
class Outcome:
    """What an evaluation gathered over all processes.

    `logits` (rows, labels) float32 and `row_losses` (rows,) float64, the summed loss of each row in nats, are in the
    order of `rows`; the first are None where the task keeps no predictions, the second where it does. `source_sums`
    are, of a mixture, loss and items of each source, (sources, 2).
    """

    rows: Rows
    loss_sum: float
    item_count: float
    logits: np.ndarray | None
    source_sums: np.ndarray | None = None
    row_losses: np.ndarray | None = None

    @property
    def loss(self) -> float:
        """Mean loss in nats an item."""
        return self.loss_sum / self.item_count


@torch.inference_mode()
def run_evaluation(trainer: "PlannedTrainer", dataloader: DataLoader, *, prefix: str) -> EvalLoopOutput:
    """Return the metrics of `dataloader`'s rows under `prefix`, the loss among them; as predictions, the `Outcome`.

    Raises:
        TrainingError: In all processes, if the loss is not finite; no score of such a model means anything. A run that
            skips steps goes on while it trains, without scores.
    """
    model = _prepared_model(trainer)
    was_training = model.training
    model.eval()
    objective = trainer.task.evaluation_objective
    rows, batches = find_rows(dataloader), cast("list[list[int]]", dataloader.batch_sampler)
    sources = count_sources(rows)
    sums = torch.zeros((sources, 2), dtype=torch.float64)
    suspects: list[int] = []
    kept_rows: list[int] = []
    kept: list[torch.Tensor] = []
    trainer.callback_handler.eval_dataloader = dataloader
    for row_ids, inputs in zip(batches, dataloader, strict=True):
        inputs = trainer._prepare_inputs(inputs)
        labels = inputs.pop("labels")
        outputs = trainer.run_for_loss(model, inputs, labels, objective=objective)
        row_losses = _find_row_losses(objective, outputs, labels)
        loss_sum = objective.loss_sum(outputs, labels) if row_losses is None else row_losses.sum()
        batch_sums = torch.stack((loss_sum, objective.count(labels))).double().cpu()
        sums[find_source(rows, row_ids)] += batch_sums
        if not batch_sums.isfinite().all():
            suspects += row_ids
        kept_rows += row_ids
        kept.append(outputs.logits.float() if row_losses is None else row_losses[:, None])
        trainer.control = trainer.callback_handler.on_prediction_step(trainer.args, trainer.state, trainer.control)
    model.train(was_training)
    source_sums = _gather_sums(trainer, sums)
    if not math.isfinite(source_sums[:, 0].sum()):
        return _meet_nonfinite(trainer, rows, suspects, prefix)
    by_row = _gather_by_row(trainer, len(rows), kept_rows, kept)
    outcome = _sum_up(trainer, rows, source_sums, by_row)
    metrics = {f"{prefix}_{name}": value for name, value in trainer.task.score(outcome).items()}
    return EvalLoopOutput(predictions=cast("Any", outcome), label_ids=None, metrics=metrics, num_samples=len(rows))


def _find_row_losses(objective: Objective, outputs: Any, labels: torch.Tensor) -> torch.Tensor | None:
    """Return the loss of each row in float64 where that is all that is kept of it; None where the logits are."""
    return objective.row_losses(outputs, labels).double() if isinstance(objective, CausalLMObjective) else None


def _sum_up(trainer: "PlannedTrainer", rows: Rows, source_sums: np.ndarray, by_row: np.ndarray) -> Outcome:
    loss_sum, item_count = source_sums.sum(axis=0).tolist()
    of_sources = source_sums if len(source_sums) > 1 else None
    if trainer.task.keep_predictions:
        return Outcome(rows, loss_sum, item_count, by_row.astype(np.float32), of_sources)
    return Outcome(rows, loss_sum, item_count, None, of_sources, by_row[:, 0])


def has_finite_score(metrics: Mapping[str, float], args: TrainingArguments) -> bool:
    """Tell whether the metric that chooses the best model is a number; one that is missing is Trainer's to refuse."""
    name = (args.metric_for_best_model or "loss").removeprefix("eval_")
    return math.isfinite(metrics.get(f"eval_{name}", 0.0))


def _meet_nonfinite(trainer: "PlannedTrainer", rows: Rows, suspects: list[int], prefix: str) -> EvalLoopOutput:
    """Raise, or let training go on with an evaluation whose scores are unknown."""
    check_weights(trainer)
    problem = _nonfinite_problem(trainer, rows, suspects, prefix)
    if not (trainer.numerics.skips and trainer.is_in_train):
        raise TrainingError(problem)
    if trainer.is_world_process_zero():
        logger.warning("%s: %s: %s; training goes on", problem.place, problem.value, problem.rule)
    watched = (trainer.args.metric_for_best_model or "loss").removeprefix("eval_")
    unknown = {f"{prefix}_{name}": math.nan for name in ("loss", watched)}
    return EvalLoopOutput(predictions=cast("Any", None), label_ids=None, metrics=unknown, num_samples=len(rows))


def _nonfinite_problem(trainer: "PlannedTrainer", rows: Rows, suspects: list[int], prefix: str) -> Problem:
    everywhere = set(_gather_rows(trainer, suspects).tolist()) - {FILLER}
    objective = trainer.task.evaluation_objective
    looked_at = sorted(everywhere)[:ROWS_SCORED_ALONE]
    culprits = find_nonfinite_rows(trainer, rows, looked_at, objective=objective)
    among = f" (of {len(looked_at):,} looked at among {len(everywhere):,})" if len(looked_at) < len(everywhere) else ""
    return Problem(
        f"evaluation '{prefix}' at step {trainer.state.global_step:,}",
        f"rows {name_rows(rows, culprits)}{among}" if culprits else "",
        "the loss is not finite, so no score means anything",
        "look at these rows, lower learning_rate, or train in float32 (bf16: false)",
    )


def _prepared_model(trainer: "PlannedTrainer") -> torch.nn.Module:
    """Return the model under the run's precision; before or without training accelerate has not prepared it yet."""
    if trainer.accelerator._models:
        return cast("torch.nn.Module", trainer.model)
    return trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True)


def _gather_sums(trainer: "PlannedTrainer", sums: torch.Tensor) -> np.ndarray:
    """Return loss and items of each source over all processes, (sources, 2); without a mixture there is one."""
    return trainer.accelerator.gather(sums.to(trainer.accelerator.device)[None]).sum(dim=0).cpu().numpy()


def _gather_by_row(trainer: "PlannedTrainer", row_count: int, rows: list[int], kept: list[torch.Tensor]) -> np.ndarray:
    """Return what all processes have kept in the order of the rows, (rows, ...); fillers fall away."""
    accelerator = trainer.accelerator
    all_rows = _gather_rows(trainer, rows)
    everything = accelerator.gather(accelerator.pad_across_processes(torch.cat(kept))).cpu().numpy()
    real = all_rows != FILLER
    ordered = np.empty((row_count, *everything.shape[1:]), dtype=everything.dtype)
    ordered[all_rows[real]] = everything[real]
    return ordered


def _gather_rows(trainer: "PlannedTrainer", row_ids: list[int]) -> np.ndarray:
    """Return the row ids of all processes, process by process; fillers even them out."""
    accelerator = trainer.accelerator
    own = torch.tensor(row_ids, dtype=torch.int64, device=accelerator.device)
    return accelerator.gather(accelerator.pad_across_processes(own, pad_index=FILLER)).cpu().numpy()
