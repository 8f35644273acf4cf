"""What the token store keeps on disk: its entries with size and last use, and their removal when somebody asks for it.

Nothing is ever removed by a run. A process that is at work keeps what it has mapped when an entry is removed, and an
entry that is being made is left alone; data workers that are spawned later do not find it any more.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hfpipe.data.cache_places import find_cache
from hfpipe.data.store_files import MANIFEST_FILE, TOKENS, list_folders, lock_of, read_json, staging_of
from hfpipe.data.store_writing import EntryLock
from hfpipe.records.disk import show_bytes, told_by_path
from hfpipe.records.durable import remove_folder

SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class CacheEntry:
    """The token ids of some documents; `tokens` and `documents` are None where a process is, or was, making them.

    `used` is when a run last asked for them, in seconds since 1970; a lock keeps it from being removed meanwhile.
    """

    folder: Path
    size_bytes: int
    used: float
    tokens: int | None
    documents: int | None

    def line(self, now: float) -> tuple[str, str, str, str]:
        """Return name, content, size and last use for a table."""
        days = int((now - self.used) // SECONDS_A_DAY)
        content = "not finished" if self.tokens is None else f"{self.tokens:,} tokens, {self.documents:,} documents"
        used = "used today" if days < 1 else "used yesterday" if days == 1 else f"used {days:,} days ago"
        return self.folder.name[:12], content, show_bytes(self.size_bytes), used


def find_store(cache_dir: str | None) -> Path:
    """Return the folder of all entries of runs with this setting `cache_dir`; it may not be there."""
    return find_cache(cache_dir) / TOKENS


def list_entries(store: Path) -> list[CacheEntry]:
    """Return all entries, those used last first."""
    return sorted(map(_read_entry, list_folders(store)), key=lambda entry: (-entry.used, entry.folder.name))


def _read_entry(folder: Path) -> CacheEntry:
    files = [status for each in (folder, staging_of(folder)) for status in _list_files(each)]
    manifest = read_json(folder / MANIFEST_FILE)
    used = max((status.st_mtime for status in files), default=0.0)
    size = sum(status.st_size for status in files)
    return CacheEntry(folder, size, used, manifest.get("tokens"), manifest.get("documents"))


def _list_files(folder: Path) -> Iterator[os.stat_result]:
    """Yield the state of each file of a folder, which may go at any moment: processes rename what they have made."""
    with told_by_path(folder), suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            with suppress(FileNotFoundError):
                yield path.stat()


def clear_entries(entries: Sequence[CacheEntry], *, unused_days: float = 0.0) -> Iterator[CacheEntry]:
    """Remove the entries that no run has asked for in so many days, and yield each that is gone.

    Raises:
        CheckpointError: If one cannot be removed.
    """
    latest = time.time() - unused_days * SECONDS_A_DAY
    for entry in entries:
        if entry.used <= latest and _remove(entry.folder):
            yield entry


def _remove(folder: Path) -> bool:
    """Remove an entry, unless a process is making it."""
    with told_by_path(folder), EntryLock(lock_of(folder), waits=False) as is_held:
        if is_held:
            remove_folder(staging_of(folder))
            (folder / MANIFEST_FILE).unlink(missing_ok=True)  # without it the rest counts for nothing
            remove_folder(folder)
    return is_held
