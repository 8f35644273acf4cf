"""Operators of profiled steps by kind, the whole of the time told, and what such a run leaves out."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import to_argv
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.config import load_config
from hfpipe.config.profiling import derive_profiled
from hfpipe.config.stepping import ProfileWindow
from hfpipe.training.operator_kinds import (
    ACTIVATION,
    ATTENTION,
    DATA,
    FRAMEWORK,
    KINDS,
    LOSS,
    MATRIX,
    MOVING,
    OPTIMIZER,
    OTHER,
    RANDOM,
    find_kind,
    name_kind,
    sort_times,
)

OPERATORS = {
    "aten::addmm": MATRIX,
    "aten::mm": MATRIX,
    "aten::mkldnn_linear": MATRIX,
    "aten::bmm": ATTENTION,
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": ATTENTION,
    "aten::_softmax_backward_data": ATTENTION,
    "aten::_log_softmax_backward_data": LOSS,
    "aten::nll_loss_forward": LOSS,
    "aten::native_layer_norm_backward": ACTIVATION,
    "aten::gelu": ACTIVATION,
    "aten::native_dropout_backward": RANDOM,
    "aten::bernoulli_": RANDOM,
    "aten::random_": RANDOM,
    "aten::_fused_adamw_": OPTIMIZER,
    "aten::_foreach_norm": OPTIMIZER,
    "aten::copy_": MOVING,
    "aten::add_": MOVING,
    "aten::embedding_dense_backward": MOVING,
    "aten::threshold_backward": ACTIVATION,
    "aten::bitwise_xor": RANDOM,
    "aten::as_strided": MOVING,
    "hfpipe::something_new": OTHER,
    "autograd::engine::evaluate_function: AddmmBackward0": FRAMEWORK,
    "AddmmBackward0": FRAMEWORK,
    "ProfilerStep#3": FRAMEWORK,
}


@dataclass(frozen=True)
class Event:
    """What is read of an event of the profiler."""

    name: str
    self_cpu_time_total: float = 1.0
    cpu_parent: "Event | None" = None
    self_device_time_total: float = 0.0


@pytest.mark.parametrize(("name", "kind"), OPERATORS.items())
def test_operators_by_kind(name: str, kind: str) -> None:
    assert name_kind(name) == kind


def test_what_happens_in_the_optimizer_or_the_loader_is_theirs() -> None:
    step = Event("Optimizer.step#AdamW.step")
    assert find_kind(Event("aten::mm", cpu_parent=Event("aten::matmul", cpu_parent=step))) == OPTIMIZER
    loader = Event("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__")
    assert find_kind(Event("aten::copy_", cpu_parent=loader)) == find_kind(loader) == DATA


@pytest.mark.parametrize(
    ("function", "kind"), [("_MatrixAttention", ATTENTION), ("_SummedCrossEntropy", LOSS), ("_Dropped", RANDOM)]
)
def test_what_happens_in_our_own_passes_is_theirs(function: str, kind: str) -> None:
    for name in (function, f"{function}Backward"):
        assert find_kind(Event("aten::softmax", cpu_parent=Event("aten::x", cpu_parent=Event(name)))) == kind


@given(
    events=st.lists(st.tuples(st.sampled_from(sorted(OPERATORS)), st.floats(0, 1e6)), max_size=20),
    wall=st.floats(1, 1e8),
)
def test_shares_are_the_whole(events: list[tuple[str, float]], wall: float) -> None:
    shares = sort_times([Event(*each) for each in events], wall_microseconds=wall, on_gpu=False)
    assert tuple(shares) == KINDS
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0


def test_time_without_an_operator_is_told() -> None:
    events = [Event("aten::mm", 30.0), Event("hfpipe::new", 10.0), Event("AddmmBackward0", 20.0)]
    shares = sort_times(events, wall_microseconds=100.0, on_gpu=False)
    assert (shares[MATRIX], shares[OTHER], shares[FRAMEWORK]) == pytest.approx((0.3, 0.1, 0.6))
    kernels = [Event("aten::mm", 30.0, None, 80.0)]
    assert sort_times(kernels, wall_microseconds=100.0, on_gpu=True)[MATRIX] == pytest.approx(0.8)


def test_a_profiled_run_is_the_run_without_what_is_between_steps(tmp_path: Path) -> None:
    settings = {"train_file": "a.csv", "model_name_or_path": "org/model", "learning_rate": 3e-4, "push_to_hub": "true"}
    more = {"hub_model_id": "someone/model", "eval_strategy": "steps", "eval_steps": 1, "logging_steps": 1, "seed": 7}
    config = load_config(to_argv({**settings, **more}), recipe="finetune_classifier")
    derived = derive_profiled(config, ProfileWindow(2, 4), folder=tmp_path)
    assert (derived.data, derived.model) == (config.data, config.model)
    assert derived.output_dir == tmp_path
    assert derived.training.seed == 7
    assert not derived.hub.push_to_hub
    assert derived.evaluation.baselines == ()
    told = derived.trainer_arguments
    assert (told["max_steps"], told["eval_strategy"], told["report_to"]) == (2 + 4 + 3, "no", "none")
    assert told["learning_rate"] == 3e-4
    assert "eval_steps" not in told
