"""Operators of a traced step sorted by kind of work, by their names, and the time that none of them has.

An operator counts by its own time, without that of the operators it calls, so each moment counts once; the backward
pass is made of the same operators and needs no rule of its own. What happens inside the optimizer's step, the loader,
our attention, our dropout and the fused loss belongs to these. What has no rule is told as other operators, and what no
operator has, the rest of the wall clock, as Python and framework.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

MATRIX = "matrix products"
ATTENTION = "attention"
LOSS = "loss"
ACTIVATION = "normalisation and activation"
RANDOM = "dropout and random numbers"
OPTIMIZER = "optimizer"
DATA = "data loading"
MOVING = "copies and elementwise"
OTHER = "other operators"
FRAMEWORK = "Python and framework"
KINDS = (MATRIX, ATTENTION, LOSS, ACTIVATION, RANDOM, OPTIMIZER, DATA, MOVING, OTHER, FRAMEWORK)

_RANGES: Mapping[str, str] = {
    OPTIMIZER: r"Optimizer\.|.*_foreach_norm|.*clip_grad",
    DATA: r"enumerate\(DataLoader\)",
    # our own passes, forward and backward, with all that happens in them: a head and its fused loss are one
    ATTENTION: r"_MatrixAttention",
    LOSS: r"_SummedCrossEntropy",
    RANDOM: r"_Dropped",
}

# Searched in this order in the name without its namespace; the first that is found decides.
_NAMES: Mapping[str, str] = {
    # quick dropout makes its numbers by shifts
    RANDOM: r"dropout|bernoulli|rand|uniform|normal_|exponential_|bitwise_(xor|(left|right)_shift)",
    LOSS: r"log_softmax|nll_loss|cross_entropy|binary_cross|mse_loss|logsumexp|logaddexp",
    OPTIMIZER: r"^_?fused_adam|^_fused|foreach|addcdiv|addcmul|lerp",
    # products of batches of matrices are those of queries, keys and values; layers multiply by one matrix
    ATTENTION: r"scaled_dot_product|attention|flash|softmax|^bmm$|baddbmm",
    ACTIVATION: r"norm|gelu|silu|relu|tanh|sigmoid|^erf$|rsqrt|^var|^pow|^threshold|^clamp_min",
    MATRIX: r"^(add)?mm$|addmm|linear|matmul|einsum|conv|gemm|^mv$|^dot$|lstm|gru|mkldnn_rnn",
    MOVING: (
        r"copy|^to$|^_to_copy$|clone|cat$|^add|^sub|^mul|^div|^neg|^sum|^mean|fill|zero|where|masked|eq|^ne$|^g[te]$"
        r"|^l[te]$|bitwise|logical|^any$|^all$|^abs$|^exp$|^log$|^sqrt$|^empty|^ones|^arange|^full|contiguous|^detach"
        r"|^index|^gather|^scatter|^embedding|^select|^slice|^t$|^transpose|^permute|view|^as_strided|^expand|^reshape"
        r"|^narrow|^split|^unbind|^chunk|squeeze|^clamp|^max|^min|^amax|^resize"
    ),
}


def sort_times(events: Iterable[Any], *, wall_microseconds: float, on_gpu: bool) -> dict[str, float]:
    """Return the share of the wall clock that each kind of `KINDS` has; they sum to 1.

    `events` are those of a profiler, each with its parent. Of a GPU the time of kernels counts, so what is left over is
    when it had nothing to do.
    """
    times: defaultdict[str, float] = defaultdict(float)
    for event in events:
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        times[find_kind(event)] += max(own, 0.0)
    # ranges of Python around operators: their own time is Python's
    known = sum(time for kind, time in times.items() if kind != FRAMEWORK)
    whole = max(wall_microseconds, known)
    times[FRAMEWORK] = whole - known
    return {kind: times[kind] / whole for kind in KINDS}


def find_kind(event: Any) -> str:
    """Return the kind of an event: that of the range it happens in, else that of its name."""
    outer = event
    while outer is not None:
        for kind, pattern in _RANGES.items():
            if re.match(pattern, outer.name):
                return kind
        outer = outer.cpu_parent
    return name_kind(event.name)


def name_kind(name: str) -> str:
    """Return the kind of an operator by its name; ranges that are no operators count as framework."""
    namespace, found, plain = name.partition("::")
    if not found or namespace in ("autograd", "ProfilerStep") or "evaluate_function" in name:
        return FRAMEWORK
    bare = plain.removesuffix("_")
    for kind, pattern in _NAMES.items():
        if re.search(pattern, plain) or re.search(pattern, bare):
            return kind
    return OTHER
