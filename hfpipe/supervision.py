"""Following a launcher and the processes it starts: their signals, their end, their exit code.

Signals go to the recipe's processes themselves, each once, as soon as it has handlers for them; the launcher hears
none of them: torch's kills its processes some time after a signal and exits with 1. A process that has left for good
is not waited for in vain by the others. A launcher that dies, and the end of this process itself, are noticed by the
recipe's processes (`stopping`).

The one decision: processes are looked up by the system (psutil), since a launcher that is not ours has them as its own
children.
"""

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import psutil

from hfpipe.config.exit_codes import EXIT_CODE_FILE, STOPPED, read_code, stop_code
from hfpipe.config.stopping import SUPERVISOR_FILE, install

# A terminal that is closed ends the run as `kill` does: saved at the end of the step.
FORWARDED = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGUSR1,
    signal.SIGHUP: signal.SIGTERM,
}
# Read by torch's launcher, for signals that reach it past us (Slurm sends them to every process). It would die of
# SIGUSR1, and leave a save 30 seconds.
LAUNCHER_SETTINGS = {
    "PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
    "PET_SHUTDOWN_TIMEOUT": "600",
}

# Processes that start again meet in a store of their own. torch's launcher (2.13) would hand them that of those before
# them, with the addresses of the dead, and gloo tries these until its time is up.
RESTART_SETTINGS = {"PET_STANDALONE": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}

POLL_SECONDS = 0.1
SECONDS_BETWEEN_SEARCHES = 1.0
# Processes that leave together do so within a second or two; before they have met, one that left is waited for in vain.
GRACE_SECONDS = 12.0


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, and the first signal that was to stop it, 0 where none came.

    One that comes when there is nothing left to be stopped changes no code.
    """

    code: int
    signal: int = 0


@dataclass
class Followed:
    """A launcher and the processes of the recipe it has started, with how many of the `signals` each was sent."""

    launcher: "subprocess.Popen[bytes]"
    recipe: Path
    signals: Sequence[int]
    processes: dict[psutil.Process, int] = field(default_factory=dict)
    has_started: bool = False
    is_told: bool = False
    searched_at: float = 0.0

    @property
    def is_running(self) -> bool:
        """Whether the launcher runs, or processes that outlived it, saving."""
        return self.launcher.poll() is None or bool(self.processes)

    def send(self) -> None:
        """Send each process what it was not sent yet; the launcher is ended where it has started none."""
        is_due = any(sent < len(self.signals) for sent in self.processes.values())
        if is_due or self.launcher.poll() is not None or time.monotonic() - self.searched_at > SECONDS_BETWEEN_SEARCHES:
            self._search()
        for process, sent in self.processes.items():
            if sent < len(self.signals) and _hears(process.pid, self.signals[sent]):
                self.processes[process] = sent + 1
                _signal(process, self.signals[sent])
        if self.signals and not self.has_started and not self.is_told:
            self._search()
            if not self.has_started:
                self.tell_launcher()

    def tell_launcher(self) -> None:
        """End the launcher, once: told again while it shuts down it leaves without its processes."""
        self.is_told = True
        self.launcher.terminate()

    def _search(self) -> None:
        self.searched_at = time.monotonic()
        known = dict.fromkeys(_recipe_processes(self.launcher.pid, self.recipe), 0) | self.processes
        self.has_started = self.has_started or bool(known)
        self.processes = {process: sent for process, sent in known.items() if _is_alive(process)}


def supervise(command: Sequence[str], environment: Mapping[str, str], *, recipe: Path) -> Ended:
    """Run a launcher that starts processes of `recipe`, `environment` added to ours, and return how the run ended."""
    with _held_file() as own_file, _heard_signals() as signals:
        code_file = own_file.with_name("exit_code")
        told = {**environment, EXIT_CODE_FILE: str(code_file), SUPERVISOR_FILE: str(own_file)}
        launcher = _start(command, told)
        followed = Followed(launcher, recipe, signals)
        wait(followed, code_file)
        code = find_exit_code(launcher.returncode, code_file, signals, is_told=followed.is_told)
        return Ended(code, signals[0] if signals else 0)


def follow(command: Sequence[str], environment: Mapping[str, str]) -> Ended:
    """Run a recipe as one process, `environment` added to ours, and return how it ended.

    It hears each signal once, as soon as it has handlers for it.
    """
    with _held_file() as own_file, _heard_signals() as signals:
        process = _start(command, {**environment, SUPERVISOR_FILE: str(own_file)})
        sent = 0
        while process.poll() is None:
            if sent < len(signals) and _hears(process.pid, signals[sent]):
                process.send_signal(signals[sent])
                sent += 1
            time.sleep(POLL_SECONDS)
        code = process.returncode
        return Ended(128 - code if code < 0 else code, signals[0] if signals else 0)


def wait(followed: Followed, code_file: Path) -> None:
    """Return when launcher and processes have ended; where one left long ago, end the others that wait for it."""
    left_at: float | None = None
    while followed.is_running:
        followed.send()
        if read_code(code_file) is None:
            left_at = None
        elif left_at is None:
            left_at = time.monotonic()
        elif not followed.is_told and time.monotonic() - left_at > GRACE_SECONDS:
            followed.tell_launcher()
        time.sleep(POLL_SECONDS)


def find_exit_code(launcher_code: int, code_file: Path, signals: Sequence[int], *, is_told: bool) -> int:
    """Return the recipe's own exit code where it left one, else what is known from the launcher's.

    A launcher that fails untold has lost a process, and has stopped the others by a signal of its own.
    """
    left = read_code(code_file)
    is_lost = launcher_code != 0 and not signals and not is_told
    if left is not None and not (is_lost and left in STOPPED):
        return left
    if launcher_code != 0 and signals:
        return stop_code(signals[0])
    return 128 - launcher_code if launcher_code < 0 else launcher_code


@contextmanager
def _held_file() -> Iterator[Path]:
    """Yield a file, in a folder of its own, that is locked as long as this lasts or this process lives."""
    with tempfile.TemporaryDirectory(prefix="hfpipe-") as folder, (Path(folder) / "supervisor").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(lock.name)


def _start(command: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    # A session of its own: Ctrl-C at a terminal reaches the whole foreground group, and what is started must not
    # hear it before the recipe has its handlers, nor a launcher before the recipe has saved.
    return subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)


@contextmanager
def _heard_signals() -> Iterator[list[int]]:
    """Yield the list to which signals that are to be sent on are added."""
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(FORWARDED[signal.Signals(number)])

    before = install(hear)
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _recipe_processes(launcher_pid: int, recipe: Path) -> list[psutil.Process]:
    """Return the launcher's children that run `recipe`. Their own children, such as data workers, are theirs."""
    try:
        children = psutil.Process(launcher_pid).children()
    except psutil.NoSuchProcess:
        return []
    return [child for child in children if str(recipe) in _command_line(child)]


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # ended, or not ours to look at
        return []


def _hears(pid: int, number: int) -> bool:
    """Tell whether a process has a handler for a signal, as Linux shows it; Python itself has one for SIGINT alone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return True
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
    # before the entry point has its handlers, Python's own for SIGINT would end it with a traceback
    return all(caught >> (each - 1) & 1 for each in (number, signal.SIGTERM))


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:  # it ended just now
        return


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
