"""Where the time of a save goes: the functions of hfpipe that do it, timed from outside while it saves.

Files are hashed and synced by several threads, so these two parts count the time of the threads, shared out over the
time that both took together.
"""

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

WHERE: Mapping[str, tuple[str, str]] = {
    "gather": ("hfpipe.training.checkpoints", "whole_weights"),
    "parts": ("hfpipe.training.checkpoints", "_write_parts"),
    "seal": ("hfpipe.training.checkpoints", "seal"),
    "hash": ("hfpipe.records.manifest", "hash_file"),
    "fsync": ("hfpipe.records.manifest", "sync_file"),
    "publish": ("hfpipe.training.checkpoints", "publish"),
    "rotate": ("hfpipe.training.checkpoints", "rotate"),
}


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Add up the seconds of each part while inside."""
    seconds = dict.fromkeys(WHERE, 0.0)
    with ExitStack() as stack:
        for part, (module, name) in WHERE.items():
            function = getattr(importlib.import_module(module), name)
            stack.enter_context(patch(f"{module}.{name}", _watch(function, part, seconds)))
        yield seconds


def share_out(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return gather, write, hash, fsync, rename and rotate, which do not overlap."""
    threads = seconds["hash"] + seconds["fsync"]
    hashing = seconds["seal"] * seconds["hash"] / threads
    return {
        "gather": seconds["gather"],
        "write": seconds["parts"] - seconds["gather"],
        "hash": hashing,
        "fsync": seconds["seal"] - hashing,
        "rename": seconds["publish"],
        "rotate": seconds["rotate"],
    }


def _watch(function: Callable[..., Any], part: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def watched(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            seconds[part] += time.perf_counter() - started

    return watched
