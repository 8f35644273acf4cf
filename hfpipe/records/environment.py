"""What a run ran with: versions, the commit of the working directory, and the hardware.

Refuses nothing: what cannot be found out is None. GPU names come from the caller, since finding them imports torch.
"""

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import psutil

import hfpipe

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "tokenizers")
GIT_SECONDS = 5.0


def describe_environment(*, gpus: Sequence[str] = (), folder: Path | None = None) -> dict[str, object]:
    """Return the facts `versions`, `git_commit` and `hardware` of a record.

    `folder` is where the command runs, the working directory by default.
    """
    hardware = {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": list(gpus),
        "platform": platform.platform(),
    }
    return {"versions": find_versions(), "git_commit": find_git_commit(folder or Path.cwd()), "hardware": hardware}


def find_versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages a result depends on; None for one that is not installed."""
    ours = {"python": platform.python_version(), "hfpipe": hfpipe.__version__}
    return {**ours, **{name: _version(name) for name in PACKAGES}}


def find_git_commit(folder: Path) -> str | None:
    """Return the commit checked out in `folder`, with '+dirty' where tracked files differ; None outside a checkout."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not commit:
        return None
    return f"{commit}+dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit


def usable_cores() -> int:
    """Return the physical cores this process may run on; hyper-threads do not speed up matrix products."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no such call
        allowed = os.cpu_count() or 1
    return min(allowed, psutil.cpu_count(logical=False) or allowed)


def cpu_model() -> str | None:
    """Return the processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):  # no git, or a folder on a file system that hangs
        return None
    return done.stdout.strip() if done.returncode == 0 else None
