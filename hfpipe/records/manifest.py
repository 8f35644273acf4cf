"""The manifest of a checkpoint: each file with its size and SHA-256, written last, when all of them are on the disk.

A folder without a manifest that verifies is no checkpoint. It is read strictly: its bytes must be the ones this module
writes, and carry their own hash, so that a flipped bit in the manifest itself is found like one in the weights. Left
out are files whose names begin with a dot, `Thumbs.db` and `desktop.ini`: desktops and network file systems put such
anywhere.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hfpipe.errors import Problem
from hfpipe.records.disk import show_bytes
from hfpipe.records.durable import sync_file, sync_folder, write_whole

logger = logging.getLogger(__name__)

MANIFEST_FILE = "manifest.json"
MANIFEST_FORMAT = "hfpipe checkpoint 1"

MANIFEST_MISSING = "is missing: the checkpoint was not finished, or a version of hfpipe without manifests wrote it"

_LEFT_BY_WINDOWS = ("thumbs.db", "desktop.ini")
_BUFFER_BYTES = 1 << 20
_THREADS = 4
# About 2 s on one core that has no instructions for SHA-256.
BYTES_WORTH_A_LINE = 500_000_000


@dataclass(frozen=True)
class Stamp:
    """What a checkpoint is of: the step, rows trained on, processes, rows of a step, and the run's fingerprint."""

    step: int
    samples: int
    world_size: int
    rows_per_step: int
    config: str


@dataclass(frozen=True)
class FileRecord:
    """A file as it was written."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a sealed folder says of itself."""

    stamp: Stamp
    files: Mapping[str, FileRecord]

    def render(self) -> bytes:
        """Return the bytes of the file."""
        files = {name: asdict(record) for name, record in sorted(self.files.items())}
        stated: dict[str, object] = {"format": MANIFEST_FORMAT, **asdict(self.stamp), "files": files}
        own = hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()
        return (json.dumps({**stated, "sha256": own}, indent=1) + "\n").encode()


def fingerprint(settings: Mapping[str, object], *, change_of: Callable[[str], str]) -> str:
    """Return the hash of the settings that make a run this one and no other.

    Of a path the last name counts: the run may have been moved, or go on on another machine, and the content of files
    is compared by other means. Settings without a value are left out, so a later version may know more of them.
    """
    own = {key: _named(value) for key, value in settings.items() if value is not None and change_of(key) == "identity"}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def seal(folder: Path, stamp: Stamp) -> Manifest:
    """Put every file of `folder` on the disk, hashed, then its manifest, and return that."""
    names = list(list_files(folder))
    with ThreadPoolExecutor(_thread_count()) as pool:
        found = pool.map(lambda name: _sync_and_hash(folder / name), names)
        manifest = Manifest(stamp, dict(zip(names, found, strict=True)))
    for inner in {(folder / name).parent for name in names} - {folder}:
        sync_folder(inner)
    sync_folder(folder)
    write_whole(folder / MANIFEST_FILE, manifest.render())
    return manifest


def read_manifest(folder: Path) -> Manifest | Problem:
    """Return the manifest of `folder`, or what is wrong with it."""
    path = folder / MANIFEST_FILE
    try:
        content = path.read_bytes()
        stated = json.loads(content)
    except FileNotFoundError:
        return Problem(str(path), rule=MANIFEST_MISSING)
    except OSError as error:
        return Problem(str(path), rule=f"cannot be read ({error.strerror})")
    except ValueError as error:  # bad JSON and bad UTF-8 alike
        return Problem(str(path), rule=f"is not JSON ({error})")
    found = stated.get("format") if isinstance(stated, dict) else None
    if found != MANIFEST_FORMAT:
        shown = "" if found is None else repr(found)
        return Problem(str(path), shown, f"is not in the format '{MANIFEST_FORMAT}'")
    manifest = _parse(stated)
    if manifest is None or manifest.render() != content:
        return Problem(str(path), rule="is not as it was written: its own sha256 differs")
    return manifest


def find_damage(folder: Path, *, step: int | None = None, config: str | None = None) -> list[Problem]:
    """Return what is wrong with the checkpoint in `folder`; nothing if it is as it was written.

    `step` is the one that its place names; `config` the fingerprint of the run that it has to be of.
    """
    manifest = read_manifest(folder)
    if isinstance(manifest, Problem):
        return [manifest]
    total = sum(record.size_bytes for record in manifest.files.values())
    if total > BYTES_WORTH_A_LINE:
        logger.info("checking %s: %s", folder, show_bytes(total))
    return [*_find_strangers(folder, manifest, step=step, config=config), *_compare_files(folder, manifest)]


def list_files(folder: Path) -> Iterator[str]:
    """Yield the files below `folder` that a manifest speaks of, by their names in it, sorted."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    shown = (name.as_posix() for name in names if not any(_is_of_a_desktop(part) for part in name.parts))
    yield from sorted(name for name in shown if name != MANIFEST_FILE)


def _is_of_a_desktop(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFT_BY_WINDOWS


def hash_file(path: Path) -> FileRecord:
    """Return size and SHA-256 of a file."""
    digest, size, buffer = hashlib.sha256(), 0, bytearray(_BUFFER_BYTES)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
            size += count
    return FileRecord(size, digest.hexdigest())


def _sync_and_hash(path: Path) -> FileRecord:
    # the disk writes while the processor hashes: what was started here is waited for below
    record = hash_file(path)
    sync_file(path)
    return record


def _find_strangers(folder: Path, manifest: Manifest, *, step: int | None, config: str | None) -> Iterator[Problem]:
    path, stamp = str(folder / MANIFEST_FILE), manifest.stamp
    if step is not None and stamp.step != step:
        yield Problem(path, f"step {stamp.step:,}", f"the folder is named after step {step:,}")
    if config is not None and stamp.config != config:
        yield Problem(path, rule="a run of other settings wrote it")
    for name in list_files(folder):
        if name not in manifest.files:
            yield Problem(str(folder / name), rule="is not part of the checkpoint")


def _compare_files(folder: Path, manifest: Manifest) -> list[Problem]:
    with ThreadPoolExecutor(_thread_count()) as pool:
        found = pool.map(lambda item: _compare(folder / item[0], item[1]), manifest.files.items())
        return [problem for problem in found if problem is not None]


def _compare(path: Path, record: FileRecord) -> Problem | None:
    try:
        size = path.stat().st_size
        if size != record.size_bytes:
            return Problem(str(path), f"{size:,} bytes", f"{record.size_bytes:,} were written")
        if hash_file(path) != record:
            return Problem(str(path), rule="its content is not what was written")
    except FileNotFoundError:
        return Problem(str(path), rule="is missing")
    except OSError as error:
        return Problem(str(path), rule=f"cannot be read ({error.strerror})")
    return None


def _parse(stated: Mapping[str, Any]) -> Manifest | None:
    """Return what the JSON of a manifest says; None unless it is made of the right parts."""
    try:
        stamp = Stamp(**{name: stated[name] for name in Stamp.__dataclass_fields__})
        files = {name: FileRecord(**record) for name, record in stated["files"].items()}
    except (AttributeError, KeyError, TypeError):
        return None
    numbers = (
        stamp.step,
        stamp.samples,
        stamp.world_size,
        stamp.rows_per_step,
        *(each.size_bytes for each in files.values()),
    )
    texts = (stamp.config, *(each.sha256 for each in files.values()))
    is_sound = all(type(each) is int for each in numbers) and all(type(each) is str for each in texts)
    return Manifest(stamp, files) if is_sound and all(_is_inside(name) for name in files) else None


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name


def _named(value: object) -> object:
    if isinstance(value, str):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    if isinstance(value, Mapping):
        return {str(key): _named(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_named(each) for each in value]
    return value


def _thread_count() -> int:
    return min(_THREADS, os.cpu_count() or 1)
