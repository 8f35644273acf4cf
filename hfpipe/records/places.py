"""JSON for other people's eyes: folders of this machine taken out of it.

A path says who works where. What is needed of it, the last name, stays.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_FILE_KEYS = ("train_file", "validation_file", "test_file")
_PLACES = ("output_dir", "cache_dir", "resume_from_checkpoint", "logging_dir", "_name_or_path", "name_or_path")
# '/srv/me/x', '~/x', './x', '..\x', 'C:\x'; a token such as '/think' is no path
_LOCAL = re.compile(r"(?:/[^/\n]+/|~[^/\n]*/|\.{1,2}[/\\]|\\\\|[A-Za-z]:[/\\])[^\n]*")


def scrub(value: Any, key: str = "") -> Any:
    """Return JSON with each path of this machine cut to its last name, and without fields that are places."""
    if isinstance(value, Mapping):
        return {name: scrub(each, name) for name, each in value.items() if name not in _PLACES}
    if isinstance(value, list | tuple):
        return [scrub(each, key) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no other word for it
    if isinstance(value, str) and (key in _FILE_KEYS or _LOCAL.fullmatch(value) or _is_here(value)):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value


def shorten_names(names: Sequence[str]) -> list[str]:
    """Return each path as its last parts, as few as tell it from the others; doing so twice changes nothing."""
    parts = [tuple(part for part in re.split(r"[/\\]", name) if part) for name in names]
    return ["/".join(_shortest_tail(own, parts)) for own in parts]


def _shortest_tail(own: tuple[str, ...], others: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    tails = (own[-length:] for length in range(1, len(own)))
    return next((tail for tail in tails if sum(other[-len(tail) :] == tail for other in others) == 1), own)


def _is_here(value: str) -> bool:
    """Tell whether `value` is the path of something that exists; a plain name is no path."""
    return "/" in value and len(value) < 1_000 and "\n" not in value and Path(value).expanduser().exists()
