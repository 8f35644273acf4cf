"""What a model makes of the performance plan: it is set to compute so, and the plan becomes what it really does.

Whatever is chosen by the plan and does not suit the model is left out and told with its reason; where a user asked for
it, it is refused. The plan that came out is what the record holds and a resumed run goes on with.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from hfpipe.config.model_settings import OWN_ATTENTION
from hfpipe.data.token_batches import TokenBatchPlan
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.attention import supports
from hfpipe.models.dropout import quicken_dropout
from hfpipe.models.fused_head import FusedHead
from hfpipe.models.layer_stacks import Unsuited
from hfpipe.models.liger import use_liger
from hfpipe.models.packed_layers import PAYS_FROM, pack_layers
from hfpipe.models.pooled_layer import pool_last_layer
from hfpipe.records.sessions import add_facts
from hfpipe.training.agreement import written_for_all
from hfpipe.training.cursor import ROWS_PER_EPOCH
from hfpipe.training.fused_loss import find_fused_head
from hfpipe.training.plan import FLASH, PADDING_FREE, PERFORMANCE_PLAN, PLANNED, POOLED_LAYER, SETTINGS, PerformancePlan
from hfpipe.training.schedule import Schedule
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

# packed are the layers that are computed for all tokens, so the last one is settled before
_CHANGES_OF_LAYERS: Mapping[str, Callable[[torch.nn.Module], object]] = {
    "liger": use_liger,
    POOLED_LAYER: pool_last_layer,
    PADDING_FREE: pack_layers,
}


def settle_model(plan: PerformancePlan, model: PreTrainedModel) -> PerformancePlan:
    """Set attention and dropout of `model` as `plan` says, and return the plan as far as the model follows it."""
    if plan.origins.get("attention", PLANNED) == PLANNED and plan.attention is not None:
        if _suits(plan.attention, model):
            model.set_attn_implementation(plan.attention)
        else:
            plan = _without(plan, "attention", None, f"{plan.attention} does not suit this model")
    if plan.quick_dropout:
        quicken_dropout(model)
    return plan


def weigh_padding(plan: PerformancePlan, padded: Schedule, *, begun: Mapping[str, Any]) -> PerformancePlan:
    """Return `plan` with padded batches where those of a new run have too little padding for packed ones to pay.

    `padded` is the schedule of padded batches. What its user decided stays, and what a run has `begun` with. A budget
    of tokens deals rows so that they can be packed; FlashAttention gains by any padding that is left out.
    """
    is_settled = plan.origins.get(PADDING_FREE, PLANNED) != PLANNED or ROWS_PER_EPOCH in begun
    gains = plan.attention == FLASH or isinstance(padded.plan, TokenBatchPlan)
    if not plan.padding_free or is_settled or gains or padded.padding_share >= PAYS_FROM:
        return plan
    share = f"{100 * padded.padding_share:.0f} % padding"
    return _without(plan, PADDING_FREE, False, f"{share}, too little to gain from")


def settle_layers(
    plan: PerformancePlan, model: PreTrainedModel, *, place: Callable[[str], str], device: torch.device | None = None
) -> PerformancePlan:
    """Have `model`, set by `settle_model`, run its layers as `plan` says; return the plan as far as it does.

    The model is brought to `device`, where it trains, and where alone some attention runs. Its weights may be any.
    `place` names where a setting stands.

    Raises:
        ConfigError: If a setting asks for what the model cannot do.
    """
    for name, change in _CHANGES_OF_LAYERS.items():
        if not vars(plan)[name]:
            continue
        try:
            change(cast("torch.nn.Module", model).to(device))
        except Unsuited as reason:
            rule = f"the layers of this model {reason}"
            if plan.origins.get(name, PLANNED) != PLANNED:
                raise ConfigError(Problem(place(SETTINGS[name]), "true", rule, "remove it")) from reason
            plan = _without(plan, name, False, rule)
    return plan


def settle_loss(plan: PerformancePlan, trainer: PlannedTrainer, *, place: str) -> PerformancePlan:
    """Have `trainer` compute its loss as `plan` says, and return the plan as far as the model follows it.

    Raises:
        ConfigError: If the setting at `place` asks for a loss that this model does not have.
    """
    if not plan.fused_loss:
        return plan
    with trainer.accelerator.autocast():
        trainer.fused_head = find_fused_head(trainer.network)
    return _follow_head(plan, trainer.fused_head, place)


def foresee_loss(plan: PerformancePlan, model: PreTrainedModel, *, place: str) -> PerformancePlan:
    """Return what `settle_loss` would of a run that trains `model`, set by `settle_model`; its weights may be any.

    Raises:
        ConfigError: As `settle_loss`.
    """
    if not plan.fused_loss:
        return plan
    dtype = torch.float16 if plan.precision == "fp16" else torch.bfloat16
    with torch.autocast(model.device.type, dtype=dtype, enabled=plan.precision != "no"):
        return _follow_head(plan, find_fused_head(model), place)


def _follow_head(plan: PerformancePlan, head: FusedHead | None, place: str) -> PerformancePlan:
    if head is not None:
        return plan
    rule = "the logits of this model are not those of a plain linear head"
    if plan.origins.get("fused_loss", PLANNED) != PLANNED:
        raise ConfigError(Problem(place, "true", rule, "remove it"))
    return _without(plan, "fused_loss", False, rule)


def record_plan(session: Session, plan: PerformancePlan) -> None:
    """Log the plan and write it into the record.

    Raises:
        CheckpointError: If the record cannot be written.
    """
    with written_for_all(session.directory, session.args):
        if session.is_main:
            logger.info("%s", plan)
            add_facts(session.directory, {PERFORMANCE_PLAN: plan.to_json()})


def _suits(attention: str, model: PreTrainedModel) -> bool:
    if attention == OWN_ATTENTION:
        return supports(model)
    return attention != FLASH or model._supports_flash_attn


def _without(plan: PerformancePlan, name: str, value: object, reason: str) -> PerformancePlan:
    changed: dict[str, Any] = {name: value, "reasons": {**plan.reasons, name: reason}}
    return replace(plan, **changed)
