"""Dropout on a CPU by a few large random numbers: 64 bits of one word decide on four elements.

torch draws a number of its Mersenne Twister for every element, one after the other: 6 ns each, a multiple of the matrix
product before it. Here a call draws a few 64-bit numbers of the same generator and spreads them: every sum (xor) of a
number of a row and one of a column is a word, mixed by two multiplications. Any words that no rectangle of rows and
columns ties together are exactly independent, so any three are. All of it is arithmetic over whole arrays, which torch
vectorises and divides over threads, in pieces that stay in the cache.

A rate is exact to half of 1/65,536, and what is kept is scaled by the rate that is really drawn: the mean stays.
The generator is torch's default one, as for any dropout: its state is in checkpoints, and gradient checkpointing turns
it back. Backward makes the mask anew of the few numbers, instead of keeping it. Elsewhere than on a CPU, and under
torch.compile, where the draw becomes part of a compiled loop, torch's own dropout runs.
"""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

LEVELS = 1 << 16
COLUMNS = 1024  # words of a row: 8 KB, beside which the numbers of the rows are few
LANES = 4  # decisions of 16 bits in a word
# of one thread: the word, its shifted copy and the elements together stay inside a cache of 1 MB
PIECE_ROWS = 64
# odd multipliers of splitmix64 (Steele, Lea, Flood 2014), as signed numbers
_FIRST_FACTOR = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND_FACTOR = 0x94D049BB133111EB - (1 << 64)
INTEGERS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


def find_level(rate: float) -> int:
    """Return how many of 65,536 equally likely values drop an element, the nearest to `rate`."""
    return round(rate * LEVELS)


def find_scale(level: int) -> float:
    """Return what kept elements are multiplied by; some are kept at every level below `LEVELS`."""
    return LEVELS / (LEVELS - level)


def draw_seeds(elements: int) -> torch.Tensor:
    """Return the numbers that masks of `elements` elements are made of: int64, those of the columns first."""
    rows = -(-elements // (COLUMNS * LANES))
    return torch.empty(COLUMNS + rows, dtype=torch.int64).random_(-(1 << 63), None)


def spread_seeds(columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return a word for each pair of a row and a column: int64, flat, row after row."""
    words = torch.bitwise_xor(rows[:, None], columns).view(-1)
    words.mul_(_FIRST_FACTOR)
    # an arithmetic shift: the sum keeps all but 2**-32 of the values, where xor would lose a bit
    words.add_(torch.bitwise_right_shift(words, 32))
    return words.mul_(_SECOND_FACTOR)


def draw_dropped(words: torch.Tensor, level: int, elements: int, dtype: torch.dtype) -> torch.Tensor:
    """Return 1 where an element is dropped, else 0, as integers as wide as `dtype`: (elements,); `words` are whole
    rows, and used up.

    Mixed types are what is slow on a CPU, so that the mask is as wide as what it masks.
    """
    threshold = level - LEVELS // 2  # of a signed number
    if INTEGERS[dtype] == torch.int16:
        return words.view(torch.int16).lt_(threshold)[:elements]
    halves = words.view(torch.int32).view(-1, COLUMNS * 2)
    # row after row, so that no mask depends on how many rows are worked on at a time
    dropped = torch.empty(len(halves), 2, COLUMNS * 2, dtype=torch.int32)
    torch.lt(halves, threshold << 16, out=dropped[:, 0])
    torch.lt(halves.bitwise_left_shift_(16), threshold << 16, out=dropped[:, 1])
    return dropped.view(-1)[:elements]


class QuickDropout(nn.Dropout):
    """torch's Dropout with the same meaning and other draws; `inplace` saves no memory here."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return `input` with elements dropped in training, as it is in evaluation."""
        known = input.device.type == "cpu" and input.dtype in INTEGERS and 0 < find_level(self.p) < LEVELS
        if self.training and known and not torch.compiler.is_compiling():
            return drop(input, self.p)
        return super().forward(input)


def quicken_dropout(model: nn.Module) -> int:
    """Exchange each torch.nn.Dropout of `model` that drops anything for a QuickDropout; return how many there are.

    Nothing of a model's parameters, their names or its config changes.
    """
    count = 0
    for parent in model.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Dropout and child.p > 0:
                setattr(parent, name, QuickDropout(child.p, child.inplace).train(child.training))
                count += 1
    return count


def drop(input: torch.Tensor, rate: float) -> torch.Tensor:
    """Return `input` on a CPU with elements dropped at `rate`, in a type of `INTEGERS`."""
    return _Dropped.apply(input, find_level(rate))


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, level: int) -> torch.Tensor:
        """Return `input` with elements dropped, and keep the few numbers that say which."""
        ctx.level = level
        seeds = draw_seeds(input.numel())
        ctx.save_for_backward(seeds)
        return _masked(input, seeds, level)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the gradient under the same mask, made anew."""
        (seeds,) = ctx.saved_tensors
        return _masked(gradient, seeds, ctx.level), None


def _masked(values: torch.Tensor, seeds: torch.Tensor, level: int) -> torch.Tensor:
    """Return `values` times mask and scale: the same mask for the same seeds and number of elements."""
    flat = values.contiguous().view(-1)
    masked = torch.empty_like(flat)
    integers, scale = INTEGERS[values.dtype], find_scale(level)
    columns, rows = seeds[:COLUMNS], seeds[COLUMNS:]
    piece = PIECE_ROWS * torch.get_num_threads()
    for first in range(0, len(rows), piece):
        elements = slice(first * COLUMNS * LANES, (first + piece) * COLUMNS * LANES)
        given, out = flat[elements], masked[elements]
        dropped = draw_dropped(spread_seeds(columns, rows[first : first + piece]), level, len(given), values.dtype)
        # one less is all ones where an element is kept
        torch.bitwise_and(given.view(integers), dropped.sub_(1), out=out.view(integers))
        out.mul_(scale)
    return masked.view(values.shape)
