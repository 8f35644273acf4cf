"""Trials: runs of a recipe in processes of their own, to be killed, signalled and starved without paying imports.

A fork server (multiprocessing's own) imports the libraries once; each trial is a fresh fork of it that runs the
recipe's file as its `__main__`, with the exit codes a user sees. Several processes join over gloo, with the variables
torchrun would set. The server ends with the process that runs the tests; a trial that takes too long is killed whole.

What a trial is to do beside its run, such as installing an audit hook, is a function it gets: `prepare`. It is imported
by its name there, best from a module that imports neither pytest nor conftest, which would be loaded anew each time.
"""

import ast
import contextlib
import gc
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Any

RECIPES = Path(__file__).parents[2] / "recipes"
KILLED = -signal.SIGKILL

# Loaded late by the libraries: each would cost a trial between 30 and 800 ms.
_LATE = (
    *("torch._dynamo", "torch.distributed", "torch.utils.tensorboard", "transformers.models.auto.modeling_auto"),
    *("transformers.models.bert.modeling_bert", "transformers.models.llama.modeling_llama", "transformers.trainer"),
    *("transformers.integrations.peft", "peft", "datasets.arrow_dataset", "matplotlib.pyplot", "sklearn.metrics"),
    *("matplotlib.backends.backend_agg", "accelerate.utils.fsdp_utils", "evaluate"),
)


@dataclass(frozen=True)
class Ending:
    """How a trial ended: the exit code of each process (-9 where killed), what they printed, and how long it took."""

    codes: tuple[int, ...]
    output: str
    seconds: float

    @property
    def traceback(self) -> bool:
        """Whether a user would have seen a traceback."""
        return "Traceback (most recent call last)" in self.output


class Trial:
    """A run under way; as a context it kills, when left, what is still running."""

    def __init__(
        self, processes: Sequence[ForkServerProcess], output: Path, *, timeout_s: float, others_after_s: float | None
    ) -> None:
        self._processes = processes
        self._output = output
        self._timeout_s = timeout_s
        self._others_after_s = others_after_s
        self._started = time.monotonic()

    def __enter__(self) -> "Trial":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._output.unlink(missing_ok=True)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids by rank."""
        return tuple(process.pid or 0 for process in self._processes)

    @property
    def output(self) -> str:
        """What all processes printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def kill(self, ranks: Sequence[int] | None = None) -> None:
        """Kill the processes of these ranks, or all, with what they started, where they still run."""
        for process in self._processes if ranks is None else [self._processes[rank] for rank in ranks]:
            if process.exitcode is None:
                _kill_group(process.pid or 0)
            process.join()

    def wait(self) -> Ending:
        """Return how it ended.

        Raises:
            TimeoutError: With the output, if it ran longer than `timeout_s`; everything of it is killed then.
        """
        deadline = self._started + self._timeout_s
        failed: float | None = None
        while running := [process for process in self._processes if process.exitcode is None]:
            if failed is None and any(process.exitcode for process in self._processes):
                failed = time.monotonic()
            ends = [deadline]
            if failed is not None and self._others_after_s is not None:
                ends.append(failed + self._others_after_s)
            connection.wait([process.sentinel for process in running], max(0.0, min(ends) - time.monotonic()))
            if time.monotonic() >= min(ends):
                self.kill()
            if time.monotonic() >= deadline:
                raise TimeoutError(f"not ended after {self._timeout_s} s; killed. Its output:\n{self._take_output()}")
        seconds = time.monotonic() - self._started
        codes = tuple(process.exitcode or 0 for process in self._processes)
        return Ending(codes, self._take_output(), seconds)

    def _take_output(self) -> str:
        output = self.output
        self._output.unlink()
        return output


def warm_context() -> ForkServerContext:
    """Return multiprocessing's context whose processes are forks of one that has loaded the libraries."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_modules_to_load())
    return context


def start_trial(
    recipe: str | Path,
    settings: Mapping[str, Any],
    *,
    processes: int = 1,
    prepare: Callable[..., None] | None = None,
    prepare_arguments: Sequence[Any] = (),
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 120,
    others_after_s: float | None = None,
) -> Trial:
    """Start `recipe`, by its name or as a script's path, with `settings` as its command line in so many processes.

    Each of them calls `prepare(*prepare_arguments)` first, with RANK in its environment where there are several. The
    environment is this process's with `environment` on top; libraries have read theirs when the server imported them.
    Once a process has failed, the others are killed after `others_after_s`, as a launcher would; None leaves them be.
    """
    context = warm_context()
    script = recipe if isinstance(recipe, Path) else RECIPES / f"{recipe}.py"
    words = [str(script), *(word for key, value in settings.items() for word in (f"--{key}", str(value)))]
    descriptor, output = tempfile.mkstemp(prefix="hfpipe-trial-", suffix=".log")
    os.close(descriptor)
    shared = {**os.environ, **(_meeting(processes) if processes > 1 else {}), **(environment or {})}
    ranks = [
        context.Process(
            target=_run_process,
            args=(words, {**shared, **_place(rank, processes)}, output, prepare, tuple(prepare_arguments)),
        )
        for rank in range(processes)
    ]
    for rank in ranks:
        rank.start()
    return Trial(ranks, Path(output), timeout_s=timeout_s, others_after_s=others_after_s)


def run_trial(recipe: str | Path, settings: Mapping[str, Any], **options: Any) -> Ending:
    """Run `recipe` to its end, whatever that is; the options are those of `start_trial`."""
    with start_trial(recipe, settings, **options) as trial:
        return trial.wait()


def _kill_group(pid: int) -> None:
    """Kill a process and what it started; it may end by itself at any moment."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)


def _meeting(processes: int) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _place(rank: int, processes: int) -> dict[str, str]:
    return {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}


def _run_process(
    words: Sequence[str],
    environment: Mapping[str, str],
    output: str,
    prepare: Callable[..., None] | None,
    prepare_arguments: Sequence[Any],
) -> None:
    """Become the process of a run: its command line, environment and output."""
    gc.freeze()  # Trainer collects garbage; going through the libraries again would double the time of a trial
    multiprocessing.set_start_method(None, force=True)  # the server's is not what a user's process begins with
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(words)
    log = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    if prepare is not None:
        prepare(*prepare_arguments)
    runpy.run_path(words[0], run_name="__main__")


def _modules_to_load() -> list[str]:
    """Return the libraries, and every module that a recipe imports."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(RECIPES.glob("*.py"))]
    found = {
        node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    }
    return ["torch", "transformers", "datasets", *_LATE, *sorted(found)]
