"""The loss of a step elsewhere than on a CPU, by tensors that have a device and no numbers.

Operands that lie apart raise here, and so does whatever would wait for a number of the device.
"""

from contextlib import nullcontext

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers.modeling_outputs import SequenceClassifierOutput

from hfpipe.models.fused_head import _SummedCrossEntropy, count_tokens_at_once, score_tokens
from hfpipe.models.windows import MAX, MEAN, pool_windows
from hfpipe.training.objectives import (
    CausalLMObjective,
    ClassificationObjective,
    LabelObjective,
    MultiLabelObjective,
    RegressionObjective,
)

DEVICE = torch.device("meta")
ROWS, LABELS = 4, 3
TOKENS, WIDTH, ENTRIES = 3_000, 8, 200_000


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the blocks that switch autocast off: it does not know this device, and is off."""
    monkeypatch.setattr(torch, "autocast", lambda *given, **named: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)


def on_device(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=DEVICE)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_fused_loss_stays_on_its_device_and_waits_for_nothing(smoothing: float) -> None:
    with FakeTensorMode():
        hidden, targets = on_device(TOKENS, WIDTH), on_device(TOKENS, dtype=torch.int64)
        weight, bias = on_device(ENTRIES, WIDTH), on_device(ENTRIES)
        trained = [each.requires_grad_() for each in (hidden, weight, bias)]
        loss = _SummedCrossEntropy.apply(hidden, weight, bias, targets, smoothing, torch.bfloat16)
        loss.backward()
    assert (loss.device, loss.shape, loss.dtype) == (DEVICE, (), torch.float32)
    for each in trained:
        assert each.grad is not None
        assert (each.grad.device, each.grad.dtype) == (DEVICE, torch.float32)


def test_operands_that_lie_apart_raise() -> None:
    with FakeTensorMode(), pytest.raises(RuntimeError, match="device"):
        hidden, weight = on_device(TOKENS, WIDTH), on_device(ENTRIES, WIDTH)
        _SummedCrossEntropy.apply(hidden, weight, None, torch.empty(TOKENS, dtype=torch.int64), 0.0, torch.bfloat16)


def test_scores_of_tokens_stay_on_their_device() -> None:
    with FakeTensorMode():
        head = torch.nn.Linear(WIDTH, ENTRIES, device=DEVICE)
        losses = score_tokens(on_device(TOKENS, WIDTH), head, on_device(TOKENS, dtype=torch.int64))
        counted = CausalLMObjective().count(on_device(ROWS, TOKENS, dtype=torch.int64))
    assert (losses.device, losses.shape, counted.device) == (DEVICE, (TOKENS,), DEVICE)


@pytest.mark.parametrize(
    ("objective", "shape", "dtype"),
    [
        (ClassificationObjective(), (ROWS,), torch.int64),
        (ClassificationObjective(label_smoothing=0.1), (ROWS,), torch.int64),
        (MultiLabelObjective(), (ROWS, LABELS), torch.float32),
        (RegressionObjective(), (ROWS,), torch.float32),
    ],
)
def test_objectives_stay_on_their_device(objective: LabelObjective, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    labels = 1 if isinstance(objective, RegressionObjective) else LABELS
    with FakeTensorMode():
        outputs = SequenceClassifierOutput(logits=on_device(ROWS, labels, dtype=torch.bfloat16))
        loss = objective.loss_sum(outputs, on_device(*shape, dtype=dtype))
    assert (loss.device, loss.dtype) == (DEVICE, torch.float32)


@pytest.mark.parametrize("pooling", [MEAN, MAX])
def test_windows_are_pooled_on_their_device(pooling: str) -> None:
    with FakeTensorMode():
        pooled = pool_windows(on_device(9, LABELS), on_device(9, dtype=torch.int64), ROWS, pooling)
    assert (pooled.device, pooled.shape) == (DEVICE, (ROWS, LABELS))


@pytest.mark.parametrize(
    ("device", "entries", "tokens"),
    [
        ("cpu", 16_384, 1_024),
        ("cpu", 128_256, 1_024),
        ("cuda", 16_384, 16_384),
        ("cuda", 50_257, 5_120),
        ("cuda", 128_256, 2_048),
        ("cuda", 262_144, 1_024),
        ("cuda", 10_000_000, 256),
    ],
)
def test_tokens_of_a_product(device: str, entries: int, tokens: int) -> None:
    assert count_tokens_at_once(device, entries) == tokens
