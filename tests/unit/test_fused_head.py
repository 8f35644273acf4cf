"""The loss computed in the head against that of whole logits in float32: values, every gradient, what is left out."""

import copy
from collections.abc import Callable

import pytest
import torch
from tiny_models import SHAPE
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

import hfpipe.models  # noqa: F401  (the LSTM among the architectures)
from hfpipe.models.fused_head import TOKENS_AT_ONCE, FusedHead, find_plain_head, score_tokens, sum_cross_entropy
from hfpipe.training.fused_loss import find_fused_head, run_fused
from hfpipe.training.objectives import CausalLMObjective

TOKENS, WIDTH, ENTRIES = 2 * TOKENS_AT_ONCE + 77, 24, 700
EXACT = 1e-6
"""Relative, by norm, in float32: products are cut otherwise, so they round otherwise."""
AS_FAR = 1.5
"""Under bfloat16, how much further from the float32 truth than the plain way a gradient may be."""

_SHAPES = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0},
    "hfpipe_lstm": {"hidden_size": 16, "embedding_size": 8},
}
Loss = Callable[[torch.Tensor, torch.nn.Linear, torch.Tensor, float], torch.Tensor]


def make_causal_lm(architecture: str, **fields: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **{"vocab_size": 200, **_SHAPES.get(architecture, SHAPE), **fields})
    return AutoModelForCausalLM.from_config(config)


def plain(hidden: torch.Tensor, head: torch.nn.Linear, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    logits = head(hidden).float()
    return functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum", label_smoothing=smoothing)


def fused(hidden: torch.Tensor, head: torch.nn.Linear, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    return sum_cross_entropy(hidden, head, targets, label_smoothing=smoothing)


def measure(loss: Loss, *, bias: bool, smoothing: float, mixed: bool = False) -> list[torch.Tensor]:
    """Return a loss over a window, and the gradients of hidden states and head."""
    generator = torch.Generator().manual_seed(5)
    head = torch.nn.Linear(WIDTH, ENTRIES, bias=bias)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    hidden = torch.randn(TOKENS, WIDTH, generator=generator).requires_grad_()
    targets = torch.randint(0, ENTRIES, (TOKENS,), generator=generator)
    targets[::7] = -100
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
        total = loss(hidden, head, targets, smoothing)
    (total / 1_234).backward()
    found = [total, hidden.grad, *(parameter.grad for parameter in head.parameters())]
    return [each.detach() for each in found if each is not None]


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bias", [False, True])
def test_loss_and_gradients_are_those_of_whole_logits(bias: bool, smoothing: float) -> None:
    truth = measure(plain, bias=bias, smoothing=smoothing)
    found = measure(fused, bias=bias, smoothing=smoothing)
    assert len(found) == (4 if bias else 3)
    for one, other in zip(found, truth, strict=True):
        assert one.dtype == other.dtype and distance(one, other) < EXACT
    assert not found[1][::7].any()  # tokens that are ignored


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_under_bfloat16_it_is_as_near_to_float32_as_the_plain_way(smoothing: float) -> None:
    truth = measure(plain, bias=True, smoothing=smoothing)
    usual = measure(plain, bias=True, smoothing=smoothing, mixed=True)
    found = measure(fused, bias=True, smoothing=smoothing, mixed=True)
    for one, way, other in zip(found[1:], usual[1:], truth[1:], strict=True):
        assert distance(one, other) < AS_FAR * distance(way, other) < 0.01
    assert distance(found[0], truth[0]) < 1e-4


def test_large_logits_and_rows_that_are_not_numbers() -> None:
    head = torch.nn.Linear(WIDTH, ENTRIES, bias=False)
    hidden = 3e3 * torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(8)
    truth = plain(hidden, head, targets, 0.0)
    assert fused(hidden, head, targets, 0.0).item() == pytest.approx(truth.item(), rel=EXACT)
    hidden[3], targets[3] = torch.nan, -100
    hidden = hidden.requires_grad_()
    total = fused(hidden, head, targets, 0.0)
    total.backward()
    assert total.isfinite() and hidden.grad is not None and hidden.grad.isfinite().all()
    assert head.weight.grad is not None and head.weight.grad.isfinite().all()
    targets[3] = 1
    assert fused(hidden, head, targets, 0.0).isnan()


def test_fillers_alone_give_zero() -> None:
    head = torch.nn.Linear(WIDTH, ENTRIES)
    hidden = torch.randn(5, WIDTH).requires_grad_()
    total = fused(hidden, head, torch.full((5,), -100), 0.1)
    total.backward()
    assert total.item() == 0.0
    assert hidden.grad is not None and not hidden.grad.any()
    assert head.weight.grad is not None and not head.weight.grad.any()


def test_a_frozen_head_gets_no_gradient_and_hidden_states_the_same() -> None:
    head, targets = torch.nn.Linear(WIDTH, ENTRIES), torch.arange(9)
    hidden = torch.randn(9, WIDTH)
    of_hidden = []
    for trained in (True, False):
        own = hidden.clone().requires_grad_()
        fused(own, head.requires_grad_(trained), targets, 0.0).backward()
        of_hidden.append(own.grad)
    assert torch.equal(*of_hidden)  # type: ignore[arg-type]
    head.weight.grad = None
    fused(hidden.clone().requires_grad_(), head.requires_grad_(False), targets, 0.0).backward()
    assert head.weight.grad is None


def test_its_gradient_can_be_taken_once() -> None:
    head = torch.nn.Linear(WIDTH, ENTRIES)
    total = fused(torch.randn(4, WIDTH), head, torch.arange(4), 0.0)
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def test_losses_of_tokens_are_those_of_whole_logits() -> None:
    head, targets = torch.nn.Linear(WIDTH, ENTRIES), torch.randint(0, ENTRIES, (TOKENS,))
    targets[5] = -100
    hidden = torch.randn(TOKENS, WIDTH)
    truth = functional.cross_entropy(head(hidden), targets, ignore_index=-100, reduction="none")
    assert torch.allclose(score_tokens(hidden, head, targets), truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "hfpipe_lstm"])
def test_a_model_gives_the_loss_of_its_logits_and_stays_as_it_is(architecture: str) -> None:
    model = make_causal_lm(architecture).eval()
    names, random_state = [*vars(model.get_output_embeddings())], torch.get_rng_state()
    head = find_fused_head(model)
    assert head is not None
    labels = torch.randint(0, 200, (3, 9), generator=torch.Generator().manual_seed(2))
    labels[2] = -100
    inputs, objective = {"input_ids": labels.clamp(min=0)}, CausalLMObjective(0.1)
    gradients = []
    for way in ("plain", "fused"):
        own = copy.deepcopy(model)
        outputs = (
            run_fused(FusedHead(own.get_output_embeddings()), own, inputs, labels=labels, objective=objective)
            if way == "fused"
            else own(**inputs)
        )
        loss = objective.loss_sum(outputs, labels)
        loss.backward()
        gradients.append({name: each.grad for name, each in own.named_parameters() if each.grad is not None})
        gradients[-1]["loss"] = loss.detach()
    assert gradients[0].keys() == gradients[1].keys()
    for name, truth in gradients[0].items():
        assert torch.allclose(gradients[1][name], truth, rtol=1e-5, atol=1e-6), name
    with torch.no_grad():
        by_row = run_fused(head, model, inputs, labels=labels, objective=objective)
        assert torch.allclose(
            objective.row_losses(by_row, labels), objective.row_losses(model(**inputs), labels), rtol=1e-5
        )
    assert [*vars(model.get_output_embeddings())] == names
    assert torch.equal(torch.get_rng_state(), random_state)


def test_models_that_change_their_logits_keep_them() -> None:
    scaled = make_causal_lm("granite", logits_scaling=4.0)
    assert find_plain_head(scaled) is not None and find_fused_head(scaled) is None
    capped = make_causal_lm("gemma2", num_key_value_heads=2, head_dim=8, final_logit_softcapping=2.0)
    assert find_plain_head(capped) is not None and find_fused_head(capped) is None
    assert find_fused_head(make_causal_lm("granite", logits_scaling=1.0)) is not None


def test_a_head_that_is_not_plain_keeps_its_logits() -> None:
    model = make_causal_lm("llama")
    head = torch.nn.Sequential(torch.nn.Linear(16, 200))
    model.set_output_embeddings(head)
    assert find_plain_head(model) is None and find_fused_head(model) is None
