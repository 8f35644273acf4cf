"""Weights that are not finite: found before training starts from them, and before they are saved, best or exported.

Looking at all weights takes as long as reading them once, so it is done at those moments alone. Sums tell of them; one
by one they are looked at where a sum is not finite. Buffers are not looked at: some models keep an infinity in one on
purpose.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch.distributed.tensor import DTensor

from hfpipe.errors import Problem, TrainingError
from hfpipe.training.exchange import gather_items
from hfpipe.training.gathering import name_parameters

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

WEIGHTS_NAMED = 3


def check_weights(trainer: "PlannedTrainer") -> None:
    """Raise where weights are not finite; every process has to call it.

    Raises:
        TrainingError: In all processes, with the names of the first few.
    """
    names = _find_in_all(trainer)
    if names:
        remedy = (
            "go on from the newest checkpoint with a lower learning_rate; in float32 (bf16: false) numbers are finer"
        )
        rule = "not finite, so these weights are lost; they were neither saved nor taken for the best"
        raise TrainingError(Problem(f"step {trainer.state.global_step:,}", _list(names), rule, remedy))


def check_first_weights(trainer: "PlannedTrainer") -> None:
    """Raise where training would start from weights that are not finite; every process has to call it.

    Raises:
        TrainingError: In all processes, with the names of the first few.
    """
    names = _find_in_all(trainer)
    if names:
        rule = "not finite in the weights that training starts from; every checkpoint would be refused"
        place = f"step {trainer.state.global_step + 1:,}"
        raise TrainingError(Problem(place, _list(names), rule, "choose another checkpoint, or mend this one"))


@torch.no_grad()
def find_nonfinite_weights(parameters: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names of `parameters` that hold a NaN or an infinity in the part that is in this process."""
    own = {name: _own_part(value) for name, value in parameters.items()}
    held = {name: value for name, value in own.items() if value.numel() and value.is_floating_point()}
    if not held:
        return []
    # a sum is not finite if one of its terms is not; the other way round it may only be too large
    sums = torch.stack([value.sum(dtype=torch.float32) for value in held.values()])
    suspects = [name for name, is_finite in zip(held, sums.isfinite().tolist(), strict=True) if not is_finite]
    return [name for name in suspects if not bool(held[name].isfinite().all())]


def _own_part(value: torch.Tensor) -> torch.Tensor:
    """Return the part of a parameter that FSDP2 or ZeRO-3 keeps in this process; of a plain one the whole."""
    if isinstance(value, DTensor):
        return value.to_local()
    part: torch.Tensor = vars(value).get("ds_tensor", value)
    return part.detach()


def _find_in_all(trainer: "PlannedTrainer") -> list[str]:
    own = find_nonfinite_weights(name_parameters(trainer.network))
    # a number first: names are sent only where there are any
    found = torch.tensor([len(own)], dtype=torch.int64, device=trainer.args.device)
    return sorted(set(gather_items(own))) if int(trainer.accelerator.gather(found).max()) else []


def _list(names: list[str]) -> str:
    more = len(names) - WEIGHTS_NAMED
    return ", ".join(names[:WEIGHTS_NAMED]) + (f" and {more:,} more" if more > 0 else "")
