"""Prediction in portions and by tokens: every text once, in order, and within a stated distance of float32."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import SENTENCES, bert_config, make_classifier, make_tokenizer

from hfpipe.data.tokens import LengthRule, TokenizedTexts
from hfpipe.errors import ConfigError
from hfpipe.inference import batching
from hfpipe.inference.batching import plan_batches, take_portions
from hfpipe.inference.precision import ScoringPrecision, check_precision
from hfpipe.inference.predict import Treatment, score_texts
from hfpipe.models.hardware import fast_float32, has_bfloat16

CPU = torch.device("cpu")


def rows_of(window_lengths: list[list[int]]) -> TokenizedTexts:
    """Return texts of so many tokens in each of their windows."""
    flat = [length for windows in window_lengths for length in windows]
    counts = np.array([sum(windows) for windows in window_lengths])
    return TokenizedTexts(
        np.zeros(sum(flat), dtype=np.int32),
        np.append(0, np.cumsum(flat)),
        counts,
        np.zeros_like(counts),
        np.append(0, np.cumsum([len(windows) for windows in window_lengths])),
    )


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.lists(st.integers(1, 512), min_size=1, max_size=4), min_size=1, max_size=60))
def test_batches_hold_every_row_once_within_the_tokens(texts: list[list[int]]) -> None:
    batches = plan_batches(rows_of(texts), None, device="cpu")
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(texts)))
    for batch in batches:
        own = [texts[row] for row in batch]
        computed = sum(map(len, own)) * max(length for windows in own for length in windows)
        assert computed <= batching.TOKENS_PER_BATCH["cpu"] or len(own) == 1
    longest = [max(texts[batch[0]]) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_batches_of_so_many_tokens() -> None:
    texts = rows_of([[2_000], [100], [2_000], [90], [5_000], [100]])
    found = [batch.tolist() for batch in plan_batches(texts, None, device="cpu")]
    assert found == [[4], [0, 2], [1, 5, 3]]
    assert [batch.tolist() for batch in plan_batches(texts, 4, device="cpu")] == [[4, 0, 2, 1], [5, 3]]


def test_portions_are_bounded_by_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "SIGNS_PER_PORTION", 10)
    assert list(take_portions(["1234", "123456", ("12345", "12345"), "1"])) == [
        ["1234", "123456"],
        [("12345", "12345")],
        ["1"],
    ]
    many = list(take_portions([""] * (2 * batching.TEXTS_PER_PORTION + 1)))
    assert [len(portion) for portion in many] == [batching.TEXTS_PER_PORTION, batching.TEXTS_PER_PORTION, 1]


def scores(precision: ScoringPrecision, texts: list[str], batch_size: int | None = None) -> np.ndarray:
    model, treatment = make_classifier(bert_config(hidden_size=32)), Treatment(LengthRule(64))
    found = score_texts(model, make_tokenizer(), texts, treatment=treatment, batch_size=batch_size, precision=precision)
    return np.stack(list(found))


def test_float32_is_the_same_wherever_a_text_stands() -> None:
    alone = np.concatenate([scores("float32", [text]) for text in SENTENCES])
    np.testing.assert_allclose(scores("float32", SENTENCES), alone, atol=1e-5)
    np.testing.assert_allclose(scores("float32", SENTENCES[::-1])[::-1], alone, atol=1e-5)


@pytest.mark.skipif(not has_bfloat16(use_cpu=True), reason="this processor does not compute in bfloat16")
def test_bfloat16_is_near_float32_wherever_a_text_stands() -> None:
    exact = scores("float32", SENTENCES)
    for batch_size in (None, 1):
        distance = np.abs(scores("bf16", SENTENCES, batch_size) - exact)
        assert 1e-5 < distance.max() < 2e-2  # it is in use, and no worse than docs/performance.md says
        assert distance.mean() < 5e-3


@pytest.mark.skipif(has_bfloat16(use_cpu=True), reason="this processor computes in bfloat16")
def test_bfloat16_without_the_hardware() -> None:
    with pytest.raises(ConfigError, match="--precision bf16: this hardware does not compute in bfloat16"):
        check_precision("bf16", CPU)


def test_fast_float32_is_float32_and_leaves_the_setting() -> None:
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(300, 700, generator=generator), torch.randn(700, 200, generator=generator)
    exact = left.double() @ right.double()
    with fast_float32(CPU):
        found = left @ right
    assert (found - exact).abs().max() < 1e-5 * exact.abs().max()
    assert torch.get_float32_matmul_precision() == "highest"
