"""What the hardware computes in: bfloat16, and float32 by the faster of two libraries.

On a CPU torch multiplies float32 matrices by MKL, whose kernels for other vendors' processors run at half speed: 92
against 193 GFLOP/s of a core (AMD EPYC, Zen 5, torch 2.13, 2026-11-23). oneDNN lies beside it, and torch hands products
to it where bfloat16 inside of them would be allowed. On a processor that has no such units they stay float32, which is
looked at, not believed: where a product comes out rounded, MKL keeps the work.
"""

import functools
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}
_MKL_IS_SLOW_ON = "AuthenticAMD"
_FLOAT32_ERROR = 1e-5
"""Relative to the largest value of a product; bfloat16 has 4e-3."""


def has_bfloat16(*, use_cpu: bool) -> bool:
    """Tell whether the hardware multiplies in bfloat16; without that it would be slower than float32."""
    if not use_cpu and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not use_cpu and torch.backends.mps.is_available():
        return False
    return bool(_read_cpuinfo() & BFLOAT16_FLAGS)


@contextmanager
def fast_float32(device: torch.device) -> Iterator[None]:
    """Have float32 products of the block computed by oneDNN where that is exact and MKL slow; else change nothing."""
    # it cannot be asked for where Trainer has switched TF32 on for a GPU
    if device.type != "cpu" or torch.get_float32_matmul_precision() != "highest" or not _is_onednn_better():
        yield
        return
    with _allowing("medium"):
        yield


@contextmanager
def plain_float32() -> Iterator[None]:
    """Have float32 products of the block computed as torch does by itself, whatever is allowed around it.

    For torch's scaled_dot_product_attention, whose many small products take oneDNN 3 to 10 times as long.
    """
    with _allowing("highest"):
        yield


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Have float32 products of the block computed as such on a GPU, where TF32 may be switched on."""
    if device.type != "cuda":
        yield
        return
    products: Any = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = "ieee"
    try:
        yield
    finally:
        products.fp32_precision = before


def find_product_type() -> torch.dtype | None:
    """Return the type in which oneDNN multiplies float32 tensors on a CPU here, None where another library does."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return None if torch.get_float32_matmul_precision() == "highest" else torch.float32


@contextmanager
def _allowing(precision: str) -> Iterator[None]:
    """Set what float32 products of the block may be computed in, in torch's words."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@functools.cache
def _is_onednn_better() -> bool:
    return _MKL_IS_SLOW_ON in _read_cpuinfo() and _keeps_float32()


def _keeps_float32() -> bool:
    """Tell whether a product is float32 though less is allowed."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(shape, generator=generator) for shape in ((256, 384), (384, 256)))
    exact = left.double() @ right.double()
    with _allowing("medium"):
        found = left @ right
    return bool((found.double() - exact).abs().max() < _FLOAT32_ERROR * exact.abs().max())


def _read_cpuinfo() -> set[str]:
    """Return the words that Linux has for the processor; none elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    return set(cpuinfo.read_text().split()) if platform.system() == "Linux" and cpuinfo.exists() else set()
