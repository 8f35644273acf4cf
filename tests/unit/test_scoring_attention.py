"""What makes scoring fast on a CPU, against the plain way: attention by matrix products, weights laid out once."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import SENTENCES, bert_config, make_classifier, make_tokenizer
from torch import nn
from torch.nn import functional

from hfpipe.data.tokens import LengthRule
from hfpipe.inference import predict
from hfpipe.inference.loading import load_classifier
from hfpipe.inference.precision import ScoringPrecision, computing_in
from hfpipe.inference.predict import Treatment, score_texts
from hfpipe.models import prepacked as prepacking
from hfpipe.models import scoring_attention
from hfpipe.models.attention import NAME, attention_forward
from hfpipe.models.hardware import find_product_type
from hfpipe.models.prepacked import prepacked
from hfpipe.models.scoring_attention import SHORTEST, attend_scoring, is_padding

ROWS, HEADS, SIZE, SCALE = 3, 4, 8, 0.3
CPU = torch.device("cpu")


def draw(tokens: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    query, key, value = torch.randn(3, ROWS, HEADS, tokens, SIZE, generator=generator).to(dtype)
    return query, key, value


def pad(tokens: int) -> torch.Tensor:
    """Return the mask (rows, 1, tokens, tokens) of texts that are 0, 1 and 2 tokens shorter than the longest."""
    seen = torch.arange(tokens) < (tokens - torch.arange(ROWS))[:, None]
    return seen[:, None, None, :].expand(ROWS, 1, tokens, tokens)


def attend_plainly(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    scores = query.double() @ key.double().transpose(2, 3) * SCALE
    masked = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
    return (masked.softmax(-1) @ value.double()).transpose(1, 2)


@pytest.mark.parametrize("tokens", [5, 16, 31, 70])
@pytest.mark.parametrize("is_padded", [False, True])
def test_products_give_the_attention(monkeypatch: pytest.MonkeyPatch, tokens: int, is_padded: bool) -> None:
    for name, value in {"GROUP": 2 * HEADS * 32 * 32, "QUERIES": 32}.items():
        monkeypatch.setattr(scoring_attention, name, value)
    mask = pad(tokens) if is_padded else None
    exact = attend_plainly(*draw(tokens), mask)
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 3e-2)):
        found = attend_scoring(*draw(tokens, dtype), mask, SCALE)
        assert found.dtype == dtype
        assert (found - exact).abs().max() < tolerance


def test_padding_is_told_from_other_masks() -> None:
    mask = pad(6)
    assert is_padding(mask.contiguous())
    assert not is_padding(mask.tril())
    assert not is_padding(mask.float())
    assert not is_padding(mask.expand(ROWS, HEADS, 6, 6))


@torch.no_grad()
def test_attention_without_a_gradient_is_products_where_they_pay() -> None:
    long, short = SHORTEST[torch.bfloat16], SHORTEST[torch.bfloat16] - 1
    for tokens in (long, short):
        tensors, mask = draw(tokens, torch.bfloat16), pad(tokens)
        found, _ = attention_forward(nn.Module(), *tensors, mask, scaling=SCALE, is_causal=False)
        products = attend_scoring(*tensors, mask, SCALE)
        assert torch.equal(found, products) == (tokens == long)
        documents = mask.tril()
        torch.testing.assert_close(
            attention_forward(nn.Module(), *tensors, documents, scaling=SCALE, is_causal=False)[0],
            functional.scaled_dot_product_attention(*tensors, attn_mask=documents, scale=SCALE).transpose(1, 2),
            rtol=0,
            atol=0,
        )
    tensors = draw(SHORTEST[torch.float32])
    assert find_product_type() is None
    found, _ = attention_forward(nn.Module(), *tensors, None, scaling=SCALE, is_causal=False)
    plain = functional.scaled_dot_product_attention(*tensors, scale=SCALE).transpose(1, 2)
    assert torch.equal(found, plain)


@torch.no_grad()
def test_float32_of_one_library_is_products_and_of_the_other_torchs_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfpipe.models.hardware._is_onednn_better", lambda: True)
    plain, precisions = functional.scaled_dot_product_attention, list[str]()

    def attend_noting(*args: Any, **kwargs: Any) -> torch.Tensor:
        precisions.append(torch.get_float32_matmul_precision())
        return plain(*args, **kwargs)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", attend_noting)
    long = SHORTEST[torch.float32]
    with computing_in("float32", CPU):
        for tokens, mask in ((long, pad(long)), (long - 1, pad(long - 1)), (long, pad(long).tril())):
            attention_forward(nn.Module(), *draw(tokens), mask, scaling=SCALE, is_causal=False)
            assert torch.get_float32_matmul_precision() == "medium"
    # of short texts and of documents alone, and by the library that is fast at small products
    assert precisions == ["highest", "highest"]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_laid_out_weights_give_the_same(monkeypatch: pytest.MonkeyPatch, precision: ScoringPrecision) -> None:
    monkeypatch.setattr(prepacking, "_SMALLEST", 1)
    monkeypatch.setattr("hfpipe.models.hardware._is_onednn_better", lambda: True)
    model = nn.Sequential(nn.Linear(48, 80), nn.GELU(), nn.Linear(80, 2, bias=False)).eval()
    values = torch.randn(5, 7, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), computing_in(precision, CPU):
        plain = model(values)
        with prepacked(model, CPU):
            assert all("forward" in vars(model[layer]) for layer in (0, 2))
            found = model(values)
            assert model(values[:0]).shape == (0, 7, 2)
    assert found.dtype == plain.dtype
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-6)


def test_laid_out_weights_are_gone_afterwards_and_never_in_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepacking, "_SMALLEST", 1)
    model, values = nn.Linear(48, 80), torch.ones(2, 48)
    with prepacked(model, CPU):  # float32 of another library
        assert "forward" not in vars(model)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ZeroDivisionError), prepacked(model, CPU):
        assert model(values).requires_grad
        raise ZeroDivisionError
    assert "forward" not in vars(model)


def test_scores_are_those_of_the_plain_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "TOKENS_FOR_PACKING", 1)
    monkeypatch.setattr(prepacking, "_SMALLEST", 1)
    monkeypatch.setattr("hfpipe.models.hardware._is_onednn_better", lambda: True)
    model, texts = (
        make_classifier(bert_config(hidden_size=32, max_position_embeddings=256)),
        [" ".join(SENTENCES * count) for count in (9, 7, 1)],
    )
    tokenizer, treatment = make_tokenizer(), Treatment(LengthRule(200))
    plain = list(score_texts(model, tokenizer, texts, treatment=treatment, batch_size=1))
    model.set_attn_implementation(NAME)
    found = list(score_texts(model, tokenizer, texts, treatment=treatment))
    for one, other in zip(found, plain, strict=True):
        assert abs(one - other).max() < 1e-5


def test_a_loaded_classifier_has_the_fast_attention(tmp_path: Path) -> None:
    make_classifier(bert_config()).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    assert load_classifier(tmp_path).model.config._attn_implementation == NAME
