"""The delivering process of a run, as the training process sees it: started, urged, waited for a moment, ended.

Nothing here ever stops or slows the run, and no thread runs beside it: what is due lies in the spool, and the process
(`worker`) reads it there. It is ended with the run, for a process that nobody knows of is nothing a user expects; what
is not delivered then stays in the spool.
"""

import logging
import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import hfpipe
from hfpipe.hub.worker import AWAY, BEAT, FAILED, HOME, LOOK, NOW

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_BETWEEN_WORDS = 15.0


@dataclass(frozen=True)
class Waited:
    """Seconds that were waited, and those of them in which the Hub was at it and gave no sign of taking anything."""

    seconds: float
    silent: float


@dataclass
class Uploads:
    """The delivering process of the run in `run_dir`; used by one thread."""

    run_dir: Path
    _process: "subprocess.Popen[bytes] | None" = None
    _is_at_home: bool = True
    _is_failing: bool = False

    def wake(self, word: bytes = LOOK) -> None:
        """Say that there is something to deliver; starts the process if there is none, and returns at once."""
        try:
            # what it says is read now and then, or the pipe would be full when it matters
            if self._process is None or self._process.poll() is not None or self._read_signs(0) is None:
                self._start()
            self._say(word)
        except BrokenPipeError:  # it was just ending
            self._start()

    def wait(self, is_done: Callable[[], bool], *, quiet: float, longest: float) -> Waited:
        """Wait until `is_done`, as long as the Hub takes what is sent: at most `quiet` seconds without a sign of that.

        In all it waits for `longest` seconds at most. Returns how long it did.
        """
        self.wake(NOW)
        began = told = last = time.monotonic()
        spent = silent = 0.0
        while spent <= quiet and last - began <= longest and not is_done():
            signs = self._read_signs()
            now = time.monotonic()
            if signs is None:
                break
            # importing, drawing and hashing are no fault of the Hub, unless they are done again after a failure
            is_excused = BEAT in signs or (self._is_at_home and not self._is_failing)
            passed, last = 0.0 if is_excused else now - last, now
            spent = 0.0 if BEAT in signs else spent + passed
            silent += passed
            if now - told > SECONDS_BETWEEN_WORDS:
                logger.info("still pushing; waiting up to %d s more while it advances", longest - (now - began))
                told = now
        return Waited(time.monotonic() - began, silent)

    def close(self) -> None:
        """End the process, at once and whatever it is doing."""
        if self._process is not None:
            _end(self._process)
        self._process, self._is_at_home, self._is_failing = None, True, False

    def _start(self) -> None:
        self.close()
        self._process = start_worker(self.run_dir)
        # a session that fails ends without a word
        weakref.finalize(self, _end, self._process)

    def _say(self, word: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        with suppress(BlockingIOError):  # it has words enough to read
            os.write(self._process.stdin.fileno(), word)

    def _read_signs(self, seconds: float = SECONDS_BETWEEN_LOOKS) -> bytes | None:
        """Return what the process said within a moment, None where it has ended."""
        assert self._process is not None and self._process.stdout is not None
        stream = self._process.stdout.fileno()
        if not select.select([stream], [], [], seconds)[0]:
            return b""
        signs = os.read(stream, 65536)
        if HOME in signs or AWAY in signs:
            self._is_at_home = signs.rfind(HOME) > signs.rfind(AWAY)
        if FAILED in signs or BEAT in signs:
            self._is_failing = signs.rfind(FAILED) > signs.rfind(BEAT)
        if not signs:
            self.close()
        return signs or None


def start_worker(run_dir: Path) -> "subprocess.Popen[bytes]":
    """Start the process that delivers; it ends when its input does, and so with the one that started it."""
    package = str(Path(hfpipe.__file__).parents[1])
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
    # Xet sends by a way of its own, without a time limit and without a sign of whether it advances
    client = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "hfpipe.hub.worker", str(run_dir.resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={**os.environ, "PYTHONPATH": path, **client},
    )
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
