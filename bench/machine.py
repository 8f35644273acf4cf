"""The machine and the versions that figures belong to; a figure without them says little."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

from hfpipe.models.compute import find_gpu_limit


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, threads, memory, the accelerator if there is one, and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "bfloat16": ", ".join(sorted(_flags() & {"amx_bf16", "avx512_bf16", "bf16"})) or "none on the CPU",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "cuda": torch.version.cuda or "none",
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def has_nvidia_device() -> bool:
    """Tell whether there is a GPU, without asking CUDA: a process that has asked cannot be forked."""
    return Path("/dev/nvidiactl").exists() and os.environ.get("CUDA_VISIBLE_DEVICES") != ""


def find_makers_limit() -> float | None:
    """Return what the maker says a GPU computes a second in bfloat16; None without a GPU, or where it is not known."""
    return find_gpu_limit(torch.cuda.get_device_name(), torch.bfloat16) if torch.cuda.is_available() else None


def _processor() -> str:
    lines = _cpuinfo().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _flags() -> set[str]:
    return set(_cpuinfo().split())


def _cpuinfo() -> str:
    file = Path("/proc/cpuinfo")
    return file.read_text() if file.exists() else ""
