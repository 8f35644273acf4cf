"""Evaluation by sums and counts, gathered once at the end.

A mean of batch means depends on how rows fall into batches; a sum over a count does not. Sums are kept
in float64, so the order of batches does not show in the digits reported.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers.trainer_utils import EvalLoopOutput

from hfpipe.data.batches import FILLER
from hfpipe.training.datasets import Rows

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What an evaluation gathered over all processes.

    `logits` (rows, labels) float32 are in the order of `rows`; None where the task keeps no predictions.
    """

    rows: Rows
    loss_sum: float
    item_count: float
    logits: np.ndarray | None

    @property
    def loss(self) -> float:
        """Mean loss in nats an item."""
        return self.loss_sum / self.item_count


@torch.inference_mode()
def run_evaluation(
    trainer: "PlannedTrainer", dataloader: DataLoader, *, description: str, prefix: str
) -> EvalLoopOutput:
    """Return the metrics of `dataloader`'s rows under `prefix`, the loss among them."""
    model = (
        trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True) if _is_bare(trainer) else trainer.model
    )
    objective = trainer.task.evaluation_objective
    was_training = model.training
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64)
    kept_rows: list[int] = []
    kept_logits: list[torch.Tensor] = []
    trainer.callback_handler.eval_dataloader = dataloader
    for row_ids, inputs in zip(dataloader.batch_sampler, dataloader, strict=True):
        inputs = trainer._prepare_inputs(inputs)
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        batch_sums = (objective.loss_sum(outputs, labels), objective.count(labels))
        sums += torch.stack(batch_sums).double().cpu()
        if trainer.task.keep_predictions:
            kept_rows += row_ids
            kept_logits.append(outputs.logits.float())
        trainer.control = trainer.callback_handler.on_prediction_step(trainer.args, trainer.state, trainer.control)
    model.train(was_training)
    outcome = _gather(trainer, dataloader, sums, kept_rows, kept_logits)
    metrics = {f"{prefix}_{name}": value for name, value in trainer.task.score(outcome).items()}
    return EvalLoopOutput(
        predictions=outcome.logits,
        label_ids=None,
        metrics=metrics,
        num_samples=len(dataloader.dataset),
    )


def _is_bare(trainer: "PlannedTrainer") -> bool:
    """Tell whether accelerate has not wrapped the model yet: an evaluation before or without training."""
    return not trainer.accelerator._models


def _gather(
    trainer: "PlannedTrainer",
    dataloader: DataLoader,
    sums: torch.Tensor,
    rows: list[int],
    logits: list[torch.Tensor],
) -> Outcome:
    accelerator = trainer.accelerator
    loss_sum, item_count = accelerator.gather(sums.to(accelerator.device)[None]).sum(dim=0).tolist()
    if not trainer.task.keep_predictions:
        return Outcome(dataloader.dataset, loss_sum, item_count, None)
    own_rows = torch.tensor(rows, device=accelerator.device)
    all_rows = accelerator.gather(accelerator.pad_across_processes(own_rows, pad_index=FILLER)).cpu().numpy()
    all_logits = accelerator.gather(accelerator.pad_across_processes(torch.cat(logits))).cpu().numpy()
    real = all_rows != FILLER
    ordered = np.empty((len(dataloader.dataset), all_logits.shape[1]), dtype=np.float32)
    ordered[all_rows[real]] = all_logits[real]
    return Outcome(dataloader.dataset, loss_sum, item_count, ordered)
