"""Attention without a gradient on a CPU by matrix products, for texts that are padded on the right or not at all.

Scores of some rows are made, turned into probabilities where they stand and multiplied by the values while they are in
the cache: torch's scaled_dot_product_attention takes a tenth to a third more time in float32 and a half more in
bfloat16. The kernels like lengths that are multiples of 16 or 32, so rows are made as long, and nothing sees what was
added. Masks that differ from query to query are refused: they are those of causal models and of packed documents.
"""

from collections.abc import Mapping

import torch

STEPS: Mapping[torch.dtype, int] = {torch.bfloat16: 32, torch.float32: 16}
SHORTEST: Mapping[torch.dtype, int] = {torch.bfloat16: 16, torch.float32: 40}
"""Tokens from which products pay, by type; what is shorter is faster in one kernel (12 heads of 32; 2026-11-23)."""
GROUP = 1 << 19  # scores at once: 2 MB of float32
QUERIES = 256  # at once, where a text is longer


def is_padding(mask: torch.Tensor) -> bool:
    """Tell whether `mask` (rows, heads or 1, queries, keys) lets all queries of a row see the same keys, by yes or no.

    One that has heads is none.
    """
    return mask.dtype == torch.bool and mask.shape[1] == 1 and bool((mask == mask[:, :, :1]).all())


def attend_scoring(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """Return the attention (rows, tokens, heads, size) of (rows, heads, tokens, size) tensors of one type.

    `mask` (rows, 1, tokens, tokens), one of padding, says which keys are seen, None that all are. No gradient goes
    through it.
    """
    rows, heads, tokens, _ = query.shape
    step = STEPS[query.dtype]
    length = -(-tokens // step) * step
    bias = _make_bias(mask, rows, tokens, length, query.dtype)
    output = query.new_empty(rows, tokens, heads, value.shape[3])
    at_once = max(1, GROUP // (heads * min(length, QUERIES) * length))
    with torch.autocast("cpu", enabled=False):
        for start in range(0, rows, at_once):
            part = slice(start, start + at_once)
            q, k, v = (_lengthen(each[part], length) for each in (query, key, value))
            for first in range(0, length, QUERIES):
                some = q[:, first : first + QUERIES]
                scores = torch.baddbmm(some.new_empty(1), some, k.transpose(1, 2), beta=0, alpha=scale)
                if bias is not None:
                    by_row = scores.view(-1, heads, *scores.shape[1:])
                    by_row.add_(bias[part])
                mixed = torch.bmm(torch.softmax(scores, -1, out=scores), v)
                kept = mixed[:, : tokens - first].view(-1, heads, min(mixed.shape[1], tokens - first), v.shape[2])
                output[part, first : first + QUERIES] = kept.transpose(1, 2)
    return output


def _make_bias(
    mask: torch.Tensor | None, rows: int, tokens: int, length: int, dtype: torch.dtype
) -> torch.Tensor | None:
    """Return what is added to scores (rows, 1, 1, length), None where all there is is seen."""
    if mask is None and length == tokens:
        return None
    bias = torch.full((rows, 1, 1, length), torch.finfo(dtype).min, dtype=dtype)
    bias[..., :tokens] = 0.0 if mask is None else torch.where(mask[:, :, :1], 0.0, torch.finfo(dtype).min).to(dtype)
    return bias


def _lengthen(tensor: torch.Tensor, length: int) -> torch.Tensor:
    """Return (rows, heads, tokens, size) as (rows x heads, length, size), zeros behind the tokens."""
    rows, heads, tokens, size = tensor.shape
    if tokens == length:
        return tensor.reshape(rows * heads, tokens, size)
    longer = tensor.new_zeros(rows, heads, length, size)
    longer[:, :, :tokens] = tensor
    return longer.view(rows * heads, length, size)
