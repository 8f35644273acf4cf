"""Which rows of a window make the loss infinite: each scored alone, when the run is lost anyway."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer


@torch.inference_mode()
def find_nonfinite_rows(trainer: "PlannedTrainer", row_ids: Sequence[int]) -> list[int]:
    """Return those of `row_ids` whose own loss under the present weights is not finite."""
    trainer.network.eval()
    return [row_id for row_id in row_ids if not _is_finite(trainer, row_id)]


def _is_finite(trainer: "PlannedTrainer", row_id: int) -> bool:
    inputs = trainer._prepare_inputs(trainer.train_rows.__getitems__([row_id]))
    labels = inputs.pop("labels")
    return bool(trainer.task.objective.loss_sum(trainer.network(**inputs), labels).isfinite())
