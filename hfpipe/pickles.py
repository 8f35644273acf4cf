"""What pickle looks like, by name and by content: reading it runs whatever code is in it.

Nothing here or elsewhere in hfpipe reads one. `torch.load(weights_only=True)` is no way around it: it was got around
twice (CVE-2025-32434, CVE-2026-24747).
"""

from pathlib import Path

from hfpipe.errors import Problem

SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".npz", ".joblib", ".distcp")
"""Formats that are pickle, or may hold one: object arrays of NumPy do."""

# pickles begin with their protocol, files of torch.save are archives
_STARTS = (*(bytes([0x80, protocol]) for protocol in range(1, 6)), b"PK\x03\x04")
RULE = "is pickle by its format, and reading one can run any code it carries"


def is_named_so(name: str) -> bool:
    """Tell whether a file of this name is pickle or may hold one."""
    return name.lower().endswith(SUFFIXES)


def begins_so(content: bytes) -> bool:
    """Tell whether a file that begins with `content` is a pickle, whatever its name."""
    return content.startswith(_STARTS)


def find_pickled(folder: Path) -> list[str]:
    """Return the files in `folder` and its subfolders that are pickle by their names, sorted, as relative paths."""
    found = (path for path in folder.rglob("*") if is_named_so(path.name) or path.name == ".metadata")
    return sorted(path.relative_to(folder).as_posix() for path in found if path.is_file())


def find_state_problem(folder: Path) -> Problem | None:
    """Return the refusal of a checkpoint whose state is pickled, as Trainer, FSDP and DeepSpeed write it; else None."""
    pickled = find_pickled(folder)
    if not pickled:
        return None
    others = f" and {len(pickled) - 1:,} more" if len(pickled) > 1 else ""
    rule = f"its state is pickled ({pickled[0]}{others}), which is not read: pickle can run any code"
    remedy = "finish the run with what wrote it, or begin a new one from its weights by model_name_or_path"
    return Problem(str(folder), rule=rule, remedy=remedy)
