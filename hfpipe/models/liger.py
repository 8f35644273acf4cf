"""Kernels of Liger in place of a model's own norms, rotary positions and feed-forwards.

Liger's losses are left out, for they give no exact mean of a batch. A model of a type that Liger does not know is left
as it was, and so is one that would compute otherwise: Liger looks at the type alone, not at the activation, and fails
on some heads. What its kernels compute is compared with the model's own way on four short texts.
"""

from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.integrations.liger import apply_liger_kernel

from hfpipe.models.layer_stacks import Unsuited, compare, probe

_WITHOUT_LOSSES = {"cross_entropy": False, "fused_linear_cross_entropy": False}
_SILU = ("silu", "swish")
_ACTIVATIONS = {"gemma": ("gelu_pytorch_tanh", "gelu_new")}
"""What Liger's feed-forward computes, by the beginning of a model's type; SiLU elsewhere."""
# what Liger raises for heads and parts that it does not expect
_FAILURES = (AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError)


def use_liger(model: nn.Module) -> None:
    """Have `model`, which is on its GPU, compute by kernels of Liger; it may be wrapped by adapters.

    Raises:
        Unsuited: If there are none for it, or it computes otherwise by them; its parts are left as they were.
    """
    owner = [part for part in model.modules() if isinstance(part, PreTrainedModel)][-1]
    config = owner.config.get_text_config().to_dict()
    activation = config.get("hidden_act") or config.get("hidden_activation")
    known = next((names for start, names in _ACTIVATIONS.items() if owner.config.model_type.startswith(start)), _SILU)
    plain = probe(model, owner)
    before = {part: dict(vars(part)) for part in model.modules()}
    try:
        _apply(model)
        if all(vars(part).keys() == kept.keys() for part, kept in before.items()):
            raise Unsuited("have no kernels of Liger")
        if activation not in known:
            raise Unsuited(f"have the activation {activation}, of which Liger has no kernel")
        compare(plain, probe(model, owner), owner=owner, way="by kernels of Liger")
    except Unsuited:
        for part, kept in before.items():
            vars(part).clear()
            vars(part).update(kept)
        raise


def _apply(model: Any) -> None:
    try:
        apply_liger_kernel(model, _WITHOUT_LOSSES)
    except _FAILURES as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Unsuited(f"are not what Liger expects: {reason}") from error
