"""What the machine can do at most: products of large matrices, timed in the same rounds as what is measured.

Float32 on a CPU is multiplied by the faster of two libraries, which may not be the one that a variant uses. The share
of this limit is what remains comparable between machines, and between hours of a shared one.
"""

import time
from collections.abc import Sequence
from functools import partial

import torch

from bench.turns import Player, Record, Turn
from hfpipe.models.hardware import fast_float32

LIMITS = {"limit float32": torch.float32, "limit bfloat16": torch.bfloat16}
SECONDS_A_TURN = 0.3
_SIDE_ON_CPU, _SIDE_ON_GPU = 2048, 8192


def limit_players(rounds: int, *, names: Sequence[str] = tuple(LIMITS)) -> list[Player]:
    """Return players whose work is floating-point operations of matrix products, one a type."""
    return [Player(name, partial(_multiply, str(LIMITS[name]).removeprefix("torch."), rounds)) for name in names]


def split_limits(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Return the records of variants, and those of limits."""
    return [each for each in records if each.name not in LIMITS], [each for each in records if each.name in LIMITS]


def _multiply(dtype: str, rounds: int, turn: Turn) -> None:
    on_gpu = torch.cuda.is_available()
    side = _SIDE_ON_GPU if on_gpu else _SIDE_ON_CPU
    device = "cuda" if on_gpu else "cpu"
    one, other = (torch.randn(side, side, device=device).to(getattr(torch, dtype)) for _ in range(2))
    product = one @ other
    for _ in range(rounds):
        turn.begin()
        with fast_float32(product.device):
            count = _repeat(one, other, product)
        turn.end(2.0 * side**3 * count)


def _repeat(one: torch.Tensor, other: torch.Tensor, product: torch.Tensor) -> int:
    """Multiply for a while and return how often."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS_A_TURN:
        torch.mm(one, other, out=product)
        if product.is_cuda:
            torch.cuda.synchronize()
        count += 1
    return count
