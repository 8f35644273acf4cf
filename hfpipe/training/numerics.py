"""Numbers that are not finite, found before the update they would spoil, and losses that leap.

After the last gradient of a window and before its update, the loss of the window and the norm of its gradient are
brought together from all processes, so that all of them decide alike. Under `nonfinite_policy: stop` the run ends.
Under `skip` the gradients are dropped: an optimizer passes over parameters without one, so weights, moments and weight
decay stay as they were; the step counts, and the learning rate goes on as planned.

Refuses to skip under DeepSpeed, whose update is a part of backward, and to skip on and on. The decision worth knowing:
both numbers come over in the one transfer that the norm needs anyway, so a loss watched at every step costs no wait of
its own.
"""

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.config.sections import SKIP
from hfpipe.errors import Problem, TrainingError
from hfpipe.training.culprits import find_nonfinite_rows, name_culprits, name_rows
from hfpipe.training.finite_weights import check_first_weights, check_weights
from hfpipe.training.spikes import Spike, SpikeFinder
from hfpipe.training.weighting import Shares

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

MOST_SKIPS_IN_A_ROW = 10
REMEDY = "look at these rows, lower learning_rate, or train in float32 (bf16: false)"


class Numerics:
    """What is known of the steps of a run; all but the policy and the present window travels in checkpoints."""

    def __init__(self) -> None:
        self.skips = False
        self.window_loss: torch.Tensor | float = 0.0  # of this process, the micro-batches so far
        self.window_share: torch.Tensor | float = 1.0  # items of the window over what its loss is divided by
        self.shares = Shares()
        self.skipped_steps = 0
        self.skipped_in_a_row = 0
        self.spikes = SpikeFinder()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        return {
            "skipped_steps": self.skipped_steps,
            "skipped_in_a_row": self.skipped_in_a_row,
            "spikes": self.spikes.state(),
            "shares": self.shares.state(),
        }

    def weigh(self, items: torch.Tensor, step_items: float | None) -> torch.Tensor:
        """Return what the loss of a window of so many `items` is divided by: these, or always `step_items`."""
        self.window_share = 1.0 if step_items is None else items / step_items
        return items if step_items is None else torch.full_like(items, step_items)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.skipped_steps, self.skipped_in_a_row = state["skipped_steps"], state["skipped_in_a_row"]
        self.spikes.restore(state["spikes"])
        self.shares.restore(state.get("shares", {}))


class FiniteGuard(TrainerCallback):
    """Stops the run, or skips the step, before an update by a loss or gradient that is not finite.

    DDP has summed gradients over all processes by then. DeepSpeed updates within backward: there `check_loss` has
    looked before, and what is left is a gradient that is not finite though the losses are.
    """

    def __init__(self, trainer: "PlannedTrainer", policy: str, *, watch_loss: bool) -> None:
        self.trainer = trainer
        self.watch_loss = watch_loss
        self._events: list[dict[str, float]] = []
        self._loss_before = torch.zeros(())
        trainer.numerics.skips = policy == SKIP

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse weights that are not finite before a step is made with them, and a policy that cannot be kept."""
        if self.trainer.numerics.skips and self.trainer.is_deepspeed_enabled:
            rule = "DeepSpeed updates the weights within the backward pass, so no step can be skipped after it"
            raise TrainingError(Problem("nonfinite_policy", SKIP, rule, "set nonfinite_policy: stop"))
        check_first_weights(self.trainer)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remember the sum that is logged next: the loss of a step that is skipped must not stay in it."""
        self._loss_before = self.trainer._tr_loss.clone()
        self.trainer.numerics.window_loss = 0.0

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the loss of the window, and at the norm over all gradients before clipping."""
        loss, norm, share = measure_step(self.trainer)
        numerics = self.trainer.numerics
        # With fp16 the loss scaler meets infinite gradients as a matter of course and skips their step.
        if math.isfinite(loss) and (args.fp16 or math.isfinite(norm)):
            numerics.skipped_in_a_row = 0
            numerics.shares.add(share)
            spike = numerics.spikes.observe(loss, share=_share_of_window(self.trainer)) if self.watch_loss else None
            if spike is not None:
                self._report(spike)
        elif numerics.skips or args.fp16:
            self._skip()
        else:
            optimizer_moved = self.trainer.is_deepspeed_enabled and not _was_skipped(self.trainer)
            raise TrainingError(_describe_step(self.trainer, is_updated=optimizer_moved))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Enter what happened in the history, under the number the step has now."""
        for event in self._events:
            is_due = control.should_log
            self.trainer.log(dict(event))
            control.should_log = is_due  # an event of ours is not the one that is due
        self._events = []

    def _skip(self) -> None:
        """Leave the step without effect: on the weights, the optimizer and the losses that are logged."""
        trainer, numerics = self.trainer, self.trainer.numerics
        check_weights(trainer)
        problem = _describe_step(trainer, is_updated=False)
        if numerics.skipped_in_a_row == MOST_SKIPS_IN_A_ROW:
            rule = f"{problem.rule}, as those of the {MOST_SKIPS_IN_A_ROW} steps before, which were skipped"
            raise TrainingError(Problem(problem.place, problem.value, rule, problem.remedy))
        numerics.skipped_steps += 1
        numerics.skipped_in_a_row += 1
        trainer.network.zero_grad(set_to_none=True)
        trainer._tr_loss.copy_(self._loss_before)
        trainer._globalstep_last_logged += 1  # the mean that is logged next is one over the other steps
        self._events.append({"skipped_steps": numerics.skipped_steps})
        if trainer.is_world_process_zero():
            logger.warning("%s: %s: %s: skipped", problem.place, problem.value, problem.rule)

    def _report(self, spike: Spike) -> None:
        self._events.append(
            {"loss_spike": spike.loss, "expected_loss_from": spike.lowest, "expected_loss_to": spike.highest}
        )
        trainer = self.trainer
        if trainer.is_world_process_zero():
            logger.warning(
                "step %s: loss spike: %.4f, where %.4f to %.4f was expected; rows %s",
                *(f"{trainer.state.global_step + 1:,}", spike.loss, spike.lowest, spike.highest),
                name_rows(trainer.train_rows, _window(trainer)),
            )


def check_loss(trainer: "PlannedTrainer", loss: torch.Tensor) -> None:
    """Raise in all processes where the loss of one is not finite, before there is a gradient of it.

    Raises:
        TrainingError: If so; the weights are those before the update.
    """
    finite = loss.detach().isfinite().to(torch.int64)[None]
    # as above, fp16 is left to the loss scaler
    if not trainer.args.fp16 and not int(trainer.accelerator.gather(finite).min()):
        raise TrainingError(_describe_step(trainer, is_updated=False))


def measure_step(trainer: "PlannedTrainer") -> tuple[float, float, float]:
    """Return the mean loss of the window, the norm of its gradient, and the share of items it has.

    The first two are NaN in all processes if one has no finite one.

    DeepSpeed has no norm before its first update, which counts as finite, and in some places -1 for one that is not.
    """
    norm = 0.0 if trainer.grad_norm is None else trainer.grad_norm
    numerics = trainer.numerics
    values = (numerics.window_loss, norm, numerics.window_share)
    own = torch.stack([_as_scalar(value, trainer.args.device) for value in values])
    loss, norm, share = trainer.accelerator.gather(own[None]).mean(dim=0).tolist()
    return loss / share, norm if norm >= 0 else math.nan, share


def _as_scalar(value: torch.Tensor | float, device: torch.device) -> torch.Tensor:
    whole = value.full_tensor() if isinstance(value, DTensor) else value
    if isinstance(whole, torch.Tensor):
        return whole.detach().to(device, torch.float32).reshape(())
    return torch.full((), whole, dtype=torch.float32, device=device)  # made there: a copy would wait for the device


def _was_skipped(trainer: "PlannedTrainer") -> bool:
    return bool(trainer.accelerator.optimizer_step_was_skipped)


def _window(trainer: "PlannedTrainer") -> list[int]:
    """Return the rows of the present step over all processes."""
    ids: list[int] = trainer.plan.window(*divmod(trainer.state.global_step, trainer.plan.steps_per_epoch)).tolist()
    return ids


def _share_of_window(trainer: "PlannedTrainer") -> float:
    plan, step = trainer.plan, trainer.state.global_step
    # a window of many short texts is no noisier than a mean one
    return min((plan.count_samples(step + 1) - plan.count_samples(step)) / plan.rows_per_step, 1.0)


def _describe_step(trainer: "PlannedTrainer", *, is_updated: bool) -> Problem:
    """Return what is wrong with the present step, whose update was made or not; every process has to call it."""
    rows, window = trainer.train_rows, _window(trainer)
    # with weights that are destroyed no row has a finite loss
    culprits = [] if is_updated else find_nonfinite_rows(trainer, rows, window, objective=trainer.task.objective)
    named = name_culprits(trainer, rows, culprits)
    finding = "their loss is not finite" if named else "each loss is finite, the norm of the gradient is not"
    outcome = "would have destroyed the weights and was not made"
    if is_updated:
        outcome = "was made before that was known, so the weights are lost; those of the checkpoints are good"
    return Problem(
        f"step {trainer.state.global_step + 1:,}",
        f"rows {named or name_rows(rows, window)}",
        f"{finding}; the update {outcome}",
        REMEDY,
    )
