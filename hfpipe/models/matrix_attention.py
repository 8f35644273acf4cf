"""Attention by matrix products, for training on a CPU: scores, softmax, dropout and what they do to values.

torch's scaled_dot_product_attention keeps no probabilities and computes them anew in a slow backward; with dropout it
leaves its fast path altogether. Here probabilities are kept in the type of the computation, a dropped one with a minus
before it: they are all that backward needs. Where they would take much memory they are computed anew, of the same
random numbers. The work goes by groups of heads and tiles of queries that stay in the cache, and a tile computes only
the range of keys that it can see: about half of them under a causal mask.

A row that sees no key at all (padding) gets a mean of some values: finite, as is its gradient, and read by nobody.
"""

from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable

from hfpipe.models.dropout import COLUMNS, INTEGERS, draw_dropped, draw_seeds, find_scale, spread_seeds

TILE = 128  # queries; of 512 tokens a causal mask then leaves 10 of 16 parts
FULL_TILE = 512  # where every query sees every key, smaller ones save nothing
STEP = 32  # ranges of keys begin and end at multiples of it, which suits the kernels
GROUP = 1 << 20  # scores of a group of heads in a tile: 2 MB of bfloat16
# Bytes of probabilities of one call above which they are not kept: 8 x 512 tokens at 6 heads have 16 MB.
KEPT_BYTES = 1 << 27


class Tile(NamedTuple):
    """Some queries, and the range of keys that any of them sees; `diagonal` where the last keys are theirs."""

    queries: slice
    keys: slice
    diagonal: bool


class Options(NamedTuple):
    """What an attention does beside its tensors; `level` is the rate of dropout, see `find_level`."""

    causal: bool
    scale: float
    level: int


Group = tuple[slice, slice]  # of rows of the batch and of heads


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, options: Options
) -> torch.Tensor:
    """Return the attention of (rows, heads, tokens, size) tensors of one type as (rows, tokens, heads, size).

    `mask` (rows or 1, heads or 1, queries, keys) is true where a query sees a key, or added to the scores; no gradient
    goes to it. `options.causal` is looked at where there is none, and wants as many keys as queries.
    """
    return _MatrixAttention.apply(query, key, value, mask, options)


def find_tiles(mask: torch.Tensor | None, *, queries: int, keys: int, causal: bool) -> list[Tile]:
    """Return the tiles of queries, each with the keys it needs."""
    parts = [slice(start, min(start + TILE, queries)) for start in range(0, queries, TILE)]
    if mask is None and causal:
        return [Tile(part, slice(0, part.stop), True) for part in parts]
    if mask is not None and mask.dtype == torch.bool and not isinstance(mask, FakeTensor):
        tiles = [Tile(part, _find_seen(mask[:, :, part], keys), False) for part in parts]
        if any(tile.keys != slice(0, keys) for tile in tiles):
            return tiles
    starts = range(0, queries, FULL_TILE)
    return [Tile(slice(start, min(start + FULL_TILE, queries)), slice(0, keys), False) for start in starts]


def _find_seen(mask: torch.Tensor, keys: int) -> slice:
    """Return the range of keys that any row of `mask` sees, rounded outwards; where none sees any, the first ones."""
    seen = mask.any(dim=2).flatten(0, 1).any(dim=0).nonzero()
    first, last = (int(seen[0]), int(seen[-1])) if len(seen) else (0, 0)
    return slice(first // STEP * STEP, min(keys, (last // STEP + 1) * STEP))


def find_groups(rows: int, heads: int, scores: int) -> list[Group]:
    """Return parts of rows and heads of about `GROUP` scores, where a head has `scores` in a tile.

    Threads have no say in it: each part draws its own random numbers, and a run draws the same on any machine.
    """
    some = max(1, GROUP // scores)
    if some >= heads:
        return [(slice(row, min(rows, row + some // heads)), slice(0, heads)) for row in range(0, rows, some // heads)]
    return [(slice(row, row + 1), slice(head, head + some)) for row in range(rows) for head in range(0, heads, some)]


class _MatrixAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        options: Options,
    ) -> torch.Tensor:
        """Return the attention, and keep what backward needs of each group and tile, in their order."""
        count, heads, queries, _ = query.shape
        tiles = find_tiles(mask, queries=queries, keys=key.shape[2], causal=options.causal)
        largest = max((tile.queries.stop - tile.queries.start) * (tile.keys.stop - tile.keys.start) for tile in tiles)
        ctx.options, ctx.tiles, ctx.groups = options, tiles, find_groups(count, heads, largest)
        ctx.anew = count * heads * largest * len(tiles) * query.element_size() > KEPT_BYTES
        kept: list[torch.Tensor | None] = []
        output = query.new_empty(count, queries, heads, value.shape[3])
        with torch.autocast("cpu", enabled=False):
            for group in ctx.groups:
                part = output[group[0], :, group[1]]
                q, k, v = (_take(each, group) for each in (query, key, value))
                for tile in tiles:
                    seeds = draw_seeds(_count_scores(q, tile)) if options.level else None
                    chances = _find_chances(q, k, _bias(mask, group, tile, q.dtype), seeds, (tile, options))
                    kept.append(seeds if ctx.anew else chances)
                    mixed = _product(_undropped(chances, options), v[:, tile.keys], find_scale(options.level))
                    part[:, tile.queries] = mixed.view(*part.shape[0::2], *mixed.shape[1:]).transpose(1, 2)
        ctx.save_for_backward(query, key, value, mask, *kept)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of query, key and value, laid out as layers make them: tokens before heads."""
        query, key, value, mask, *left = ctx.saved_tensors  # once: gradient checkpointing allows no second look
        inputs, kept = (query, key, value), iter(left)
        results = [each.new_empty(each.transpose(1, 2).shape) for each in inputs]
        with torch.autocast("cpu", enabled=False):
            for group in ctx.groups:
                q, k, v, by_output = (_take(each, group) for each in (*inputs, gradient.transpose(1, 2)))
                sums = _Sums(q, k, v, torch.float32 if len(ctx.tiles) > 1 else q.dtype)
                for tile in ctx.tiles:
                    chances = next(kept)
                    if ctx.anew:
                        bias = _bias(mask, group, tile, q.dtype)
                        chances = _find_chances(q, k, bias, chances, (tile, ctx.options))
                    _differentiate(sums, by_output[:, tile.queries], chances, (tile, ctx.options))
                for result, part in zip(results, sums.gradients(), strict=True):
                    room = result[group[0], :, group[1]]
                    room.copy_(part.view(*room.shape[0::2], *part.shape[1:]).transpose(1, 2))
        return *(result.transpose(1, 2) for result in results), None, None


class _Sums:
    """The inputs of a group of heads (heads, tokens, size), and their gradients as tile after tile adds to them.

    Those of keys and values sum over queries: in `dtype`, that of float32 where there are several tiles.
    """

    def __init__(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dtype: torch.dtype) -> None:
        self.query, self.key, self.value = query, key, value
        self.by_query = torch.empty_like(query)
        self.by_key = torch.zeros_like(key, dtype=dtype)
        self.by_value = torch.zeros_like(value, dtype=dtype)

    def gradients(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the gradients of query, key and value, whole once every tile has added to them."""
        return self.by_query, self.by_key, self.by_value


def _find_chances(
    query: torch.Tensor,
    key: torch.Tensor,
    bias: torch.Tensor | None,
    seeds: torch.Tensor | None,
    work: tuple[Tile, Options],
) -> torch.Tensor:
    """Return the probabilities (heads, queries, keys) of a tile, those that are dropped with a minus before them."""
    tile, options = work
    scores = _product(query[:, tile.queries], key[:, tile.keys].transpose(1, 2), options.scale)
    if bias is not None:
        scores.view(bias.shape[0], -1, *scores.shape[1:]).add_(bias)
    if tile.diagonal:
        size = scores.shape[1]
        later = torch.full((size, size), torch.finfo(scores.dtype).min, dtype=scores.dtype).triu_(1)
        scores[:, :, -size:].add_(later)
    chances = torch.softmax(scores, -1)
    if seeds is not None:
        integers = INTEGERS[chances.dtype]
        words = spread_seeds(seeds[:COLUMNS], seeds[COLUMNS:])
        dropped = draw_dropped(words, options.level, chances.numel(), chances.dtype)
        signs = dropped.bitwise_left_shift_(torch.iinfo(integers).bits - 1)
        chances.view(integers).view(-1).bitwise_or_(signs)
    return chances


def _differentiate(sums: _Sums, by_output: torch.Tensor, chances: torch.Tensor, work: tuple[Tile, Options]) -> None:
    """Add what a tile gives to the gradients of its group."""
    tile, options = work
    keep = find_scale(options.level)
    queries, keys = sums.query[:, tile.queries], sums.key[:, tile.keys]
    by_chances = _product(by_output, sums.value[:, tile.keys].transpose(1, 2), keep)
    sums.by_value[:, tile.keys].add_(_product(_undropped(chances, options).transpose(1, 2), by_output, keep))
    if options.level:
        by_chances = torch.ops.aten.threshold_backward(by_chances, chances, 0)
        chances = chances.abs()
    by_scores = torch._softmax_backward_data(by_chances, chances, -1, chances.dtype)
    sums.by_query[:, tile.queries] = _product(by_scores, keys, options.scale)
    sums.by_key[:, tile.keys].add_(_product(by_scores.transpose(1, 2), queries, options.scale))


def _undropped(chances: torch.Tensor, options: Options) -> torch.Tensor:
    return torch.relu(chances) if options.level else chances


def _product(one: torch.Tensor, other: torch.Tensor, factor: float) -> torch.Tensor:
    """Return `factor` times the batched matrix product: the factor costs nothing there, and is not rounded."""
    shape = (one.shape[0], one.shape[1], other.shape[2])
    return torch.baddbmm(one.new_empty(1).expand(shape), one, other, beta=0, alpha=factor)


def _take(tensor: torch.Tensor, group: Group) -> torch.Tensor:
    """Return a group's part of (rows, heads, tokens, size) as (heads, tokens, size), copied together."""
    return tensor[group].contiguous().flatten(0, 1)


def _count_scores(query: torch.Tensor, tile: Tile) -> int:
    return len(query) * (tile.queries.stop - tile.queries.start) * (tile.keys.stop - tile.keys.start)


def _bias(mask: torch.Tensor | None, group: Group, tile: Tile, dtype: torch.dtype) -> torch.Tensor | None:
    """Return what is added to the scores of a group in a tile; a mask of one row or head stands for all."""
    if mask is None:
        return None
    rows, heads = (part if size > 1 else slice(None) for part, size in zip(group, mask.shape, strict=False))
    part = mask[rows, heads, tile.queries, tile.keys]
    lowest = torch.finfo(dtype).min
    bias = torch.where(part, 0.0, lowest) if part.dtype == torch.bool else part.clamp(min=lowest)
    return bias.to(dtype).expand(group[0].stop - group[0].start, -1, -1, -1)
