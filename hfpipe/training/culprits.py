"""Which rows make a loss infinite: each scored alone, when the run is lost anyway."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from hfpipe.inference.forward import run_model
from hfpipe.training.datasets import Rows
from hfpipe.training.objectives import Objective

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

ROWS_NAMED = 8


@torch.inference_mode()
def find_nonfinite_rows(
    trainer: "PlannedTrainer", rows: Rows, row_ids: Sequence[int], *, objective: Objective
) -> list[int]:
    """Return those of `row_ids` whose own loss under the present weights is not finite."""
    trainer.network.eval()
    return [row_id for row_id in row_ids if not _is_finite(trainer, rows, row_id, objective)]


def name_rows(rows: Rows, row_ids: Sequence[int]) -> str:
    """Return where the first few of `row_ids` stand, and how many more there are."""
    named = ", ".join(rows.name(row_id) for row_id in row_ids[:ROWS_NAMED])
    more = len(row_ids) - ROWS_NAMED
    return f"{named} and {more:,} more" if more > 0 else named


def _is_finite(trainer: "PlannedTrainer", rows: Rows, row_id: int, objective: Objective) -> bool:
    inputs = trainer._prepare_inputs(rows.__getitems__([row_id]))
    labels = inputs.pop("labels")
    outputs = run_model(trainer.network, inputs, rows=len(labels), pooling=trainer.task.window_pooling)
    return bool(objective.loss_sum(outputs, labels).isfinite())
