"""The signals that stop a run, from its first moment to its last: SIGINT, SIGTERM, SIGUSR1 and SIGHUP.

From the first optimizer step to the last one a signal is only noted: the processes agree on a step and save it. At any
other moment there is nothing to save, and the process leaves where it stands, by `os._exit`.

The one decision: no exception. Whatever a run writes survives `kill -9`, so leaving at once harms nothing, whereas an
exception thrown into the middle of a library can be swallowed by it, leaves tracebacks, and needs the main thread,
which may wait for ever in a collective. A thread hears of signals through `signal.set_wakeup_fd` for that reason.
The watch is found where Python keeps it, as the handler of SIGTERM.
"""

import fcntl
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import psutil

from hfpipe.config.exit_codes import LOST, current_rank, settle, stop_code
from hfpipe.secrecy import hide

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
# A file that `hfpipe run --accelerate` keeps locked as long as it lives.
SUPERVISOR_FILE = "HFPIPE_SUPERVISOR_FILE"
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_FOR_OTHERS = 0.3
SECONDS_TO_BEGIN = 0.2

# They end when nobody is left who shares memory, and remove it; killed, they would leave it to the machine.
_CLEANERS = ("multiprocessing.resource_tracker", "torch_shm_manager")

GOES_ON = "the same command goes on from the newest checkpoint, if there is one"


def _tell_nobody(code: int, message: str) -> None:
    """Have nobody to tell: there is one process, or they have not met yet."""


def _part_from_nobody() -> None:
    """Have no group to leave."""


class SignalWatch:
    """The handler of the signals that stop a run; `received` is the first that came, else 0.

    `tell_others(code, message)` tells the other processes that this one is about to leave; 0 is to be expected.
    `leave_group()` ends the threads of their collectives. `then` is said of what comes after a stop.
    `has_met_others` once they have been asked for, reached or not: a process may open several sessions.
    """

    def __init__(self, then: str = GOES_ON) -> None:
        self.received = 0
        self.then = then
        self.tell_others: Callable[[int, str], None] = _tell_nobody
        self.leave_group: Callable[[], None] = _part_from_nobody
        self.has_met_others = False
        self._only_notes = False
        self._leaving = threading.RLock()
        self._is_leaving = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.note(number)

    def note(self, number: int) -> None:
        """Note a signal, and leave unless that is put off; a second one changes nothing."""
        self.received = self.received or number
        if self._only_notes:
            return
        self._wait_for_others()  # a launcher sends one when a process died
        self.leave(stop_code(self.received), describe_stop(self.received, self.then))

    def _wait_for_others(self) -> None:
        """Give them a moment to tell that one of them is gone, and to end this process by that."""
        if self.tell_others is not _tell_nobody:
            time.sleep(SECONDS_FOR_OTHERS)

    def put_off(self) -> None:
        """Only note signals from now on."""
        self._only_notes = True

    def take_up(self) -> None:
        """Leave at a signal again, and now if one came meanwhile."""
        self._only_notes = False
        if self.received:
            self.note(self.received)

    @contextmanager
    def noting(self) -> Iterator[Callable[[], bool]]:
        """Only note signals for as long as this lasts, and yield what tells whether one came.

        That one is answered by whoever asked: it does not end the process afterwards either.
        """
        before, only_noted = self.received, self._only_notes
        self._only_notes = True
        try:
            yield lambda: self.received != before
        finally:
            self._only_notes = only_noted or self.received != before

    def leave(self, code: int, message: str, *, speaker: int = 0) -> None:
        """End this process and what it started, wherever its threads stand, once the others are told."""
        self._leaving.acquire()  # for good: another thread stays here, and does nothing more until the process ends
        if self._is_leaving:
            return  # a signal in the middle of it
        self._is_leaving = True
        try:
            self.tell_others(code, message)
            _kill_children()
            code = settle(code, message, say=_say, speaker=speaker)
        finally:  # a process that had failed to leave would hear no further signal
            os._exit(code)


class EntryWatch(SignalWatch):
    """The watch of a whole process, as a context: signals are its until the process ends.

    Afterwards they are ignored, since nothing is left to be stopped. An error that comes through is told to the others.
    """

    def __enter__(self) -> "EntryWatch":
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        install(self)
        os.register_at_fork(after_in_child=self._let_go)
        # `hfpipe run` holds them back until there is somebody to hear them
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._wait_for_others()  # a collective fails where another process is gone, which is what is to be told
            self.tell_others(LOST, describe_failure(error))
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        os.close(self._writer)

    def _let_go(self) -> None:
        """In a forked process: be ended by SIGTERM, as its parent expects; of the others the parent decides."""
        if current_watch() is self:
            signal.set_wakeup_fd(-1)  # its other end is in the parent, which would take the signal for its own
            for number in STOPPING:
                signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)

    def _listen(self) -> None:
        """Note signals while the main thread is in code that does not return; and that nobody waits for us any more."""
        parent, look = os.getppid(), _find_supervisor()
        while True:
            ready, _, _ = select.select([self._reader], [], [], SECONDS_BETWEEN_LOOKS)
            numbers = os.read(self._reader, 64) if ready else b""
            if ready and not numbers:
                os.close(self._reader)
                return
            for number in numbers:
                if number in STOPPING:
                    self.note(number)
            if not self.received and (look() or ("TORCHELASTIC_RUN_ID" in os.environ and os.getppid() != parent)):
                self.note(signal.SIGTERM)


def install(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Give the signals to `handler` and return to whom they belonged; SIGHUP stays ignored under nohup.

    In another thread than the main one, to which Python gives them, nothing changes hands.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP]
    return {number: signal.signal(number, handler) for number in heard}


@contextmanager
def heeded_signals(then: str = GOES_ON) -> Iterator[None]:
    """Let signals end this process, with the run's exit codes, for as long as this lasts; `then` is said of it."""
    before = install(SignalWatch(then))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def unwound_at_signals() -> Iterator[None]:
    """Let signals end the block by SystemExit with the exit codes of a run, so that it removes what it has begun."""

    def unwind(number: int, frame: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)  # a second one would break off the removal
        _say("\n" + describe_stop(number, "nothing was kept"))  # behind a progress bar
        raise SystemExit(stop_code(number))

    before = install(unwind)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def current_watch() -> SignalWatch | None:
    """Return the watch of this process, None where its entry point is not ours."""
    handler = signal.getsignal(signal.SIGTERM)
    return handler if isinstance(handler, SignalWatch) else None


def describe_stop(number: int, then: str) -> str:
    """Return what is said of a run that was stopped while there was nothing to save."""
    return f"stopped by signal {number}; {then}"


def describe_failure(error: BaseException) -> str:
    """Return what the other processes say of one that ends with a traceback."""
    first = str(error).split("\n", 1)[0]
    return hide(f"process {current_rank()} ended with {type(error).__name__}: {first}; its traceback says where")


def _find_supervisor() -> Callable[[], bool]:
    """Return a function that tells whether the `hfpipe run` that started us is gone: its lock is free then."""
    path = os.environ.get(SUPERVISOR_FILE)
    if path is None or not Path(path).exists():
        return lambda: False
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def is_gone() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    return is_gone


def _kill_children() -> None:
    if psutil.Process().children():
        time.sleep(SECONDS_TO_BEGIN)  # what was just begun is a copy of this process until its own program is loaded
    for child in psutil.Process().children(recursive=True):
        try:
            if not any(name in " ".join(child.cmdline()) for name in _CLEANERS):
                child.kill()
        except psutil.Error:  # ended, or not ours to end
            continue


def _say(message: str) -> None:
    # The main thread may be in the middle of a print, which cannot be entered twice. Nobody may be left to read it.
    try:
        os.write(2, f"{message}\n".encode())
    except OSError:
        return
