"""Packages that need a GPU, computed by plain operations of torch, and how transformers comes to use them here."""

import importlib
import sys
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import modeling_flash_attention_utils
from transformers.modeling_flash_attention_utils import FLASH_ATTENTION_COMPATIBILITY_MATRIX

HERE = Path(__file__).parent


@dataclass(frozen=True)
class FlashCall:
    """One call of attention: the shape of its queries, and the ends of its texts where these have their own lengths."""

    shape: tuple[int, ...]
    ends: tuple[int, ...] | None
    longest: int | None
    causal: bool
    window: tuple[int, int]


@dataclass
class FlashCalls:
    """What was asked of FlashAttention since the last question."""

    seen: list[FlashCall] = field(default_factory=list)

    def take(self) -> list[FlashCall]:
        seen, self.seen = self.seen, []
        return seen


def install_flash_attention(monkeypatch: pytest.MonkeyPatch, *, takes_float32: bool = False) -> FlashCalls:
    """Have transformers find a flash-attn that runs on CPUs, until the test ends; return the calls it gets."""
    monkeypatch.syspath_prepend(str(HERE))
    for name in ("flash_attn", "flash_attn.bert_padding"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    package, calls = importlib.import_module("flash_attn"), FlashCalls()
    if takes_float32:
        monkeypatch.setattr(package, "TYPES", (*package.TYPES, torch.float32))
    for name in ("flash_attn_func", "flash_attn_varlen_func"):
        monkeypatch.setattr(package, name, _noting(getattr(package, name), calls))
    # what transformers asks a machine for
    versions = FLASH_ATTENTION_COMPATIBILITY_MATRIX[2]
    monkeypatch.setitem(versions, "general_availability_check", lambda: True)
    monkeypatch.setitem(versions, "supported_devices", ((lambda: True, "cpu"),))
    monkeypatch.setattr(modeling_flash_attention_utils, "is_flash_attn_2_available", lambda: True)
    # it keeps the functions that it has imported
    monkeypatch.setattr(modeling_flash_attention_utils, "_loaded_implementation", None)
    return calls


def _noting(function: Any, calls: FlashCalls) -> Any:
    @wraps(function)
    def noting(q: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        ends = options.get("cu_seqlens_q")
        told = None if ends is None else tuple(ends.tolist())
        assert ends is None or torch.equal(ends, options["cu_seqlens_k"])
        window = options.get("window_size", (-1, -1))
        calls.seen.append(FlashCall(tuple(q.shape), told, options.get("max_seqlen_q"), options["causal"], window))
        mixed: torch.Tensor = function(q, *args, **options)
        return mixed

    return noting
