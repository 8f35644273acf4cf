"""Pooling: windows become rows before anything looks at them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hfpipe.models.windows import pool_windows

LOGITS = torch.tensor([[1.0, -2.0], [3.0, 0.0], [5.0, -1.0], [7.0, 8.0]])
ROWS = torch.tensor([0, 1, 1, 1])


def test_mean_and_maximum_by_hand() -> None:
    torch.testing.assert_close(pool_windows(LOGITS, ROWS, 2, "mean"), torch.tensor([[1.0, -2.0], [5.0, 7 / 3]]))
    assert pool_windows(LOGITS, ROWS, 2, "max").tolist() == [[1.0, -2.0], [7.0, 8.0]]


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_one_window_gives_its_own_logits_and_gradients(pooling: str) -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    pooled = pool_windows(logits, torch.arange(5), 5, pooling)
    assert pooled.equal(logits)
    weights = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    (pooled * weights).sum().backward()
    assert logits.grad is not None and logits.grad.equal(weights)


@pytest.mark.parametrize(("pooling", "expected"), [("mean", [1.0, 1 / 3]), ("max", [1.0, 0.0])])
def test_gradients_are_shared_by_the_windows_of_a_row(pooling: str, expected: list[float]) -> None:
    logits = LOGITS.clone().requires_grad_()
    pool_windows(logits, ROWS, 2, pooling).sum().backward()
    assert logits.grad is not None
    assert logits.grad[:2, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("pooling", ["mean", "max"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99))
def test_the_order_of_windows_does_not_matter(pooling: str, seed: int) -> None:
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    found = pool_windows(LOGITS[order], ROWS[order], 2, pooling)
    torch.testing.assert_close(found, pool_windows(LOGITS, ROWS, 2, pooling))


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_half_precision_is_pooled_in_float32(pooling: str) -> None:
    assert pool_windows(LOGITS.bfloat16(), ROWS, 2, pooling).dtype == torch.float32
