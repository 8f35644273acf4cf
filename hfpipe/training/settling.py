"""What a model makes of the performance plan: it is set to compute so, and the plan becomes what it really does.

Whatever is chosen by the plan and does not suit the model is left out and told with its reason; where a user asked for
it, it is refused. The plan that came out is what the record holds and a resumed run goes on with.
"""

import logging
from dataclasses import replace
from typing import Any

from transformers import PreTrainedModel

from hfpipe.config.model_settings import OWN_ATTENTION
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.attention import supports
from hfpipe.models.dropout import quicken_dropout
from hfpipe.records.sessions import add_facts
from hfpipe.training.agreement import written_for_all
from hfpipe.training.fused_loss import find_fused_head
from hfpipe.training.plan import FLASH, PERFORMANCE_PLAN, PLANNED, PerformancePlan
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)


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


def settle_loss(plan: PerformancePlan, trainer: PlannedTrainer, *, place: str) -> PerformancePlan:
    """Have `trainer` compute its loss as `plan` says, and return the plan as far as the model follows it.

    Raises:
        ConfigError: If the setting at `place` asks for a loss that this model does not have.
    """
    if not plan.fused_loss:
        return plan
    with trainer.accelerator.autocast():
        trainer.fused_head = find_fused_head(trainer.network)
    if trainer.fused_head is not None:
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
