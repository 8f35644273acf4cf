"""Uploads beside a training: a queue, a thread that waits, and a process that does the work.

Nothing here ever stops or slows the run: what is handed over is done when it is done, a save that still waits when a
newer one comes is dropped for it, and what has not arrived when the waiting ends is told. The process can be ended at
any moment, which a thread inside a request cannot.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import hfpipe
from hfpipe.hub.prepare import Prepared
from hfpipe.hub.push import Pushed
from hfpipe.hub.repository import Target

logger = logging.getLogger(__name__)

ATTEMPTS = 2  # the client itself repeats what fails in passing
SECONDS_BETWEEN_ATTEMPTS = 2.0
SECONDS_BETWEEN_WORDS = 15.0


@dataclass(frozen=True)
class Job:
    """A commit to be made. `gives_way` is whether a newer one takes its place while it waits."""

    prepared: Prepared
    gives_way: bool = False
    is_final: bool = False
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        files = (path for path in self.prepared.upload.folder.rglob("*") if path.is_file())
        object.__setattr__(self, "size_bytes", sum(path.stat().st_size for path in files))


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the commit where it arrived, else why not."""

    step: int
    is_final: bool
    pushed: Pushed | None = None
    problems: tuple[str, ...] = ()


@dataclass
class Uploads:
    """The queue of a run; used by one thread of the training process."""

    target: Target
    _waiting: deque[Job] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _busy: Job | None = None
    _is_closing: bool = False
    _process: "subprocess.Popen[str] | None" = None
    _thread: threading.Thread | None = None
    _outcomes: list[Outcome] = field(default_factory=list)

    def put(self, job: Job) -> None:
        """Hand a commit over; returns at once."""
        with self._changed:
            for older in [each for each in self._waiting if each.gives_way]:
                self._waiting.remove(older)
                _discard(older)
            self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="hub uploads", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def take_outcomes(self) -> list[Outcome]:
        """Return what has ended since the last call."""
        with self._changed:
            taken, self._outcomes = self._outcomes, []
        return taken

    def count_bytes(self) -> int:
        """Return what waits or is under way, in bytes; the Hub may have some of it already."""
        with self._changed:
            return sum(job.size_bytes for job in (*self._waiting, *([self._busy] if self._busy else [])))

    def wait(self, seconds: float) -> bool:
        """Wait until all is done, at most so long; say so now and then. Return whether it is."""
        end = time.monotonic() + seconds
        with self._changed:
            while self._waiting or self._busy:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                if not self._changed.wait(min(left, SECONDS_BETWEEN_WORDS)):
                    logger.info("still pushing to %s; waiting up to %d s more", self.target.name, left)
        return True

    def close(self) -> None:
        """End the process and the thread; what was not done counts as failed."""
        with self._changed:
            self._is_closing = True
            unfinished = list(self._waiting)
            self._waiting.clear()
            self._outcomes += [_failure(job, "there was no time for it") for job in unfinished]
            self._changed.notify_all()
            process = self._process
        if process is not None:
            process.kill()
        if self._thread is not None:
            self._thread.join()
        if process is not None:
            _close_pipes(process)
        for job in unfinished:
            _discard(job)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            outcome = self._push(job)
            _discard(job)
            with self._changed:
                self._outcomes.append(outcome)
                self._busy = None
                self._changed.notify_all()

    def _next(self) -> Job | None:
        with self._changed:
            while not self._waiting and not self._is_closing:
                self._changed.wait()
            self._busy = self._waiting.popleft() if self._waiting and not self._is_closing else None
            return self._busy

    def _push(self, job: Job) -> Outcome:
        answer: dict[str, Any] = {}
        for attempt in range(1, ATTEMPTS + 1):
            answer = self._ask(job)
            is_last = attempt == ATTEMPTS or "pushed" in answer or not answer["may_work_later"]
            if is_last or self._rest(SECONDS_BETWEEN_ATTEMPTS):
                break
        if "pushed" not in answer:
            return _failure(job, *answer["problems"])
        return Outcome(job.prepared.step, job.is_final, Pushed(**answer["pushed"]))

    def _rest(self, seconds: float) -> bool:
        """Wait before another attempt; return whether there is no use in one, since a newer job waits or all ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing or bool(self._waiting), timeout=seconds)
            return self._is_closing or bool(self._waiting)

    def _ask(self, job: Job) -> dict[str, Any]:
        process = self._start()
        if process is None or process.stdin is None or process.stdout is None:
            return _failed("there was no time for it")
        asked = {
            "target": asdict(self.target),
            "upload": job.prepared.upload.to_json(),
            "step": job.prepared.step,
            "is_final": job.is_final,
            "private_card": job.prepared.private_card,
            "public_card": job.prepared.public_card,
        }
        try:
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (OSError, ValueError):  # it was ended while we wrote
            line = ""
        if line:
            return dict(json.loads(line))
        code = process.wait()
        return _failed("there was no answer in time" if self._is_closing else f"the pushing process left with {code}")

    def _start(self) -> "subprocess.Popen[str] | None":
        with self._changed:
            if self._is_closing:
                return None
            if self._process is None or self._process.poll() is not None:
                if self._process is not None:
                    _close_pipes(self._process)
                self._process = start_worker()
            return self._process


def start_worker() -> "subprocess.Popen[str]":
    """Start the process that uploads; it ends when its input does, and so with the one that started it."""
    package = str(Path(hfpipe.__file__).parents[1])
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
    return subprocess.Popen(
        [sys.executable, "-m", "hfpipe.hub.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
    )


def _close_pipes(process: "subprocess.Popen[str]") -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None and not pipe.closed:
            try:
                pipe.close()
            except OSError:  # what was not written has nobody to read it
                continue


def _failed(reason: str) -> dict[str, Any]:
    """Return the answer of a process that gave none."""
    return {"problems": [reason], "may_work_later": True}


def _failure(job: Job, *problems: str) -> Outcome:
    return Outcome(job.prepared.step, job.is_final, problems=problems)


def _discard(job: Job) -> None:
    shutil.rmtree(job.prepared.upload.folder, ignore_errors=True)
