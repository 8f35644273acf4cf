"""Kernels of Liger, here a stand-in of its entry point: taken where they compute the same, else left out and told."""

import sys
from collections.abc import Callable
from dataclasses import replace
from types import MethodType, ModuleType
from typing import Any

import pytest
import torch
from test_packed_layers import CONFIGS, ROPE, batch, build, check_same, train
from test_plan import FINETUNE, GPU, resolve
from torch import nn
from transformers import LlamaConfig, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from hfpipe.models.layer_stacks import Unsuited
from hfpipe.models.liger import use_liger
from hfpipe.training.settling import settle_layers

Apply = Callable[..., None]


def install(monkeypatch: pytest.MonkeyPatch, apply: Apply) -> None:
    """Have transformers find a Liger that does `apply` to a model."""
    package = ModuleType("liger_kernel.transformers")
    vars(package)["_apply_liger_kernel_to_instance"] = apply
    monkeypatch.setitem(sys.modules, "liger_kernel", ModuleType("liger_kernel"))
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", package)
    monkeypatch.setattr("transformers.integrations.liger.is_liger_kernel_available", lambda: True)


def replace_norms(model: PreTrainedModel, *, factor: float = 1.0) -> None:
    """Bind another forward to each norm, as Liger does."""

    def normalize(norm: Any, states: torch.Tensor) -> torch.Tensor:
        return factor * norm.weight * states * (states.square().mean(-1, keepdim=True) + norm.variance_epsilon).rsqrt()

    for part in model.modules():
        if isinstance(part, LlamaRMSNorm):
            vars(part).update(forward=MethodType(normalize, part), casting_mode="llama")


def apply_nothing(model: PreTrainedModel, **kwargs: bool) -> None:
    """Know no such model."""


def apply_wrongly(model: PreTrainedModel, **kwargs: bool) -> None:
    """Compute something else."""
    replace_norms(model, factor=1.5)


def fail(model: PreTrainedModel, **kwargs: bool) -> None:
    """End half-way, as for heads that are not expected."""
    replace_norms(model)
    raise AttributeError("'Head' object has no attribute 'language_model'\nand more")


def test_kernels_come_without_losses_and_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    given = list[dict[str, bool]]()

    def apply(model: PreTrainedModel, **kwargs: bool) -> None:
        given.append(kwargs)
        replace_norms(model)

    install(monkeypatch, apply)
    plain, model = build(CONFIGS["llama"]), build(CONFIGS["llama"])
    use_liger(model)
    assert given == [{"cross_entropy": False, "fused_linear_cross_entropy": False}]
    assert sum("forward" in vars(part) for part in model.modules()) == 5  # two layers of two norms, and the last one
    check_same(train(model, batch()), train(plain, batch()))


@pytest.mark.parametrize(
    ("apply", "activation", "reason"),
    [
        (apply_nothing, "silu", "have no kernels of Liger"),
        (apply_wrongly, "silu", r"compute otherwise by kernels of Liger \(by \d.*\)"),
        (fail, "silu", "are not what Liger expects: 'Head' object has no attribute 'language_model'"),
        (lambda model, **_: replace_norms(model), "gelu", "have the activation gelu, of which Liger has no kernel"),
    ],
)
def test_a_model_that_would_compute_otherwise_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch, apply: Apply, activation: str, reason: str
) -> None:
    install(monkeypatch, apply)
    model = build(LlamaConfig(**ROPE, hidden_act=activation))
    with torch.no_grad():
        before = model(**batch()).logits
        with pytest.raises(Unsuited, match=f"^{reason}$"):
            use_liger(model)
        assert torch.equal(model(**batch()).logits, before)
    assert not any({"forward", "casting_mode"} & vars(part).keys() for part in model.modules())
    assert isinstance(model, nn.Module) and model.training


def test_the_plan_says_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, apply_nothing)
    plan = replace(resolve(GPU, recipe=FINETUNE), attention="sdpa", pooled_last_layer=False, padding_free=False)
    assert plan.liger
    settled = settle_layers(plan, build(CONFIGS["bert"]), place=str)
    told = "the layers of this model have no kernels of Liger"
    assert settled == replace(plan, liger=False, reasons={"liger": told})
    assert f", no use_liger_kernel ({told}), " in str(settled)
