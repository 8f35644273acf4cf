"""The schedules of `hfpipe.config.decays` as torch has schedules."""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.optim.lr_scheduler import LambdaLR

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer


def build_decay(
    trainer: "PlannedTrainer", total_steps: int, optimizer: torch.optim.Optimizer | None = None
) -> LambdaLR:
    """Return the schedule of `trainer.decay` over an optimizer, the trainer's unless another one is given.

    Its state is the number of steps done: what it computes from is a matter of settings, which a resumed run shares.
    """
    decay, chosen = trainer.decay, trainer.optimizer if optimizer is None else optimizer
    assert decay is not None and chosen is not None, "called for such a schedule, once there is an optimizer"
    factor = partial(
        decay.factor,
        warmup_steps=trainer.args.get_warmup_steps(total_steps),
        steps_per_epoch=trainer.plan.steps_per_epoch,
    )
    return LambdaLR(chosen, factor)
