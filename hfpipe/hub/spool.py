"""The spool of a run: every commit that is due, recorded in its directory in order until it is on the Hub.

`<run>/.hub/000001/` is a commit: its files as they are to lie in the repository, and `entry.json`. The folder gets its
name when all of it is on the disk, so a kill leaves an entry or none. `attempt.json` says on top of which commit it was
last tried, `delivered.json` which commit it became. Weights are links: they cost space once the run removes its own.
"""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hfpipe.errors import HubError, Problem
from hfpipe.hub.prepare import Prepared
from hfpipe.hub.pushed import Pushed
from hfpipe.hub.repository import Target, Upload
from hfpipe.records.disk import free_bytes
from hfpipe.records.durable import move_folder, remove_folder, sync_file, sync_folder
from hfpipe.records.run_directory import read_json, write_json

SPOOL = ".hub"
FILES = "files"
_ENTRY, _ATTEMPT, _DELIVERED, _TROUBLE, _LOCK = "entry.json", "attempt.json", "delivered.json", "trouble.json", "lock"
_PREPARING, _REMOVING, _UNFIT = ".preparing", ".removing", "unfit-"
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True)
class Entry:
    """A commit that is due, and the folder of the spool that holds it."""

    folder: Path
    target: Target
    prepared: Prepared
    is_final: bool

    @property
    def step(self) -> int:
        """The step whose weights it holds."""
        return self.prepared.step

    @property
    def title(self) -> str:
        """What it is called on the Hub."""
        return self.prepared.upload.message

    @property
    def is_delivered(self) -> bool:
        """Whether it is on the Hub."""
        return (self.folder / _DELIVERED).is_file()

    def count_bytes(self) -> int:
        """Return the size of its files."""
        return sum(path.stat().st_size for path in (self.folder / FILES).rglob("*") if path.is_file())

    def holds_weights_alone(self) -> bool:
        """Tell whether there are weights that nothing but the spool keeps on the disk any more."""
        return any(path.stat().st_nlink == 1 for path in (self.folder / FILES).rglob("*.safetensors"))


@dataclass(frozen=True)
class Trouble:
    """Why the oldest entry is not delivered yet. A refusal is the user's to mend; anything else may pass."""

    title: str
    problems: tuple[str, ...]
    is_refusal: bool


@dataclass(frozen=True)
class Spool:
    """The spool of the run in `run_dir`; one process records in it, and the one that holds its lock delivers."""

    run_dir: Path

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.run_dir / SPOOL

    def open(self) -> bool:
        """Make the spool, and remove what a kill left unfinished; return whether there was one."""
        was_there = self.folder.is_dir()
        self.folder.mkdir(exist_ok=True)
        for name in (_PREPARING, _REMOVING):
            remove_folder(self.folder / name)
        return was_there

    def place_to_prepare(self) -> Path:
        """Return the folder to put the files of the next entry into; it is free."""
        self.folder.mkdir(exist_ok=True)
        remove_folder(self.folder / _PREPARING)
        return self.folder / _PREPARING / FILES

    def record(self, prepared: Prepared, target: Target, *, is_final: bool = False) -> Entry:
        """Record what was prepared in `place_to_prepare()` as the newest entry, durably, and return it.

        Raises:
            OSError, CheckpointError: If it cannot be written, as on a full disk; the spool is as it was then.
        """
        folder = self.folder / f"{max(self._numbers(), default=0) + 1:06d}"
        about = {
            "target": asdict(target),
            "upload": {**prepared.upload.to_json(), "folder": FILES},
            "step": prepared.step,
            "is_final": is_final,
            "private_card": prepared.private_card,
            "public_card": prepared.public_card,
        }
        preparing = self.folder / _PREPARING
        write_json(preparing / _ENTRY, about)
        for path in sorted((preparing / FILES).rglob("*"), reverse=True):
            (sync_folder if path.is_dir() else sync_file)(path)
        sync_folder(preparing / FILES)
        move_folder(preparing, folder, last=_ENTRY)
        return _read_entry(folder)

    def discard_preparing(self) -> None:
        """Remove what was being prepared: it cannot be recorded."""
        shutil.rmtree(self.folder / _PREPARING, ignore_errors=True)

    def list_entries(self) -> list[Entry]:
        """Return all entries, oldest first, those too that are delivered and not settled yet.

        Raises:
            CheckpointError: If an entry cannot be read.
        """
        folders = [self.folder / f"{number:06d}" for number in self._numbers()]
        return [_read_entry(folder) for folder in folders if (folder / _ENTRY).is_file()]

    def list_pending(self) -> list[Entry]:
        """Return the entries that are not delivered, oldest first.

        Raises:
            CheckpointError: As `list_entries`.
        """
        return [entry for entry in self.list_entries() if not entry.is_delivered]

    def find_parent(self, entry: Entry) -> str | None:
        """Return the commit on top of which the entry was last tried; None where it never was."""
        path = entry.folder / _ATTEMPT
        return str(read_json(path)["parent"]) if path.is_file() else None

    def note_attempt(self, entry: Entry, parent: str) -> None:
        """Write down, before the commit is asked for, on top of which one it is to be."""
        write_json(entry.folder / _ATTEMPT, {"parent": parent})

    def note_delivered(self, entry: Entry, pushed: Pushed) -> None:
        """Write down that the entry is on the Hub."""
        write_json(entry.folder / _DELIVERED, asdict(pushed))
        with suppress(OSError):
            (self.folder / _TROUBLE).unlink(missing_ok=True)

    def read_delivered(self, entry: Entry) -> Pushed:
        """Return the commit that a delivered entry became."""
        return Pushed(**read_json(entry.folder / _DELIVERED))

    def note_trouble(self, trouble: Trouble) -> None:
        """Write down why the oldest entry is not delivered."""
        write_json(self.folder / _TROUBLE, asdict(trouble))

    def read_trouble(self) -> Trouble | None:
        """Return why the oldest entry is not delivered, None where nothing is known."""
        path = self.folder / _TROUBLE
        return _read_trouble(path) if path.is_file() else None

    def set_unfit_aside(self, entry: Entry, problems: Sequence[str]) -> Path:
        """Move an entry that must not travel out of the way of the others, and return where it lies now."""
        write_json(entry.folder / _TROUBLE, asdict(Trouble(entry.title, tuple(problems), is_refusal=True)))
        target = entry.folder.with_name(_UNFIT + entry.folder.name)
        remove_folder(target)
        return entry.folder.rename(target)

    def list_unfit(self) -> list[tuple[Path, Trouble]]:
        """Return where entries lie that must not travel, with the reasons."""
        folders = sorted(self.folder.glob(f"{_UNFIT}*"))
        return [(folder, _read_trouble(folder / _TROUBLE)) for folder in folders if (folder / _TROUBLE).is_file()]

    def make_room(self, needed: int) -> list[Entry]:
        """Give up the oldest entries until `needed` bytes are free, and return them.

        Only those that free something, and not the first one, which may be on its way.
        """
        given_up = []
        for entry in self.list_pending()[1:]:
            if free_bytes(self.folder) >= needed:
                break
            if not entry.is_final and entry.holds_weights_alone():
                self.remove(entry)
                given_up.append(entry)
        return given_up

    def remove(self, entry: Entry) -> None:
        """Remove an entry, at once for whoever looks."""
        remove_folder(self.folder / _REMOVING)
        with suppress(FileNotFoundError):
            shutil.rmtree(entry.folder.rename(self.folder / _REMOVING))

    def close(self) -> None:
        """Remove the spool if nothing waits in it: a run that is done needs none."""
        if self.folder.is_dir() and not self._numbers() and not list(self.folder.glob(f"{_UNFIT}*")):
            shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def hold(self, *, waits: bool = False) -> Iterator[None]:
        """Hold the lock of whoever delivers; it ends with the process, however that ends.

        Raises:
            HubError: If another process holds it, unless this one `waits` for it.
        """
        self.folder.mkdir(exist_ok=True)
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, self.run_dir, waits=waits)
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _numbers(self) -> list[int]:
        try:
            names = [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if re.fullmatch(r"\d{6,}", name))


def count_bytes(entries: Sequence[Entry]) -> int:
    """Return the size of the files of several entries."""
    return sum(entry.count_bytes() for entry in entries)


def _read_entry(folder: Path) -> Entry:
    about: dict[str, Any] = read_json(folder / _ENTRY)
    upload = Upload.from_json({**about["upload"], "folder": folder / FILES})
    prepared = Prepared(upload, about["step"], about["private_card"], about["public_card"])
    return Entry(folder, Target(**about["target"]), prepared, about["is_final"])


def _read_trouble(path: Path) -> Trouble:
    known = read_json(path)
    return Trouble(known["title"], tuple(known["problems"]), known["is_refusal"])


def _lock(descriptor: int, run_dir: Path, *, waits: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        process = os.pread(descriptor, 20, 0).decode(errors="replace") or "another"
        rule = f"process {process} is delivering what is pending"
        raise HubError(Problem(str(run_dir), rule=rule, remedy="let it finish, or end it")) from None
    except OSError as error:
        # without locks two that deliver at once still make no commit twice: each names the one it goes on top of
        if error.errno not in _NO_LOCKS:
            raise
