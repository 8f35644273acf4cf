"""What the package flash-attn computes, by plain operations of torch on any device; a stand-in where there is no GPU.

It has the functions that transformers imports, with the signatures of flash-attn 2.8, and refuses what its kernels
refuse: other types than those of 16 bits, boundaries that are no int32 or do not fit. Dropout, caps of scores, slopes
and paged keys are not there and raise. `TYPES` is what it takes: a test may add float32, to compare closely.
"""

from typing import Any

import torch

__version__ = "2.8.3"

TYPES = (torch.float16, torch.bfloat16)


def flash_attn_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> torch.Tensor:
    _check(q, k, v, dropout_p, softcap, alibi_slopes, return_attn_probs)
    assert q.ndim == 4 and q.shape[0] == k.shape[0], "batches (rows, length, heads, size)"
    rows = zip(q, k, v, strict=True)
    return torch.stack([_attend(*row, scale=softmax_scale, causal=causal, window=window_size) for row in rows])


def flash_attn_varlen_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: torch.Tensor | None = None,
) -> torch.Tensor:
    _check(q, k, v, dropout_p, softcap, alibi_slopes, return_attn_probs, block_table)
    assert q.ndim == 3, "texts one behind the other, (tokens, heads, size)"
    lengths = [
        _find_lengths(ends, longest, tokens=len(states))
        for ends, longest, states in ((cu_seqlens_q, max_seqlen_q, q), (cu_seqlens_k, max_seqlen_k, k))
    ]
    texts = zip(q.split(lengths[0]), k.split(lengths[1]), v.split(lengths[1]), strict=True)
    return torch.cat([_attend(*text, scale=softmax_scale, causal=causal, window=window_size) for text in texts])


def flash_attn_with_kvcache(q: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, **options: Any) -> None:
    raise NotImplementedError("no paged keys")


def _check(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dropout_p: float,
    softcap: float,
    alibi_slopes: torch.Tensor | None,
    return_attn_probs: bool,
    block_table: torch.Tensor | None = None,
) -> None:
    if q.dtype not in TYPES:
        raise RuntimeError("FlashAttention only support fp16 and bf16 data type")
    if not q.dtype == k.dtype == v.dtype:
        raise RuntimeError("query and key must have the same dtype")
    if dropout_p or softcap or alibi_slopes is not None or return_attn_probs or block_table is not None:
        raise NotImplementedError("neither dropout nor caps, slopes, probabilities or paged keys")


def _find_lengths(ends: torch.Tensor, longest: int, *, tokens: int) -> list[int]:
    if ends.dtype != torch.int32:
        raise RuntimeError("cu_seqlens must have dtype int32")
    lengths = ends.diff().tolist()
    assert ends[0] == 0 and ends[-1] == tokens and min(lengths) >= 0, "boundaries of all that is there"
    # the kernel would look at so many positions of each text and no more
    assert isinstance(longest, int) and max(lengths) <= longest, "a text is longer than max_seqlen"
    return lengths


def _attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    scale: float | None,
    causal: bool,
    window: tuple[int, int],
) -> torch.Tensor:
    """Return (length, heads, size) of one text; the last query stands beside the last key."""
    shared = q.shape[1] // k.shape[1]
    query, key, value = (each.float().transpose(0, 1) for each in (q, k, v))
    key, value = (each.repeat_interleave(shared, dim=0) for each in (key, value))
    scores = query @ key.transpose(1, 2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    places = torch.arange(len(k)), torch.arange(len(q))[:, None] + len(k) - len(q)
    behind = (places[1] - places[0]).to(q.device)
    before, after = window[0], 0 if causal else window[1]
    is_seen = torch.ones_like(behind, dtype=torch.bool)
    if before >= 0:
        is_seen &= behind <= before
    if after >= 0:
        is_seen &= behind >= -after
    weights = scores.masked_fill(~is_seen, float("-inf")).softmax(dim=2).nan_to_num()
    return (weights @ value).transpose(0, 1).to(q.dtype)
