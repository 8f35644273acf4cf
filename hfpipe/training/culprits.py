"""Which rows make a loss infinite: each scored alone, when the run is lost anyway or a step is left out for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from hfpipe.inference.forward import run_model
from hfpipe.training.datasets import Rows
from hfpipe.training.exchange import gather_items
from hfpipe.training.objectives import Objective

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

ROWS_NAMED = 8


@torch.inference_mode()
def find_nonfinite_rows(
    trainer: "PlannedTrainer", rows: Rows, row_ids: Sequence[int], *, objective: Objective
) -> list[int]:
    """Return those of `row_ids` whose own loss under the present weights is not finite."""
    was_training = trainer.network.training
    trainer.network.eval()
    found = [row_id for row_id in row_ids if not _is_finite(trainer, rows, row_id, objective)]
    trainer.network.train(was_training)
    return found


def name_rows(rows: Rows, row_ids: Sequence[int]) -> str:
    """Return where the first few of `row_ids` stand, and how many more there are."""
    return _list([rows.name(row_id) for row_id in row_ids[:ROWS_NAMED]], len(row_ids))


def name_culprits(trainer: "PlannedTrainer", rows: Rows, row_ids: Sequence[int]) -> str:
    """Return where the rows stand that any process has found, '' if there are none; every process has to call it.

    The rows of a stream are known to the process alone that has read them.
    """
    own = [(row_id, rows.name(row_id)) for row_id in row_ids]
    everywhere = dict(sorted(own if trainer.args.world_size == 1 else gather_items(own)))
    return _list(list(everywhere.values())[:ROWS_NAMED], len(everywhere))


def _list(names: Sequence[str], count: int) -> str:
    more = count - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more > 0 else "")


def _is_finite(trainer: "PlannedTrainer", rows: Rows, row_id: int, objective: Objective) -> bool:
    inputs = trainer._prepare_inputs(rows.__getitems__([row_id]))
    labels = inputs.pop("labels")
    outputs = run_model(trainer.network, inputs, rows=len(labels), pooling=trainer.task.window_pooling)
    return bool(objective.loss_sum(outputs, labels).isfinite())
