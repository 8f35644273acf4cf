"""What happens to a trial at a chosen moment: when a function of that name is called, in it or in its data workers.

`sys.setprofile` sees the call, so the code under test is not touched.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.util import Finalize
from pathlib import Path
from types import FrameType
from typing import Any

from hfpipe.config.stopping import SignalWatch
from hfpipe.training.lifeline import Lifeline, Member


def signal_at(function: str, numbers: Sequence[int], rank: int = 0, call: int = 1) -> None:
    """In a trial: send these signals to the process of this rank when `function` is called for the `call`-th time."""

    def act() -> None:
        for number in numbers:
            os.kill(os.getpid(), number)

    if int(os.environ.get("RANK", "0")) == rank:
        sys.setprofile(_at_call(function, call, act))


def signal_group_at(function: str, numbers: Sequence[int], call: int) -> None:
    """In a trial: send these signals to the run and its data workers, as a terminal or Slurm does."""

    def act() -> None:
        for number in numbers:
            # from outside: a data worker obeys the process that started it
            command = ["kill", "-s", str(int(number)), "--", f"-{os.getpgrp()}"]
            subprocess.run(command, start_new_session=True, check=True)

    sys.setprofile(_at_call(function, call, act))


def fail_in_worker(function: str, rank: int, is_killed: bool, call: int = 3) -> None:
    """In a trial: have a data worker of the process of this rank die, or raise, in the middle of `function`."""

    def act() -> None:
        if is_killed:
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("a row that cannot be loaded")

    def begin() -> None:
        sys.setprofile(_at_call(function, call, act))

    if int(os.environ.get("RANK", "0")) == rank:
        os.register_at_fork(after_in_child=begin)


def tell_threads(function: str) -> None:
    """In a trial of two: print the names of the threads when `function` is called, and when the process ends."""

    def tell(moment: str) -> None:
        names = sorted({path.read_text(encoding="utf-8").strip() for path in Path("/proc/self/task").glob("*/comm")})
        os.write(1, f"{moment}: {' '.join(names)}\n".encode())  # whole, whatever the other process prints

    sys.setprofile(_at_call(function, 1, lambda: tell(f"at {function}")))
    Finalize(None, tell, args=("at the end",), exitpriority=1)


def hold_a_line(port: int, seconds: float) -> None:
    """Be a process that is killed while a worker forked from it is busy."""
    lifeline = Lifeline(SignalWatch(), Member(1, "here", os.getpid()), world_size=2, checkpoints=Path())
    lifeline.connect("127.0.0.1", port, 7)
    if os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def _at_call(function: str, call: int, act: Callable[[], None]) -> Callable[[FrameType, str, Any], None]:
    left = [call]

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name == function:
            left[0] -= 1
            if not left[0]:
                sys.setprofile(None)
                act()

    return watch
