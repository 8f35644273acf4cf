"""The attention "hfpipe" against plain eager attention: what it gives and its gradients, for every kind of mask."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from hfpipe.models import attention, matrix_attention
from hfpipe.models.attention import NAME, attention_forward, supports
from hfpipe.models.matrix_attention import Options, attend, find_groups, find_tiles
from hfpipe.models.scoring_attention import SHORTEST

ROWS, TOKENS, VOCABULARY = 3, 24, 40
FLOAT32_TOLERANCE = 1e-5
# of the distance from float32 that transformers' own bfloat16 has
BFLOAT16_SHARE = 1.5
# above zero, so that products pay in float32 too, and of no level, so that nothing is dropped
NO_RATE = 1e-9
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": VOCABULARY}
SIZES |= {"intermediate_size": 48}
DECODER = SIZES | {"num_key_value_heads": 2, "head_dim": 8, "attention_dropout": NO_RATE, "max_position_embeddings": 64}
GPT2 = {"n_positions": 64, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "bos_token_id": 1, "eos_token_id": 1}
CONFIGS: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**SIZES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=NO_RATE),
    "distilbert": DistilBertConfig(**SIZES, dropout=0.0, seq_classif_dropout=0.0, attention_dropout=NO_RATE),
    "gpt2": GPT2Config(**SIZES, **GPT2, attn_pdrop=NO_RATE, scale_attn_by_inverse_layer_idx=True),
    "llama": LlamaConfig(**DECODER),
    "mistral": MistralConfig(**DECODER, sliding_window=5),
    "qwen3": Qwen3Config(**DECODER, layer_types=["sliding_attention"] * 2, use_sliding_window=True, sliding_window=7),
}
ENCODERS = ("bert", "distilbert")


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few tokens are then many tiles, and a few heads several groups."""
    for name, value in {"TILE": 8, "FULL_TILE": 16, "STEP": 4, "GROUP": 300}.items():
        monkeypatch.setattr(matrix_attention, name, value)
    monkeypatch.setattr(attention, "TILE", 8)


def build(name: str, implementation: str) -> PreTrainedModel:
    torch.manual_seed(5)
    family = AutoModelForSequenceClassification if name in ENCODERS else AutoModelForCausalLM
    model: PreTrainedModel = family.from_config(CONFIGS[name], attn_implementation=implementation)
    return model.train()


def inputs(kind: str) -> dict[str, Any]:
    torch.manual_seed(6)
    given: dict[str, Any] = {"input_ids": torch.randint(2, VOCABULARY, (ROWS, TOKENS))}
    places = torch.arange(TOKENS)
    if kind == "right":
        given["attention_mask"] = (places < torch.tensor([[TOKENS], [13], [4]])).long()
    elif kind == "left":
        given["attention_mask"] = (places >= torch.tensor([[0], [9], [20]])).long()
    elif kind == "packed":
        given |= {"position_ids": torch.cat([torch.arange(7), torch.arange(17)]).expand(ROWS, -1), "use_cache": False}
    return given


def nodes(tensor: torch.Tensor) -> list[str]:
    """Return the names of all steps of the graph that made `tensor`."""
    found: dict[Any, str] = {}
    left = [tensor.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in found:
            found[node] = node.name()
            left += [before for before, _ in node.next_functions]
    return list(found.values())


def train(model: PreTrainedModel, given: dict[str, Any], *, bfloat16: bool = False) -> list[torch.Tensor]:
    """Return the logits, where they are of tokens that are no padding, and the gradient of every parameter."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = model(**given).logits.float()
    assert ("_MatrixAttentionBackward" in nodes(logits)) == (model.config._attn_implementation == NAME)
    if "attention_mask" in given and logits.ndim == 3:
        logits = logits[given["attention_mask"].bool()]
    (logits * torch.linspace(-1, 1, logits.numel()).view(logits.shape)).sum().backward()
    return [logits.detach(), *(each.grad for each in model.parameters() if each.grad is not None)]


def distance(results: list[torch.Tensor], exact: list[torch.Tensor]) -> float:
    """Return the largest of the relative distances of logits and of all gradients together."""
    grads, true = (torch.cat([each.flatten() for each in some[1:]]) for some in (results, exact))
    return max(float((results[0] - exact[0]).norm() / exact[0].norm()), float((grads - true).norm() / true.norm()))


@pytest.mark.parametrize("kind", ["none", "right", "left", "packed"])
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_and_gradients_in_float32(name: str, kind: str) -> None:
    given = inputs("none" if kind == "packed" and name in ENCODERS else kind)
    for one, other in zip(train(build(name, "eager"), given), train(build(name, NAME), given), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=FLOAT32_TOLERANCE * max(1.0, float(one.abs().max())))


@pytest.mark.parametrize("kind", ["none", "right"])
@pytest.mark.parametrize("name", CONFIGS)
def test_bfloat16_is_as_near_to_float32_as_that_of_transformers(name: str, kind: str) -> None:
    exact = train(build(name, "eager"), inputs(kind))
    theirs = [distance(train(build(name, each), inputs(kind), bfloat16=True), exact) for each in ("eager", "sdpa")]
    assert distance(train(build(name, NAME), inputs(kind), bfloat16=True), exact) <= BFLOAT16_SHARE * max(theirs)


def draw(*, heads: int = 4, tokens: int = 21, size: int = 8) -> list[torch.Tensor]:
    torch.manual_seed(7)
    return [torch.randn(2, heads, tokens, size, requires_grad=True) for _ in range(3)]


def reference(tensors: list[torch.Tensor], mask: torch.Tensor | None, kept: torch.Tensor | None = None) -> torch.Tensor:
    """Return plain attention, with chances multiplied by `kept`."""
    query, key, value = tensors
    scores = query @ key.transpose(2, 3) * 0.3
    if mask is not None:
        lowest = torch.finfo(scores.dtype).min
        scores = scores + (torch.where(mask, 0.0, lowest) if mask.dtype == torch.bool else mask)
    chances = scores.softmax(-1)
    return ((chances if kept is None else chances * kept) @ value).transpose(1, 2)


def gradients(outputs: torch.Tensor, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(torch.autograd.grad((outputs * torch.linspace(-1, 1, outputs.shape[-1])).sum(), tensors))


def triangle(tokens: int) -> torch.Tensor:
    return torch.ones(tokens, tokens, dtype=torch.bool).tril()[None, None]


MASKS = {
    "full": None,
    "causal": triangle(21),
    "window": (triangle(21) & ~torch.ones(21, 21, dtype=torch.bool).tril(-6)).expand(2, 1, 21, 21),
    "of heads": torch.rand(1, 4, 21, 21, generator=torch.Generator().manual_seed(1)) > 0.4,
    "of all": torch.rand(2, 4, 21, 21, generator=torch.Generator().manual_seed(2)) > 0.4,
    "added": torch.randn(2, 1, 21, 21, generator=torch.Generator().manual_seed(3)),
}


def check_same(given: torch.Tensor | None, meant: torch.Tensor | None, *, causal: bool) -> None:
    tensors = draw()
    ours, plain = attend(*tensors, given, Options(causal, 0.3, 0)), reference(tensors, meant)
    assert torch.allclose(ours, plain, atol=1e-6)
    for one, other in zip(gradients(ours, tensors), gradients(plain, tensors), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("group", [1, 300, 10_000])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_masks(mask: torch.Tensor | None, group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_attention, "GROUP", group)
    check_same(mask, mask, causal=False)


def test_causal_without_a_mask() -> None:
    check_same(None, triangle(21), causal=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_that_see_nothing_are_finite(dtype: torch.dtype) -> None:
    mask = MASKS["causal"].repeat(2, 1, 1, 1)
    mask[1, :, :12] = False
    tensors = [each.detach().to(dtype).requires_grad_() for each in draw()]
    outputs = attend(*tensors, mask, Options(False, 0.3, 6554))
    assert all(bool(each.isfinite().all()) for each in (outputs, *gradients(outputs, tensors)))


@pytest.mark.parametrize("causal", [False, True])
def test_dropout_is_of_probabilities_and_backward_has_its_mask(causal: bool) -> None:
    options = Options(causal, 0.3, 1 << 14)  # a quarter
    query, key, value = draw()
    torch.manual_seed(8)
    chances = attend(query, key, torch.eye(21).expand(2, 4, 21, 21), None, options).transpose(1, 2)
    kept = (chances != 0) / 0.75
    torch.manual_seed(8)
    ours = attend(query, key, value, None, options)
    plain = reference([query, key, value], triangle(21) if causal else None, kept)
    assert 0.65 < float(kept[..., triangle(21)[0, 0]].mean() * 0.75) < 0.85
    assert torch.allclose(ours, plain, atol=1e-6)
    found = zip(*(gradients(each, [query, key, value]) for each in (ours, plain)), strict=True)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in found)


def test_many_tiles_add_up_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_attention, "FULL_TILE", 2)
    query, key, value = (each.detach().to(torch.bfloat16).requires_grad_() for each in draw(tokens=512))
    ours = torch.autograd.grad(attend(query, key, value, None, Options(False, 0.3, 0)).sum(), value)[0]
    plain = torch.autograd.grad(reference([query.float(), key.float(), value.float()], None).sum(), value)[0]
    assert float((ours.float() - plain).norm() / plain.norm()) < 4e-3


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_probabilities_made_anew_are_the_same(mask: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for size in (1 << 30, 0):
        monkeypatch.setattr(matrix_attention, "KEPT_BYTES", size)
        torch.manual_seed(9)
        tensors = draw()
        outputs = attend(*tensors, mask, Options(False, 0.3, 1 << 14))
        results.append([outputs, *gradients(outputs, tensors)])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_draws_the_same_again(reentrant: bool) -> None:
    options = Options(True, 0.3, 1 << 14)
    tensors = draw()
    torch.manual_seed(9)
    plain = gradients(attend(*tensors, None, options), tensors)
    torch.manual_seed(9)
    outputs = checkpoint(attend, *tensors, None, options, use_reentrant=reentrant)
    (outputs * torch.linspace(-1, 1, outputs.shape[-1])).sum().backward()
    assert all(torch.equal(each.grad, one) for each, one in zip(tensors, plain, strict=True))


def test_tiles_need_only_the_keys_they_see() -> None:
    causal = find_tiles(None, queries=20, keys=20, causal=True)
    assert [(tile.keys.start, tile.keys.stop) for tile in causal] == [(0, 8), (0, 16), (0, 20)]
    window = find_tiles(MASKS["window"], queries=21, keys=21, causal=False)
    assert [(tile.keys.start, tile.keys.stop) for tile in window] == [(0, 8), (0, 16), (8, 21)]
    assert [tile.queries for tile in find_tiles(None, queries=20, keys=9, causal=False)] == [
        slice(0, 16),
        slice(16, 20),
    ]


@pytest.mark.parametrize("scores", [1, 40, 100, 1000])
def test_groups_are_every_head_once(scores: int) -> None:
    groups = find_groups(3, 4, scores)
    met = sorted((row, head) for rows, heads in groups for row in range(3)[rows] for head in range(4)[heads])
    assert met == list(itertools.product(range(3), range(4)))


def test_without_a_gradient_short_texts_have_sdpa() -> None:
    module, functions = nn.Module(), (attention_forward, sdpa_attention_forward)
    tensors = [each[:, :, : SHORTEST[torch.bfloat16] - 1].to(torch.bfloat16) for each in draw()]
    with torch.no_grad():
        assert torch.equal(*(each(module, *tensors, None, scaling=0.3, is_causal=True)[0] for each in functions))
    assert "_MatrixAttentionBackward" in nodes(attention_forward(module, *tensors, None, is_causal=True)[0])


def test_a_bias_of_positions_gets_its_gradient() -> None:
    bias = torch.zeros(1, 4, 21, 21, requires_grad=True)
    outputs, _ = attention_forward(nn.Module(), *draw(), None, dropout=NO_RATE, is_causal=False, position_bias=bias)
    assert float(torch.autograd.grad(outputs[..., 0].sum(), bias)[0].abs().sum()) > 0


@pytest.mark.parametrize("name", ["softcap", "s_aux", "head_mask"])
def test_what_it_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"attn_implementation hfpipe: knows no {name}; choose 'eager'"):
        attention_forward(nn.Module(), *draw(), None, **{name: torch.ones(1)})


@pytest.mark.parametrize("name", CONFIGS)
def test_usual_models_are_supported(name: str) -> None:
    with torch.device("meta"):
        assert supports(build(name, "sdpa"))


@pytest.mark.parametrize("config", [FalconConfig(num_hidden_layers=1), Gemma2Config(num_hidden_layers=1)])
def test_models_with_attention_of_their_own_are_not(config: PreTrainedConfig) -> None:
    with torch.device("meta"):
        assert not supports(AutoModelForCausalLM.from_config(config))


class Capped(LlamaForCausalLM):
    """A model whose module hands softcap=50.0 to its attention."""


def test_a_model_that_hands_over_what_is_unknown_is_not_supported() -> None:
    with torch.device("meta"):
        assert not supports(Capped(CONFIGS["llama"]))


def test_the_name_is_not_saved(tmp_path: Path) -> None:
    build("gpt2", NAME).save_pretrained(tmp_path)
    assert NAME not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"
