"""The processes that load data: which rows each of them has in hand, and what a signal or a death of one leads to.

Workers take no notice of the signals that stop a run: the terminal's Ctrl-C and Slurm's SIGTERM reach them as well, and
the step that is being finished needs their rows. A worker that dies ends the run at once, all processes of it, and the
rows it was loading are named. One that fails keeps its traceback, beside the names of its rows.

The one decision: no time-out for a batch. torch notices a dead worker within seconds by itself, and a slow disk is no
reason to end a run.
"""

import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.data import DataLoader, get_worker_info

from hfpipe.config.exit_codes import LOST
from hfpipe.config.stopping import STOPPING, current_watch
from hfpipe.errors import ProcessLost
from hfpipe.records.run_directory import CHECKPOINTS
from hfpipe.training.culprits import name_rows
from hfpipe.training.datasets import Batch, Rows
from hfpipe.training.lifeline import describe_next

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

# What torch's loader raises: from its handler of SIGCHLD, from its look every five seconds, for what a worker raised.
_DIED = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: (.+?)\. |exited unexpectedly)"
)
_FAILED = re.compile(r"Caught \w+ in DataLoader worker process (\d+)\.")


class NotedRows:
    """Rows whose workers note, in memory shared by all, which they are loading: (workers, pid + count + row ids)."""

    def __init__(self, rows: Rows, *, workers: int, rows_at_once: int) -> None:
        self.rows = rows
        self._notes = torch.zeros((workers, 2 + rows_at_once), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, row_ids: Sequence[int]) -> Batch:
        """Return the collated micro-batch of `row_ids`."""
        worker = get_worker_info()
        if worker is None:
            return self.rows.__getitems__(row_ids)
        note = self._notes[worker.id]
        if note[1]:  # a failure goes its way, and the worker goes on meanwhile
            return self.rows.__getitems__(row_ids)
        note[2 : 2 + len(row_ids)] = torch.tensor(row_ids)
        note[0], note[1] = os.getpid(), len(row_ids)
        batch = self.rows.__getitems__(row_ids)
        note[1] = 0
        return batch

    def find_rows(self, *, pids: Sequence[int] = (), worker: int | None = None) -> list[int]:
        """Return the rows that these workers had in hand."""
        notes = cast("list[list[int]]", self._notes.tolist())
        chosen = [note for number, note in enumerate(notes) if number == worker or note[0] in pids]
        return [row_id for note in chosen for row_id in note[2 : 2 + note[1]] if row_id >= 0]


class QuietLoader(DataLoader):
    """A loader whose workers start without signals: from their first moment none can end them, or print a traceback."""

    def __iter__(self) -> Any:
        """Return the iterator, its workers started."""
        with _without_signals():
            return super().__iter__()


class FollowedWorkers:
    """A context in which a trainer loads data; what its loaders raise about their workers is turned into words."""

    def __init__(self, trainer: "PlannedTrainer") -> None:
        self.trainer = trainer

    def __enter__(self) -> "FollowedWorkers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave at once for a worker that died.

        Raises:
            ProcessLost: In its place, where there is no entry point of ours.
        """
        if isinstance(error, RuntimeError) and (died := _DIED.match(str(error))):
            message = self._describe_death(died)
            watch = current_watch()
            if watch is not None:
                watch.leave(LOST, message)
            raise ProcessLost(message) from error
        if error is not None and (failed := _FAILED.match(str(error))):
            rows = self._name_rows(worker=int(failed[1]))
            logger.error("data worker %s of process %d failed%s", failed[1], self.trainer.args.process_index, rows)

    def _describe_death(self, died: re.Match[str]) -> str:
        pids = [int(pid) for pid in died[1].split(",")]
        how = f"was ended by a signal ({died[2]}; out of memory?)" if died[2] else "ended unexpectedly"
        goes_on = describe_next(self.trainer.run_directory / CHECKPOINTS)
        process = self.trainer.args.process_index
        return f"data worker (pid {died[1]}) of process {process} {how}{self._name_rows(pids=pids)}; {goes_on}"

    def _name_rows(self, *, pids: Sequence[int] = (), worker: int | None = None) -> str:
        handler = self.trainer.callback_handler
        for loader in (handler.eval_dataloader, handler.train_dataloader):
            noted = loader.dataset if isinstance(loader, DataLoader) else None
            if isinstance(noted, NotedRows) and (found := noted.find_rows(pids=pids, worker=worker)):
                return f" while it loaded {name_rows(noted.rows, found)}"
        return ""


def find_rows(loader: DataLoader) -> Rows:
    """Return the rows that a loader loads."""
    dataset = cast("Any", loader.dataset)
    return dataset.rows if isinstance(dataset, NotedRows) else cast("Rows", dataset)


def start_worker(worker_id: int) -> None:
    """Let a worker that has just started be ended by its parent alone, as torch does when a loader is done."""
    signal.set_wakeup_fd(-1)  # that of the process it was forked from
    for number in STOPPING:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        threading.Thread(target=_end_with_parents_word, daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(STOPPING) - {signal.SIGTERM})
    else:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _end_with_parents_word() -> None:
    """End this process at a SIGTERM of its parent; it is blocked in every thread, and so waits to be taken here."""
    parent = multiprocessing.parent_process()  # not the parent to the system where a server forks the workers
    while parent is None or signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent.pid:
        continue
    os._exit(0)


@contextmanager
def _without_signals() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
