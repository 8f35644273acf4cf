"""The process that delivers what a run has to push, while the run trains.

    python -m hfpipe.hub.worker RUN_DIR

It takes no time from the training's interpreter, and can be ended at any moment: what it does is complete or absent. A
'+' on its standard input says that there is something new, a '!' that it should try now; on its standard output is a
'.' for each sign that the Hub takes what is sent, an 'x' for each failure, and '(' and ')' around what takes time
without the Hub. It ends with its input, and so with the run.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from huggingface_hub import get_token

from hfpipe.errors import HfpipeError, HubError, Problem
from hfpipe.hub.answers import HubUnreachable
from hfpipe.hub.delivery import Deliverer, Rest, UnfitEntry, find_rest
from hfpipe.hub.pulse import Pulse
from hfpipe.hub.repository import limit_waiting
from hfpipe.hub.spool import Entry, Spool, Trouble

LOOK, NOW = b"+", b"!"
BEAT, HOME, AWAY, FAILED = b".", b"(", b")", b"x"
SECONDS_BETWEEN_LOOKS_AT_THE_PARENT = 0.5
SECONDS_BETWEEN_LOOKS_AT_THE_TOKEN = 5.0
# The training process decides when this one is to end; Ctrl-C and Slurm reach the whole group.
_NOT_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Worker:
    """Delivers until its parent is gone."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.deliverer = Deliverer(spool, at_home)
        self.pulse = Pulse(lambda: tell(BEAT))
        self.failures = 0
        self._latest: Path | None = None
        self._is_new = threading.Event()
        self._is_urged = threading.Event()

    def listen(self, parent: int) -> None:
        """Take the words of the parent, and end this process when it is gone, whatever it is doing."""
        while os.getppid() == parent:
            if not select.select([0], [], [], SECONDS_BETWEEN_LOOKS_AT_THE_PARENT)[0]:
                continue
            words = os.read(0, 4096)
            if not words:
                break
            if NOW in words:
                self._is_urged.set()
            self._is_new.set()
        os._exit(0)

    def work(self) -> None:
        """Deliver one entry after the other, and wait for the next."""
        while True:
            self._is_new.clear()
            pending = self.spool.list_pending()
            if not pending:
                self._is_new.wait()
                continue
            token = get_token()
            if pending[0].folder != self._latest:
                self.pulse.restart()
            self._latest = pending[0].folder
            try:
                self.deliverer.deliver(pending[0])
                self.failures = 0
            except UnfitEntry as error:
                self.spool.set_unfit_aside(pending[0], _texts(error))
            except (HfpipeError, OSError) as error:
                self._rest_after(error, pending[0], token)

    def _rest_after(self, error: HfpipeError | OSError, entry: Entry, token: str | None) -> None:
        if not entry.folder.is_dir():  # given up meanwhile
            return
        # a full disk passes, as a Hub that is away does
        failure = error if isinstance(error, HubError) else HubUnreachable(Problem(str(entry.folder), rule=str(error)))
        tell(FAILED)
        self.failures += 1
        is_refusal = not isinstance(failure, HubUnreachable)
        # where it cannot be written nobody is told, and it is tried again all the same
        with suppress(HfpipeError, OSError):
            self.spool.note_trouble(Trouble(entry.title, _texts(failure), is_refusal))
        self._rest(find_rest(failure, self.failures), token)

    def _rest(self, rest: Rest, token: str | None) -> None:
        """Wait; what the Hub asked for to its end, the rest until it is urged or there is another token."""
        threading.Event().wait(rest.asked)
        left = rest.own
        while left > 0 and get_token() == token:
            if self._is_urged.wait(min(left, SECONDS_BETWEEN_LOOKS_AT_THE_TOKEN)):
                break
            left -= SECONDS_BETWEEN_LOOKS_AT_THE_TOKEN
        self._is_urged.clear()


@contextmanager
def at_home() -> Iterator[None]:
    """Say that what takes time now is not the Hub's doing."""
    tell(HOME)
    try:
        yield
    finally:
        tell(AWAY)


def tell(word: bytes) -> None:
    """Say a word to the parent, if it listens: one that trains does not, and must not be waited for."""
    try:
        os.write(1, word)
    except (BlockingIOError, BrokenPipeError):
        return


def serve(run_dir: Path) -> None:
    """Deliver the spool of a run as long as the process that started this one lives."""
    for number in _NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    os.set_blocking(1, False)
    os.nice(5)
    worker = Worker(Spool(run_dir))
    threading.Thread(target=worker.listen, args=(os.getppid(),), daemon=True).start()
    limit_waiting(worker.pulse.hooks())
    tell(AWAY)
    with worker.spool.hold(waits=True):
        worker.work()


def _texts(error: HfpipeError) -> tuple[str, ...]:
    return tuple(str(problem) for problem in error.problems)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
