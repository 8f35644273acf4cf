"""Layers on packed rows against the same layers on the padded batch: losses, every gradient, what is left as it was."""

import copy
import warnings
from functools import wraps
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    ModernBertConfig,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
    RobertaConfig,
)
from transformers.models.bert.modeling_bert import BertLayer

from hfpipe.config import ModelSettings
from hfpipe.models.adapters import add_adapter
from hfpipe.models.attention import NAME
from hfpipe.models.dropout import quicken_dropout
from hfpipe.models.layer_stacks import Unsuited
from hfpipe.models.packed_layers import PackedLayers, pack_layers
from hfpipe.models.row_packing import Packing

VOCABULARY, TOKENS = 40, 24
LENGTHS = (24, 13, 4, 13)
FLOAT32_TOLERANCE = 1e-5
# of the distance from float32 that the padded batch has in bfloat16
BFLOAT16_SHARE = 1.5
SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": VOCABULARY}
SIZES |= {"intermediate_size": 48, "pad_token_id": 1}
NO_DROPOUT: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
ROPE: dict[str, Any] = SIZES | {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64}
GPT2: dict[str, Any] = {"n_positions": 64, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 2}
MODERN: dict[str, Any] = {"global_attn_every_n_layers": 2, "local_attention": 6, "bos_token_id": 2, "eos_token_id": 3}
CONFIGS: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**SIZES, **NO_DROPOUT),
    "roberta": RobertaConfig(**SIZES, **NO_DROPOUT, max_position_embeddings=64),
    "distilbert": DistilBertConfig(**SIZES, dropout=0.0, seq_classif_dropout=0.0, attention_dropout=0.0),
    "modernbert": ModernBertConfig(**SIZES, **MODERN, cls_token_id=2, sep_token_id=3),
    "gpt2": GPT2Config(**SIZES, **GPT2, eos_token_id=3),
    "llama": LlamaConfig(**ROPE),
    "qwen3": Qwen3Config(
        **ROPE, layer_types=["sliding_attention", "full_attention"], use_sliding_window=True, sliding_window=7
    ),
}
DECODERS = ("gpt2", "llama", "qwen3")


def build(config: PreTrainedConfig, **options: Any) -> PreTrainedModel:
    torch.manual_seed(5)
    given = {"attn_implementation": NAME, **options}
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(copy.deepcopy(config), **given)
    return model.train()


def packed(model: PreTrainedModel) -> PreTrainedModel:
    other = copy.deepcopy(model)
    pack_layers(other)
    return other


def batch(*, side: str = "right", lengths: tuple[int, ...] = LENGTHS) -> dict[str, torch.Tensor]:
    torch.manual_seed(6)
    ends = torch.tensor(lengths)[:, None]
    is_token = torch.arange(TOKENS) < ends if side == "right" else torch.arange(TOKENS) >= TOKENS - ends
    ids = torch.where(is_token, torch.randint(5, VOCABULARY, is_token.shape), 1)
    return {"input_ids": ids, "attention_mask": is_token.long(), "labels": torch.arange(len(lengths)) % 2}


def train(
    model: nn.Module, inputs: dict[str, torch.Tensor], *, bfloat16: bool = False
) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the loss, and the gradient of every parameter that has one."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss = model(**inputs).loss
    loss.backward()
    return loss.item(), {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


def compute_anew(model: PreTrainedModel, *, reentrant: bool = False) -> None:
    """Have the layers of `model` computed again in backward."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers renames the method in these versions
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})


def check_same(one: tuple[float, dict[str, torch.Tensor]], other: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert one[0] == pytest.approx(other[0], rel=FLOAT32_TOLERANCE)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        largest = max(1.0, gradient.abs().max().item())
        assert (gradient - other[1][name]).abs().max() < FLOAT32_TOLERANCE * largest, name


# heads of encoders look at the first position, which is padding on the left
@pytest.mark.parametrize(
    ("name", "side"), [*((name, "right") for name in CONFIGS), *((name, "left") for name in DECODERS)]
)
def test_losses_and_gradients_are_those_of_the_padded_batch(name: str, side: str) -> None:
    padded = build(CONFIGS[name])
    model, widths = packed(padded), []
    watched = next(part for part in model.modules() if isinstance(part, nn.ModuleList))[0]
    watched.register_forward_pre_hook(lambda _, args, kwargs: widths.append(args[0].shape[:2]), with_kwargs=True)
    check_same(train(model, batch(side=side)), train(padded, batch(side=side)))
    assert widths == [(1, 24 + 16 + 16 + 16)], "rows of 24, 13, 4 and 13 tokens keep padding up to a multiple of 16"


@pytest.mark.parametrize("name", ["bert", "modernbert", "qwen3"])
def test_bfloat16_is_as_near_to_float32_as_it_is_padded(name: str) -> None:
    padded = build(CONFIGS[name])
    exact = train(padded, batch())[1]
    distances = []
    for model in (padded, packed(padded)):
        rounded = train(model, batch(), bfloat16=True)[1]
        distances.append(sum((rounded[key] - exact[key]).square().sum().item() for key in exact) ** 0.5)
    assert distances[1] <= BFLOAT16_SHARE * distances[0]


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_layers_computed_anew_in_backward_are_the_same(name: str, reentrant: bool) -> None:
    padded = build(CONFIGS[name])
    expected = train(padded, batch())
    model = packed(padded)
    compute_anew(model, reentrant=reentrant)
    model.get_input_embeddings().register_forward_hook(lambda _, args, output: output.requires_grad_())
    check_same(train(model, batch()), expected)


def test_dropout_computed_anew_in_backward_is_the_same() -> None:
    model = build(BertConfig(**SIZES, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3))
    quicken_dropout(model)
    model = packed(model)
    inputs, results = batch(), []
    for seed, checkpointing in ((1, False), (1, True), (2, True)):
        if checkpointing:
            compute_anew(model)
        torch.manual_seed(seed)
        results.append(train(model, inputs))
    check_same(*results[:2])
    assert results[2][0] != results[0][0]


def test_adapters_learn_the_same() -> None:
    adapter = ModelSettings(use_peft=True, lora_r=2, lora_dropout=0.0)
    padded = add_adapter(adapter, build(CONFIGS["bert"]), new_parameters=("classifier.weight", "classifier.bias"))
    for name, parameter in padded.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)  # they begin at 0, where the others have no gradient
    model = packed(padded.train())
    check_same(train(model, batch()), train(padded, batch()))


def test_nothing_changes_without_a_gradient_or_without_padding() -> None:
    padded = build(CONFIGS["bert"])
    model = packed(padded)
    assert model.state_dict().keys() == padded.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(model(**batch()).logits, padded(**batch()).logits)
    full = batch(lengths=(TOKENS, TOKENS))
    assert torch.equal(model(**full).logits, padded(**full).logits)
    # a batch after another one is packed by its own mask
    check_same(train(model, batch(lengths=(5, 24))), train(padded, batch(lengths=(5, 24))))


def test_a_row_without_a_token_stops_nothing() -> None:
    model = packed(build(CONFIGS["bert"]))
    inputs = batch()
    inputs["attention_mask"][2] = 0
    loss, gradients = train(model, inputs)
    assert all(gradient.isfinite().all() for gradient in gradients.values()) and loss > 0


@pytest.mark.parametrize(
    ("config", "options", "reason"),
    [
        (AlbertConfig(**SIZES, embedding_size=16), {}, "are no stack of transformers' layers"),
        (CONFIGS["bert"], {"attn_implementation": "eager"}, "have attention eager"),
        (
            OPTConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, layerdrop=0.1),
            {"attn_implementation": "sdpa"},
            "are left out at random (layerdrop)",
        ),
    ],
)
def test_what_cannot_be_packed_is_told(config: PreTrainedConfig, options: dict[str, Any], reason: str) -> None:
    model = build(config, **options)
    if "layerdrop" in reason:
        model.set_attn_implementation(NAME)
    with pytest.raises(Unsuited) as error:
        pack_layers(model)
    assert str(error.value) == reason
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_a_model_that_computes_otherwise_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(CONFIGS["bert"])
    # positions that are looked up among packed rows, of which there is one
    layer = BertLayer
    plain = layer.forward

    def forward(self: Any, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        places = torch.arange(hidden_states.shape[1])[:, None]
        return plain(self, hidden_states + 0.1 * places, *args, **kwargs)

    monkeypatch.setattr(layer, "forward", wraps(plain)(forward))
    with pytest.raises(Unsuited, match=r"compute otherwise without padding \(by \d"):
        pack_layers(model)
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.modules())

    def cutting(self: Any, hidden_states: torch.Tensor, attention_mask: Any, *args: Any, **kwargs: Any) -> Any:
        return plain(self, hidden_states, attention_mask[:, :, :, :], *args, **kwargs)

    monkeypatch.setattr(layer, "forward", wraps(plain)(cutting))
    with pytest.raises(Unsuited, match="fail on a few texts: 'PackedMask' object is not subscriptable"):
        pack_layers(model)
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.modules())


def test_no_random_number_is_drawn() -> None:
    model = build(CONFIGS["bert"])
    before = torch.get_rng_state()
    pack_layers(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training


def test_flash_attention_gets_boundaries_in_place_of_a_mask() -> None:
    model = build(CONFIGS["llama"])
    model.config._attn_implementation = "flash_attention_2"
    hooks = PackedLayers(model.model, model.model.layers)
    mask = batch()["attention_mask"]
    hooks.begin(model.model, (), {"attention_mask": mask})
    states, places = torch.randn(len(LENGTHS), TOKENS, 32), torch.arange(TOKENS)[None]
    given = {"attention_mask": mask, "position_ids": places, "position_embeddings": (places.float(), places.float())}
    args, kwargs = hooks.enter_first(model.model.layers[0], (states,), given) or ((), {})
    assert kwargs["attention_mask"] is None
    # shortest first
    assert kwargs["cu_seq_lens_q"].tolist() == kwargs["cu_seq_lens_k"].tolist() == [0, 4, 17, 30, 54]
    assert kwargs["cu_seq_lens_q"].dtype == torch.int32
    assert (kwargs["max_length_q"], kwargs["max_length_k"]) == (24, 24)
    assert args[0].shape == (1, 54, 32) and torch.equal(args[0][0, :4], states[2, :4])
    assert kwargs["position_ids"].tolist() == [[*range(4), *range(13), *range(13), *range(24)]]
    assert torch.equal(kwargs["position_embeddings"][1], kwargs["position_ids"].float())


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=5), st.sampled_from([1, 4]))
def test_packing_keeps_tokens_wherever_they_are(rows: list[list[bool]], multiple_of: int) -> None:
    mask = torch.tensor(rows)
    packing = Packing(mask, multiple_of=multiple_of)
    states = torch.randn(*mask.shape, 3)
    there = mask.clone()
    there[~mask.any(1), 0] = True
    kept = [min(6, -(-tokens // multiple_of) * multiple_of) for tokens in there.sum(1).tolist()]
    row = packing.pack(states)
    assert row.shape == (1, sum(kept), 3)
    unpacked = packing.unpack(row)
    assert torch.equal(unpacked[there], states[there])
    assert unpacked.any(2).sum(1).tolist() == kept, "no position twice, none of another row"
    places = torch.arange(6)[None].expand(1, -1)
    if len(rows) > 1:
        assert packing.pack(places)[0].tolist() == packing.pack(places.expand(len(rows), -1))[0].tolist()


def test_masks_become_what_attention_is_fastest_with() -> None:
    packing = Packing(torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0]]))
    keys = torch.tensor([3, 2, 3])[:, None, None, None]
    seen = (torch.arange(4) < keys).expand(3, 1, 4, 4)
    full = packing.pack_mask(seen)
    assert full.shapes == ((1, 2), (2, 3))
    assert [(part.mask, part.is_causal) for part in full.parts] == [(None, False), (None, False)]
    causal = packing.pack_mask(seen & torch.ones(4, 4, dtype=torch.bool).tril())
    assert [(part.mask, part.is_causal) for part in causal.parts] == [(None, True), (None, True)]
    near = (torch.arange(4)[:, None] - torch.arange(4)).abs() < 2
    window = packing.pack_mask(seen & near)
    assert window.parts[0].mask is None and window.parts[1].mask is not None
    assert torch.equal(window.parts[1].mask, near[:3, :3].expand(2, 1, 3, 3))
    assert packing.pack_mask(seen) is full
    with pytest.raises(TypeError, match=r"a mask \(3, 1, 4, 4\) of torch.float32 cannot be packed"):
        packing.pack_mask(torch.zeros(3, 1, 4, 4))
    states = torch.randn(1, 2, 8, 5)
    assert [tuple(piece.shape) for piece in full.split(states)] == [(1, 2, 2, 5), (2, 2, 3, 5)]
