"""Forks that are known to have begun: a child that does not say so within seconds is killed, and forked again.

Before Python 3.12 a forked child waits for ever where a thread of C++ made or left its place in the interpreter at the
moment of the fork: the child takes a lock that nobody is left to release (`_PyThreadState_DeleteExcept`, before
`_PyRuntimeState_ReInitThreads` makes it anew). The threads of gloo are such threads, so a data worker hung in 2 of some
1,500 runs of two processes, and the run with it. A library that forks badly has the same effect, so every version asks.

The one decision: asking, since the lock cannot be seen. A child that was given up has done nothing yet.
"""

import multiprocessing
import os
import select
from dataclasses import dataclass
from multiprocessing.context import BaseContext, ForkContext, ForkProcess
from multiprocessing.popen_fork import Popen
from multiprocessing.process import BaseProcess

FORK = "fork"
SECONDS_TO_BEGIN = 5.0


@dataclass(frozen=True)
class _Announced:
    """A process that says, as the first thing it does, that it has begun."""

    process: BaseProcess
    asking: int
    telling: int

    def _bootstrap(self, **options: object) -> int:
        os.close(self.asking)
        os.write(self.telling, b".")  # nobody listens where it was given up: it ends here, by the error
        os.close(self.telling)
        return int(self.process._bootstrap(**options))  # type: ignore[attr-defined]


class _AskedPopen(Popen):
    """A fork of which the parent can ask whether it has begun."""

    def _launch(self, process_obj: BaseProcess) -> None:
        self._asking, telling = os.pipe()
        try:
            super()._launch(_Announced(process_obj, self._asking, telling))  # type: ignore[misc]
        finally:
            os.close(telling)

    def has_begun(self, seconds: float) -> bool:
        """Wait until it has begun, or has ended, for so long at most."""
        ready, _, _ = select.select([self._asking], [], [], seconds)
        os.close(self._asking)
        return bool(ready)

    def give_up(self) -> None:
        """Kill it."""
        self.kill()
        self.wait()
        self.close()


class AskedProcess(ForkProcess):
    """A process of `AskedForks`."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Popen:
        while not (popen := _AskedPopen(process_obj)).has_begun(SECONDS_TO_BEGIN):
            popen.give_up()
        return popen


class AskedForks(ForkContext):
    """The start method 'fork' of `multiprocessing`, each child asked."""

    Process = AskedProcess


def find_context(start_method: str | None) -> BaseContext:
    """Return the context of a start method, None being Python's own choice; forks are asked."""
    method = start_method or multiprocessing.get_start_method()
    return AskedForks() if method == FORK else multiprocessing.get_context(method)
