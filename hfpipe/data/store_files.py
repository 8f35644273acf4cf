"""The files of an entry of the token store, and whether they are those of its manifest."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

IDS, STARTS, SIZES = "ids.bin", "starts.bin", "sizes.bin"
FILES = (IDS, STARTS, SIZES)
MANIFEST_FILE = "manifest.json"
_BYTES_PER_READ = 1 << 20


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
