"""The files of an entry of the token store, and whether they are those of its manifest."""

import hashlib
import json
from collections.abc import Mapping
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np

IDS, STARTS, SIZES = "ids.bin", "starts.bin", "sizes.bin"
FILES = (IDS, STARTS, SIZES)
MANIFEST_FILE = "manifest.json"
TOKENS = "tokens"
_BYTES_PER_READ = 1 << 20
_PARTIAL, _LOCK = ".partial", ".lock"


def staging_of(entry: Path) -> Path:
    """Return the folder in which an entry grows."""
    return entry.with_name(f".{entry.name}{_PARTIAL}")


def lock_of(entry: Path) -> Path:
    """Return the file that is locked by who makes or removes an entry."""
    return entry.with_name(f".{entry.name}{_LOCK}")


def list_folders(store: Path) -> list[Path]:
    """Return the entries in a store by name, those among them that are not there yet but grow."""
    names = {path.name for path in store.iterdir() if path.is_dir()} if store.is_dir() else set()
    growing = {name.removeprefix(".").removesuffix(_PARTIAL) for name in names if name.endswith(_PARTIAL)}
    return [store / name for name in sorted(growing | {name for name in names if not name.startswith(".")})]


def read_json(path: Path) -> Mapping[str, Any]:
    """Return what a JSON file says, nothing where it is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def check_files(folder: Path, form: int, *, wholly: bool = False) -> bool:
    """Tell whether an entry is there with the files of its manifest: their sizes, and `wholly` their digests too."""
    manifest = read_json(folder / MANIFEST_FILE)
    if manifest.get("format") != form:
        return False
    try:
        return all(_agrees(folder / name, manifest["files"][name], wholly=wholly) for name in FILES)
    except (KeyError, TypeError, OSError):
        return False


class MappedArray(np.memmap):
    """A file as an array, mapped and not read; sent to another process it is mapped there anew, not copied."""

    def __reduce__(self) -> Any:
        """Return how to map the file; of a part of it, or of what was computed from it, the numbers."""
        is_as_read = self.ndim == 1 and self.strides == (self.itemsize,) and isinstance(self._mmap, mmap)  # type: ignore[attr-defined]
        if is_as_read and self.nbytes == len(self._mmap) and self.filename is not None:  # type: ignore[attr-defined]
            return map_file, (Path(self.filename), self.dtype)
        return np.asarray(self).__reduce__()


def map_file(path: Path, dtype: np.dtype) -> MappedArray:
    """Return a file of numbers, which must not be empty, as an array that is mapped for reading."""
    return MappedArray(path, dtype=dtype, mode="r")


def digest_file(path: Path, length: int) -> "hashlib._Hash":
    """Return the sha256 of the first `length` bytes of a file, to go on with."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while length > 0 and (content := file.read(min(length, _BYTES_PER_READ))):
            digest.update(content)
            length -= len(content)
    return digest


def _agrees(path: Path, told: Mapping[str, Any], *, wholly: bool) -> bool:
    if path.stat().st_size != told["bytes"]:
        return False
    return not wholly or digest_file(path, told["bytes"]).hexdigest() == told["sha256"]
