"""Variants take turns, each in a process of its own that works when it is told to and waits otherwise.

In turns, because on a shared machine a minute is not like the next one. In processes, because hfpipe has the C library
keep freed memory, which would make the plain side faster too, and because memory at its peak belongs to a process.
Each turn is timed by wall and by the processor time of all threads of the process.
"""

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import torch

from bench.machine import has_nvidia_device
from bench.quiet import quiet_libraries, silence
from hfpipe.errors import HfpipeError

_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Sample:
    """One turn: seconds by wall and of processors, and what was done in it."""

    wall: float
    cpu: float
    work: float


@dataclass
class Record:
    """All turns of a player, the first ones being warm-up, and what it told of itself at its end."""

    name: str
    warm_up: int
    samples: list[Sample] = field(default_factory=list)
    peak_bytes: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def counted(self) -> list[Sample]:
        """The turns behind the warm-up."""
        return self.samples[self.warm_up :]


class Turn:
    """What a player times its turns with; `facts` are handed over when it has ended."""

    def __init__(self, connection: "Connection[Any, Any]", parent: int) -> None:
        self.facts: dict[str, Any] = {}
        self._connection = connection
        self._parent = parent
        self._began = (0.0, 0.0)

    def begin(self) -> None:
        """Wait until it is this player's turn, and start the clocks."""
        self._connection.send(None)
        while not self._connection.poll(_SECONDS_BETWEEN_LOOKS):
            if os.getppid() != self._parent:
                os._exit(1)
        self._connection.recv()
        self._began = (time.perf_counter(), time.process_time())

    def end(self, work: float) -> None:
        """Stop the clocks, once an accelerator has done what it was given."""
        if _uses_cuda():
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        self._connection.send(Sample(wall, cpu, work))


@dataclass(frozen=True)
class Player:
    """A variant: `play` builds what it needs, then takes turns until it has enough. It is pickled where CUDA is."""

    name: str
    play: Callable[[Turn], None]


@dataclass(frozen=True)
class _Ended:
    peak_bytes: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Seat:
    """The parent's end of a player."""

    record: Record
    process: Any
    connection: "Connection[Any, Any]"

    def hear(self) -> Any:
        """Return what the player says next; where it has died, end here."""
        try:
            return self.connection.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            told = f"ended with {code}; see above"
            if code == -signal.SIGKILL:
                told = "was killed, most likely for want of memory: all sides hold theirs at once; leave some out"
            raise SystemExit(f"{self.record.name}: its process {told}") from None

    def is_waiting(self) -> bool:
        """Return whether the player waits for its next turn, and take down its last words where it does not."""
        said = self.hear()
        if isinstance(said, _Ended):
            self.record.peak_bytes = said.peak_bytes
            self.record.facts |= said.facts
            return False
        return True


def take_turns(players: Sequence[Player], *, warm_up: int = 0) -> list[Record]:
    """Let all play to their ends and return their records in the order of `players`.

    One plays at a time. The order is turned around from round to round. Who has ended leaves the others playing.
    """
    seats: list[_Seat] = []
    try:
        playing = []
        for player in players:
            seats.append(_seat(player, warm_up))
            if seats[-1].is_waiting():  # built before the next one begins to build
                playing.append(seats[-1])
        number = 0
        while playing:
            for seat in playing if number % 2 == 0 else playing[::-1]:
                seat.connection.send(None)
                seat.record.samples.append(seat.hear())
                if not seat.is_waiting():
                    playing = [other for other in playing if other is not seat]
            number += 1
    finally:
        for seat in seats:
            seat.process.terminate()
    return [seat.record for seat in seats]


def do_apart(work: Callable[[], None]) -> None:
    """Do something in a process of its own: threads it starts would be missing in processes forked later."""
    process = _context().Process(target=_work_quietly, args=(work,))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"preparing ended with {process.exitcode}; see above")


def _seat(player: Player, warm_up: int) -> _Seat:
    context = _context()
    ours, theirs = context.Pipe()
    process = context.Process(target=_live, args=(player, theirs, os.getpid()))
    process.start()
    theirs.close()
    return _Seat(Record(player.name, warm_up), process, ours)


def _live(player: Player, connection: "Connection[Any, Any]", parent: int) -> NoReturn:
    quiet_libraries()
    turn = Turn(connection, parent)
    with silence():
        player.play(turn)
    connection.send(_Ended(_peak_bytes(), turn.facts))
    connection.close()
    os._exit(0)


def _work_quietly(work: Callable[[], None]) -> None:
    quiet_libraries()
    try:
        with silence():
            work()
    except HfpipeError as error:  # a file of the user's that cannot be read
        raise SystemExit(str(error)) from None


def _context() -> Any:
    """Return how processes begin: forked, which saves them their imports, unless CUDA forbids it."""
    return multiprocessing.get_context("spawn" if has_nvidia_device() else "fork")


def _uses_cuda() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_initialized()


def _peak_bytes() -> int:
    """Return the most memory this process has held, that of the GPU where it uses one."""
    if _uses_cuda():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
