"""The C allocator on a CPU: freed memory is kept for the next step.

glibc maps each large tensor anew and gives it back when it is freed, so every step faults the same pages in
again: a third of the time of a training step of all-MiniLM-L6-v2 (16x128, bf16: 0.66 s against 0.48 s; 16x256:
2.12 s against 1.46 s; medians of 4 steps in turns, 2 cores, 2026-11-22). The peak is what it was; what changes
is that the process keeps it until it ends.

oneDNN and torch's layer over it each keep 1,024 kernels with their buffers, one for every shape of a product. Where
every batch has another shape, as in packed training and in scoring, that grows for hundreds of batches (40 steps of
MiniLM, packed, 256 tokens: 2.07 GB, with 128 kernels each 1.83 GB, at the same speed; 2026-11-23), so fewer are kept.
"""

import ctypes
import os
import platform

# mallopt(3): parameter numbers of glibc's malloc.h. A high M_MMAP_THRESHOLD would do as well, but older glibc caps it.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = -1
KERNELS = 128
"""That are kept. A model uses a few dozen for a shape of batch, so that of the next one is there."""
_KERNEL_LIMITS = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def limit_kernels() -> None:
    """Have oneDNN, and torch's cache over it, keep `KERNELS` at most; what the environment says stays.

    They read it at their first product, and not again.
    """
    for name in _KERNEL_LIMITS:
        os.environ.setdefault(name, str(KERNELS))


def keep_freed_memory() -> bool:
    """Tell glibc to serve all sizes from its heap and never to shrink it; return False where the library is another."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return mallopt(_M_MMAP_MAX, 0) == 1 and mallopt(_M_TRIM_THRESHOLD, _NEVER) == 1
