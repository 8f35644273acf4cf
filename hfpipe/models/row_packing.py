"""The rows of a padded batch as one row without padding, and the masks by which its texts do not see each other.

Rows of the same length lie next to each other: such a bunch is a rectangle again, and attention computes each bunch as
a batch of its own, with what the model's own mask says between the tokens of a row. So windows, causal masks and
padding on either side need no rule here, and no matrix of all tokens against all others is made.

A row may keep some of its padding, so that there are fewer lengths: each is a call of attention, and tensors of ever
other sizes are bad for the memory of a process.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class Bunch:
    """Rows (rows,) of a padded batch that keep as many positions, and which of theirs these are (rows, length)."""

    rows: torch.Tensor
    positions: torch.Tensor


@dataclass(frozen=True)
class BunchMask:
    """What the positions of a bunch's rows see of their row; `mask` (rows, heads or 1, length, length), None for all.

    `is_causal` where that is all that comes before.
    """

    mask: torch.Tensor | None
    is_causal: bool


@dataclass(frozen=True)
class PackedMask:
    """The mask of a packed row, bunch by bunch; `shapes` are their rows and lengths. Stands where a tensor would."""

    shapes: tuple[tuple[int, int], ...]
    parts: tuple[BunchMask, ...]

    def split(self, states: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield (rows, heads, length, size) of each bunch of `states` (1, heads, positions, size)."""
        pieces = states.transpose(1, 2).squeeze(0).split([rows * length for rows, length in self.shapes])
        for piece, shape in zip(pieces, self.shapes, strict=True):
            yield piece.unflatten(0, shape).transpose(1, 2)


class Packing:
    """Which positions of a batch padded to (rows, length) are kept, and in what order a packed row has them."""

    def __init__(self, attention_mask: torch.Tensor, *, multiple_of: int = 1) -> None:
        """Keep the tokens of `attention_mask` (rows, length), which is true or 1 where they are.

        With them a row keeps padding up to a multiple of `multiple_of` positions, as far as it has any. A row without
        a token keeps its first position, for its model looks at one.
        """
        self.rows, self.length = attention_mask.shape
        is_token = attention_mask.bool()
        tokens = is_token.sum(1).clamp(min=1)
        lengths = (tokens + -tokens % multiple_of).clamp(max=self.length)
        order = (~is_token).to(torch.uint8).argsort(dim=1, stable=True)  # tokens first
        self.bunches = [_bunch(rows, length, order) for length, rows in _group(lengths.tolist())]
        starts = [bunch.rows[:, None] * self.length for bunch in self.bunches]
        flat = [(start + bunch.positions).flatten() for start, bunch in zip(starts, self.bunches, strict=True)]
        self.index = torch.cat(flat)
        self.positions = self.index % self.length
        self._packed: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._masks: dict[int, tuple[torch.Tensor, PackedMask]] = {}

    def fits(self, tensor: torch.Tensor) -> bool:
        """Tell whether `tensor` has something for each position, in each row or one for all."""
        return tensor.ndim in (2, 3) and tensor.shape[0] in (1, self.rows) and tensor.shape[1] == self.length

    def pack(self, padded: torch.Tensor) -> torch.Tensor:
        """Return (1, positions, ...) of (rows or 1, length, ...)."""
        index = self.positions if padded.shape[0] < self.rows else self.index
        return padded.flatten(0, 1).index_select(0, index).unsqueeze(0)

    def pack_once(self, padded: torch.Tensor) -> torch.Tensor:
        """Return what `pack` does, made once for a tensor that every layer gets.

        One that wants a gradient is packed anew each time: layers that are computed again in backward have to find what
        they found before, and the first time may be without a gradient.
        """
        if padded.requires_grad:
            return self.pack(padded)
        if id(padded) not in self._packed:
            # the tensor stays, so that no other one gets its id
            self._packed[id(padded)] = (padded, self.pack(padded))
        return self._packed[id(padded)][1]

    def unpack(self, packed: torch.Tensor) -> torch.Tensor:
        """Return (rows, length, ...) of (1, positions, ...), 0 where padding was left out."""
        padded = packed.new_zeros(self.rows * self.length, *packed.shape[2:])
        return padded.index_copy(0, self.index, packed.squeeze(0)).unflatten(0, (self.rows, self.length))

    def pack_mask(self, mask: torch.Tensor) -> PackedMask:
        """Return `mask` (rows or 1, heads or 1, length, length), true where a query sees a key, for the packed row.

        Raises:
            TypeError: If it is another kind of mask.
        """
        if mask.ndim != 4 or mask.dtype != torch.bool or mask.shape[2:] != (self.length, self.length):
            raise TypeError(f"a mask {tuple(mask.shape)} of {mask.dtype} cannot be packed")
        if id(mask) not in self._masks:
            shapes = tuple((len(bunch.rows), bunch.positions.shape[1]) for bunch in self.bunches)
            parts = tuple(_reduce(_cut(mask, bunch)) for bunch in self.bunches)
            self._masks[id(mask)] = (mask, PackedMask(shapes, parts))
        return self._masks[id(mask)][1]

    @cached_property
    def boundaries(self) -> tuple[torch.Tensor, int]:
        """Where texts begin and the last one ends, (rows + 1,) int32, and the tokens of the longest."""
        lengths = [bunch.positions.shape[1] for bunch in self.bunches for _ in bunch.rows]
        ends = torch.tensor([0, *lengths], device=self.index.device).cumsum(0, dtype=torch.int32)
        return ends, max(lengths)


def _group(lengths: list[int]) -> list[tuple[int, list[int]]]:
    """Return each length with its rows, shortest first."""
    return [(length, [row for row, own in enumerate(lengths) if own == length]) for length in sorted({*lengths})]


def _bunch(rows: list[int], length: int, order: torch.Tensor) -> Bunch:
    chosen = torch.tensor(rows, device=order.device)
    return Bunch(chosen, order[chosen, :length])


def _cut(mask: torch.Tensor, bunch: Bunch) -> torch.Tensor:
    """Return what `mask` has between the positions of each row of a bunch (rows, heads or 1, length, length)."""
    rows = bunch.rows if mask.shape[0] > 1 else torch.zeros_like(bunch.rows)
    heads = torch.arange(mask.shape[1], device=mask.device)
    places = bunch.positions
    return mask[rows[:, None, None, None], heads[:, None, None], places[:, None, :, None], places[:, None, None, :]]


def _reduce(mask: torch.Tensor) -> BunchMask:
    """Return `mask` as none at all, or as a causal one, where it is just that: these are faster."""
    if mask.all():
        return BunchMask(None, is_causal=False)
    if torch.equal(mask, torch.ones_like(mask).tril()):
        return BunchMask(None, is_causal=True)
    return BunchMask(mask, is_causal=False)
