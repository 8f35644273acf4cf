"""Quick dropout: its rate, its independence, its gradient, and that it repeats; 16-bit levels are checked exactly."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForSequenceClassification, BertConfig

from hfpipe.models.dropout import (
    COLUMNS,
    LANES,
    LEVELS,
    QuickDropout,
    draw_dropped,
    drop,
    find_level,
    find_scale,
    quicken_dropout,
    spread_seeds,
)

COUNT = 1_000_000
SEED = 17
TYPES = (torch.float32, torch.bfloat16)


def masks(count: int, *, rate: float = 0.1, calls: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return 1.0 where elements are dropped, for each call, of the fixed seed."""
    torch.manual_seed(SEED)
    return torch.stack([(drop(torch.ones(count, dtype=dtype), rate) == 0).float() for _ in range(calls)])


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the correlation times the root of the number of pairs: of unit variance where nothing is related."""
    pairs = torch.corrcoef(torch.stack([one.double().flatten(), other.double().flatten()]))
    return float(pairs[0, 1]) * math.sqrt(one.numel())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.003, 0.97])
def test_rate_within_five_deviations(rate: float, dtype: torch.dtype) -> None:
    deviation = math.sqrt(rate * (1 - rate) / COUNT)
    assert abs(float(masks(COUNT, rate=rate, dtype=dtype).mean()) - rate) < 5 * deviation


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("level", [1, 6554, 32768, 65535])
def test_a_level_drops_exactly_so_many_of_all_values(level: int, dtype: torch.dtype) -> None:
    every = torch.arange(LEVELS, dtype=torch.int32).to(torch.int16)
    dropped = draw_dropped(every.clone().view(torch.int64), level, LEVELS, dtype)
    assert int(dropped.sum()) == level
    assert dropped.element_size() == torch.empty(0, dtype=dtype).element_size()


@pytest.mark.parametrize(("rate", "level"), [(0.1, 6554), (0.5, 32768), (1 / 65536, 1), (0.0, 0), (1.0, 65536)])
def test_level_is_the_nearest(rate: float, level: int) -> None:
    assert find_level(rate) == level


@pytest.mark.parametrize("level", [1, 6554, 40000])
def test_scale_keeps_the_mean_exactly(level: int) -> None:
    assert find_scale(level) * (1 - level / LEVELS) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("dtype", TYPES)
def test_mean_of_outputs_is_that_of_inputs(dtype: torch.dtype) -> None:
    torch.manual_seed(SEED)
    kept = drop(torch.ones(COUNT, dtype=dtype), 0.1).double()
    assert abs(float(kept.mean()) - 1) < 5 * math.sqrt(0.1 / 0.9 / COUNT) + (2e-3 if dtype == torch.bfloat16 else 0)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, LANES * COLUMNS, LANES * COLUMNS + 1, 2 * LANES * COLUMNS])
@pytest.mark.parametrize("dtype", TYPES)
def test_positions_are_not_correlated(lag: int, dtype: torch.dtype) -> None:
    mask = masks(COUNT, dtype=dtype)[0]
    assert abs(correlation(mask[:-lag], mask[lag:])) < 5


def test_calls_are_not_correlated() -> None:
    first, second, third = masks(COUNT, calls=3)
    assert max(abs(correlation(*pair)) for pair in ((first, second), (second, third), (first, third))) < 5


@pytest.mark.parametrize("lane", range(LANES))
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_corners_of_rectangles_are_not_tied(rate: float, lane: int) -> None:
    """Four words of two rows and two columns come of four numbers: three tell the fourth, but for mixing."""
    grid = masks(64 * COLUMNS * LANES, rate=rate, dtype=torch.bfloat16).view(64, COLUMNS, LANES)[..., lane] - rate
    corners = grid[0::2, 0::2] * grid[0::2, 1::2] * grid[1::2, 0::2] * grid[1::2, 1::2]
    deviation = (rate * (1 - rate)) ** 2 / math.sqrt(corners.numel())
    assert abs(float(corners.double().mean())) < 5 * deviation


def test_words_of_a_row_differ_from_each_other() -> None:
    torch.manual_seed(SEED)
    seeds = torch.empty(2 * COLUMNS, dtype=torch.int64).random_(-(1 << 63), None)
    assert len(spread_seeds(seeds[:COLUMNS], seeds[COLUMNS:]).unique()) == COLUMNS * COLUMNS


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(3, 5), (1,), (0, 4), (7, 1024, 33)])
def test_gradient_is_mask_times_scale(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(SEED)
    inputs = (torch.rand(shape).to(dtype) + 1).requires_grad_()
    outputs = drop(inputs, 0.3)
    outputs.backward(torch.ones_like(outputs))
    assert inputs.grad is not None
    assert torch.equal(inputs.grad, (outputs != 0).to(dtype) * torch.tensor(find_scale(find_level(0.3))).to(dtype))


def test_inputs_that_are_not_contiguous() -> None:
    whole = torch.rand(64, 32) + 1
    torch.manual_seed(SEED)
    one = drop(whole.t(), 0.5)
    torch.manual_seed(SEED)
    assert torch.equal(one, drop(whole.t().contiguous(), 0.5))


def test_follows_the_generator_of_torch() -> None:
    assert torch.equal(masks(5_000, calls=2), masks(5_000, calls=2))
    torch.manual_seed(SEED)
    state = torch.random.get_rng_state()
    first, second = drop(torch.ones(5_000), 0.5), drop(torch.ones(5_000), 0.5)
    torch.random.set_rng_state(state)
    assert torch.equal(first, drop(torch.ones(5_000), 0.5))
    assert not torch.equal(first, second)


def test_number_of_threads_changes_nothing() -> None:
    threads = torch.get_num_threads()
    one = masks(COUNT)
    torch.set_num_threads(threads + 1)
    other = masks(COUNT)
    torch.set_num_threads(threads)
    assert torch.equal(one, other)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_draws_the_same_again(reentrant: bool) -> None:
    layer = nn.Sequential(nn.Linear(32, 32), QuickDropout(0.5))
    inputs = torch.rand(16, 32, requires_grad=True)
    torch.manual_seed(SEED)
    (plain,) = torch.autograd.grad(layer(inputs).sum(), inputs)
    torch.manual_seed(SEED)
    outputs = checkpoint(layer, inputs, use_reentrant=reentrant)
    assert inputs.grad is None
    outputs.sum().backward()
    assert torch.equal(inputs.grad, plain)


def test_evaluation_and_rates_of_no_level_are_those_of_torch() -> None:
    inputs = torch.rand(100)
    assert torch.equal(QuickDropout(0.5).eval()(inputs), inputs)
    assert torch.equal(QuickDropout(1e-9)(inputs), inputs)
    assert torch.equal(QuickDropout(1.0)(inputs), torch.zeros(100))
    assert QuickDropout(0.5)(inputs.double()).dtype == torch.float64


def tiny_bert() -> nn.Module:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return AutoModelForSequenceClassification.from_config(BertConfig(vocab_size=50, **sizes))


def test_a_model_is_made_quick_and_nothing_else_changes(tmp_path: Path) -> None:
    model = tiny_bert()
    names, config = list(model.state_dict()), copy.deepcopy(model.config)
    plain = sum(type(module) is nn.Dropout for module in model.modules())
    assert quicken_dropout(model) == plain == 8
    assert quicken_dropout(model) == 0
    assert (list(model.state_dict()), model.config.to_dict()) == (names, config.to_dict())
    clone = copy.deepcopy(model)
    assert sum(type(module) is QuickDropout for module in clone.modules()) == plain
    clone.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert not any(type(module) is QuickDropout for module in again.modules())


def test_mode_and_rates_are_kept_and_dropouts_of_nothing_left_alone() -> None:
    model = nn.ModuleDict({"a": nn.Dropout(0.2).eval(), "b": nn.Dropout(0.0), "c": nn.Dropout1d(0.2)})
    assert quicken_dropout(model) == 1
    made = model["a"]
    assert isinstance(made, QuickDropout)
    assert (made.p, made.training) == (0.2, False)


def test_autocast_gives_the_type_it_is_given() -> None:
    layer = nn.Sequential(nn.Linear(8, 8), QuickDropout(0.5))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(torch.rand(4, 8))
    assert outputs.dtype == torch.bfloat16
    outputs.float().sum().backward()
