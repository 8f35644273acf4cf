"""Models on FlashAttention, computed by a stand-in on the CPU: packed rows against eager attention on padded ones."""

import copy

import pytest
import torch
from stand_ins import FlashCalls, install_flash_attention
from test_packed_layers import CONFIGS, DECODERS, TOKENS, batch, build, check_same, compute_anew, packed, train
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from hfpipe.models.hardware import fast_float32
from hfpipe.models.layer_stacks import Unsuited
from hfpipe.models.packed_layers import pack_layers
from hfpipe.models.row_packing import Packing
from hfpipe.training.export import leave_flash_attention

FLASH = "flash_attention_2"
# of GPT-2 transformers asks for a linear layer, to know the type, where nothing is mixed; it has none
IN_FLOAT32 = tuple(name for name in CONFIGS if name != "gpt2")
BFLOAT16_SHARE = 1.5
# shortest text first
ENDS = (0, 4, 17, 30, 54)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> FlashCalls:
    """Calls of a FlashAttention that takes float32 too."""
    return install_flash_attention(monkeypatch, takes_float32=True)


@pytest.fixture
def half_calls(monkeypatch: pytest.MonkeyPatch) -> FlashCalls:
    """Calls of one that takes what the real one takes."""
    return install_flash_attention(monkeypatch)


def on_flash(model: PreTrainedModel) -> PreTrainedModel:
    other = copy.deepcopy(model)
    other.set_attn_implementation(FLASH)
    return other


@pytest.mark.parametrize(
    ("name", "side"), [*((name, "right") for name in IN_FLOAT32), *((name, "left") for name in DECODERS[1:])]
)
def test_packed_rows_learn_what_eager_attention_on_padded_ones_does(name: str, side: str, calls: FlashCalls) -> None:
    eager = build(CONFIGS[name], attn_implementation="eager")
    model = packed(on_flash(eager))
    probed = calls.take()
    # four texts of 7, 3, 5 and 3 tokens: as transformers unpads them, then by our boundaries
    assert {call.ends for call in probed} == {(0, 7, 10, 15, 18), (0, 3, 6, 11, 18)}
    check_same(train(model, batch(side=side)), train(eager, batch(side=side)))
    made = calls.take()
    assert {(call.shape[0], call.ends, call.longest) for call in made} == {(54, ENDS, 24)}
    assert {call.causal for call in made} == {name in DECODERS}
    windows = {"modernbert": {(-1, -1), (3, 3)}, "qwen3": {(-1, -1), (6, 6)}}
    assert {call.window for call in made} == windows.get(name, {(-1, -1)})


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "modernbert"])
def test_in_bfloat16_packed_rows_are_as_near_to_float32_as_eager_ones(name: str, half_calls: FlashCalls) -> None:
    eager = build(CONFIGS[name], attn_implementation="eager")
    exact = train(eager, batch())[1]
    model = on_flash(eager)
    with torch.autocast("cpu", torch.bfloat16):
        pack_layers(model)
    half_calls.take()
    distances = []
    for each in (eager, model):
        rounded = train(each, batch(), bfloat16=True)[1]
        distances.append(sum((rounded[key] - exact[key]).square().sum().item() for key in exact) ** 0.5)
    assert distances[1] <= BFLOAT16_SHARE * distances[0]
    assert {call.ends for call in half_calls.take()} == {ENDS}


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", ["bert", "llama", "qwen3"])
def test_layers_computed_anew_in_backward_are_the_same(name: str, reentrant: bool, calls: FlashCalls) -> None:
    eager = build(CONFIGS[name], attn_implementation="eager")
    model = packed(on_flash(eager))
    compute_anew(model, reentrant=reentrant)
    model.get_input_embeddings().register_forward_hook(lambda _, args, output: output.requires_grad_())
    calls.take()
    check_same(train(model, batch()), train(eager, batch()))
    assert [call.ends for call in calls.take()] == [ENDS] * 4, "two layers, computed twice"


def test_a_tensor_that_wants_a_gradient_is_packed_each_time() -> None:
    packing = Packing(torch.tensor([[1, 1, 1], [1, 0, 0]]))
    shared = torch.randn(2, 3, requires_grad=True)
    with torch.no_grad():  # as reentrant checkpointing goes forward
        packing.pack_once(shared)
    packing.pack_once(shared).sum().backward()
    assert shared.grad is not None and shared.grad.tolist() == [[1, 1, 1], [1, 0, 0]]
    plain = shared.detach()
    assert packing.pack_once(plain) is packing.pack_once(plain)


def test_evaluation_sees_padded_batches_and_a_row_without_a_token_stops_nothing(calls: FlashCalls) -> None:
    eager = build(CONFIGS["bert"], attn_implementation="eager")
    model = packed(on_flash(eager))
    calls.take()
    with torch.no_grad():
        assert torch.allclose(model.eval()(**batch()).logits, eager.eval()(**batch()).logits, atol=1e-6)
    assert {call.ends for call in calls.take()} == {(0, 24, 37, 41, 54)}, "in the order of the rows"
    inputs = batch()
    inputs["attention_mask"][2] = 0
    loss, gradients = train(model.train(), inputs)
    assert all(gradient.isfinite().all() for gradient in gradients.values()) and loss > 0
    # the row keeps its first position, for its model looks at one
    assert {call.ends for call in calls.take()} == {(0, 1, 14, 27, 51)}


@pytest.mark.parametrize("config", [CONFIGS["llama"], CONFIGS["qwen3"]])
def test_a_language_model_on_full_blocks_is_not_packed(config: PreTrainedConfig, calls: FlashCalls) -> None:
    torch.manual_seed(5)
    eager = AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="eager").train()
    model = on_flash(eager)
    blocks = batch(lengths=(TOKENS, TOKENS))["input_ids"]
    given = {"input_ids": blocks, "labels": blocks}
    check_same(train(model, given), train(eager, given))
    assert {(call.shape[:2], call.ends) for call in calls.take()} == {((2, TOKENS), None)}


def test_wrong_boundaries_are_found_by_the_probe(monkeypatch: pytest.MonkeyPatch, calls: FlashCalls) -> None:
    whole = property(lambda packing: (torch.tensor([0, len(packing.index)], dtype=torch.int32), len(packing.index)))
    monkeypatch.setattr(Packing, "boundaries", whole)
    model = on_flash(build(CONFIGS["llama"], attn_implementation="eager"))
    with pytest.raises(Unsuited, match=r"compute otherwise without padding \(by \d"):
        pack_layers(model)


@pytest.mark.parametrize(("name", "rule"), [("bert", RuntimeError), ("gpt2", (RuntimeError, StopIteration))])
def test_a_trained_model_leaves_it_before_it_computes_in_float32(
    name: str, rule: type[Exception] | tuple[type[Exception], ...], half_calls: FlashCalls
) -> None:
    eager = build(CONFIGS[name], attn_implementation="eager").eval()
    model = on_flash(eager)
    with torch.no_grad():
        with pytest.raises(rule):
            model(**batch())
        leave_flash_attention(model)
        assert model.config._attn_implementation == "sdpa"
        assert torch.allclose(model(**batch()).logits, eager(**batch()).logits, atol=1e-6)


def test_scores_on_a_gpu_do_not_ask_for_the_precision_that_tf32_hides() -> None:
    try:
        torch.backends.fp32_precision = "tf32"  # as Trainer switches it on
        with fast_float32(torch.device("cuda")):
            pass
    finally:
        torch.backends.fp32_precision = "none"
        torch.set_float32_matmul_precision("highest")
