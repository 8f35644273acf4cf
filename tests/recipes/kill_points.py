"""Every change that a run makes to its directory as a place to be killed, or to find the disk full.

An audit hook waits for the save in question, or for the end of the run, and switches `sys.setprofile` on there. After
each C function that can write (Rust's included) the directory is compared with what it was: what differs is an event,
whatever the function was given. A counting run lists the events; a trial then acts at one of them: what was just
written stays whole or is cut to half or nothing, and processes get SIGKILL; or the disk is filled.
"""

import contextlib
import functools
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple

Part = Literal["start", "save", "end"]
Mode = Literal["whole", "half", "empty"]
MODES: tuple[Mode, ...] = ("whole", "half", "empty")

WRITERS = frozenset(
    (
        *("open", "mkdir", "mkstemp", "write", "writelines", "flush", "close", "__exit__", "truncate", "ftruncate"),
        *("fsync", "rename", "replace", "link", "symlink", "unlink", "remove", "rmdir", "chmod", "posix_fallocate"),
        *("serialize_file", "save", "sendfile", "copy_file_range", "pwrite", "writev", "fdatasync", "sync"),
    )
)
SAVE = "_save_checkpoint"
PATIENCE_S = 5.0
# Of the audit hook, which runs before the folder is made, and of those that make it.
RETURNS_TO_OPEN = 6


class Entry(NamedTuple):
    """What a file or folder looks like from outside."""

    inode: int
    size: int
    changed_ns: int
    is_folder: bool


Listing = Mapping[str, Entry]


@dataclass(frozen=True)
class Window:
    """A stretch of a run: before the first save, the save of `step`, or what follows it to the end.

    `before` is the step saved before `step`: other processes than the first, which make no folder, watch from there.
    `staging` begins the name of the folder that a checkpoint is written into.
    """

    folder: Path
    part: Part
    step: int
    before: int
    staging: str = ".writing-"


@dataclass(frozen=True)
class Event:
    """A C function changed the directory: `written` are files with the size they had before, `moved` names only."""

    function: str
    written: Mapping[str, int] = field(default_factory=dict)
    moved: Sequence[str] = ()
    removed: Sequence[str] = ()

    def __str__(self) -> str:
        """Return it as a line, without what is random in names."""
        parts = (("wrote", [*self.written]), ("moved", self.moved), ("removed", self.removed))
        told = "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts if names)
        return f"{self.function}: {stable_name(told)}"


@dataclass(frozen=True)
class Kill:
    """At event `number` of the process `watcher`, leave the file as `mode` says and kill the `victims`, by rank."""

    number: int
    mode: Mode = "whole"
    watcher: int = 0
    victims: tuple[int, ...] = (0,)


def stable_name(name: str) -> str:
    """Return a name without the random letters of a temporary file."""
    return re.sub(r"(\.\w[\w.-]*\.\w+)\.[a-z0-9_]{8}\b", r"\1.*", name)


def record_events(window: Window, log: Path) -> None:
    """In a trial: write each event of the window as a line of `log`, which gets the rank as a suffix."""
    _Watch(window, functools.partial(_log_event, log.with_suffix(f".{_rank()}"))).begin()


def kill_at(window: Window, kill: Kill, meeting: Path) -> None:
    """In a trial: kill as told; processes find each other by files in `meeting`."""
    (meeting / f"pid_{_rank()}").write_text(str(os.getpid()))
    if _rank() == kill.watcher:
        _Watch(window, functools.partial(_kill, window.folder, kill, meeting)).begin()


def act_at(window: Window, number: int, act: Callable[[], None]) -> None:
    """In a trial: call `act` after event `number` of the first process, or before anything of the window for 0."""
    if _rank() == 0:
        _Watch(window, lambda count, event: act() if count == number else None).begin()


def read_events(log: Path) -> list[Event]:
    """Return what `record_events` wrote."""
    return [Event(**json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()]


def list_points(events: Sequence[Event]) -> list[tuple[int, Mode]]:
    """Return each event's number with each way to leave what it wrote; names that moved are whole or not there."""
    return [
        (number, mode)
        for number, event in enumerate(events, start=1)
        for mode in MODES
        if mode == "whole" or event.written
    ]


class _Watch:
    """Compares the directory before and after each function that may write, from the window's begin to its end."""

    def __init__(self, window: Window, act: Callable[[int, Event], None]) -> None:
        self._window = window
        self._act = act
        self._count = 0
        self._returns = RETURNS_TO_OPEN
        self._lock = threading.Lock()
        self._seen: Listing | None = None
        self._is_open = window.part == "start" or (window.part == "save" and _rank() == 0)
        # what happens when this save and the following ones have ended
        self._at_saves: list[Callable[[], None]] = [self._open] * (not self._is_open) + [self._stop]

    def begin(self) -> None:
        """Wait for the window."""
        if self._window.part == "start":
            self._returns = 0
            self._profile()
        sys.addaudithook(self._audit)

    def _audit(self, name: str, arguments: tuple[Any, ...]) -> None:
        mark = f"/{self._window.staging}"
        if name not in ("os.mkdir", "open") or mark not in str(arguments[0]):
            return
        step = int(str(arguments[0]).partition(mark)[2].split("/")[0])
        if self._window.part == "start":
            self._stop()
        elif step == (self._window.step if _rank() == 0 else self._window.before) and self._seen is None:
            self._profile()

    def _profile(self) -> None:
        self._seen = list_entries(self._window.folder)
        if self._is_open:
            self._act(0, Event("begin"))
        threading.setprofile(self._called)
        sys.setprofile(self._called)

    def _open(self) -> None:
        self._returns = 0
        self._seen = list_entries(self._window.folder)
        self._is_open = True
        self._act(0, Event("begin"))

    def _stop(self) -> None:
        self._is_open = False
        threading.setprofile(None)
        sys.setprofile(None)

    def _called(self, frame: FrameType, what: str, function: Any) -> None:
        if what == "return" and frame.f_code.co_name == SAVE:
            self._at_saves.pop(0)()
        elif self._is_open and (self._is_opening(what) or is_writer(what, function)):
            with self._lock:
                self._compare(frame.f_code.co_name if what == "return" else function.__name__)

    def _is_opening(self, what: str) -> bool:
        """Tell whether a Python function returns from making the folder that opened the window, or close to it."""
        self._returns -= what == "return"
        return what == "return" and self._returns >= 0

    def _compare(self, function: str) -> None:
        now = list_entries(self._window.folder)
        event = find_event(function, self._seen or {}, now)
        self._seen = now
        if event.written or event.moved or event.removed:
            self._count += 1
            self._act(self._count, event)


def is_writer(what: str, function: Any) -> bool:
    """Tell whether a C function that may write has returned."""
    return what == "c_return" and function.__name__ in WRITERS


def find_event(function: str, before: Listing, after: Listing) -> Event:
    """Return what is different after `function`, of what belongs to this process; the content of folders goes along."""
    known = {entry.inode: name for name, entry in before.items()}
    written: dict[str, int] = {}
    moved: list[str] = []
    for name in sorted(name for name in after if _is_own(name) and after[name] != before.get(name)):
        entry, old = after[name], before.get(name)
        if entry.is_folder or known.get(entry.inode, name) != name:
            moved += [name] * (old is None or old.inode != entry.inode)
        else:
            has_grown = old is not None and old.inode == entry.inode and entry.size > old.size
            written[name] = old.size if old is not None and has_grown else 0
    gone = [name for name in sorted(before.keys() - after.keys()) if _is_own(name)]
    return Event(function, written, _topmost(moved), _topmost(gone))


def list_entries(folder: Path) -> Listing:
    """Return everything below `folder` by its name there; what vanishes meanwhile is left out."""
    found: dict[str, Entry] = {}
    _add_entries(str(folder), "", found)
    return found


def _add_entries(folder: str, prefix: str, found: dict[str, Entry]) -> None:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            with contextlib.suppress(FileNotFoundError):
                seen = entry.stat(follow_symlinks=False)
                is_folder = entry.is_dir(follow_symlinks=False)
                found[name] = Entry(seen.st_ino, 0 if is_folder else seen.st_size, seen.st_mtime_ns, is_folder)
                if is_folder:
                    _add_entries(entry.path, name + "/", found)


def _is_own(name: str) -> bool:
    """Tell whether a file is this process's: those of the others end in their number."""
    found = re.search(r"_(\d+)\.(?:json|safetensors)", name)
    return (int(found[1]) if found else 0) == _rank()


def _topmost(names: Sequence[str]) -> list[str]:
    return [name for name in names if not any(name.startswith(f"{other}/") for other in names)]


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _log_event(log: Path, count: int, event: Event) -> None:
    if count:
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(event)) + "\n")


def _kill(folder: Path, kill: Kill, meeting: Path, count: int, event: Event) -> None:
    if count != kill.number:
        return
    for name, size_before in event.written.items():
        if kill.mode != "whole":
            added = (folder / name).stat().st_size - size_before
            os.truncate(folder / name, size_before + (added // 2 if kill.mode == "half" else 0))
    for rank in sorted(kill.victims, key=lambda rank: rank == _rank()):
        with contextlib.suppress(ProcessLookupError):  # one that has nothing more to do may have ended
            os.kill(_pid_of(rank, meeting), signal.SIGKILL)


def _pid_of(rank: int, meeting: Path) -> int:
    path, deadline = meeting / f"pid_{rank}", time.monotonic() + PATIENCE_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"process {rank} has not begun"
        time.sleep(0.01)
    return int(path.read_text())
