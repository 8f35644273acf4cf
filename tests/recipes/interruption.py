"""A signal at a chosen step of a run in this process, without touching the code under test.

The run appends a line to history.jsonl at each log event; an audit hook counts these and raises the
signal, so the run is interrupted at the same place each time.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_pending: dict[str, int] = {}


_killed_at: list[str] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "os.rename" and _killed_at and str(arguments[1]).endswith(_killed_at[0]):
        raise KeyboardInterrupt
    if event != "open" or not _pending:
        return
    path, mode = arguments[0], arguments[1]
    if mode == "a" and str(path).endswith("history.jsonl"):
        _pending["events"] -= 1
        if _pending["events"] == 0:
            signal.raise_signal(_pending["signal"])


sys.addaudithook(_hook)


def interrupt_after(events: int, number: int = signal.SIGINT) -> None:
    """Raise the signal in this process when so many log events have been written."""
    _pending.update(events=events, signal=number)


@contextmanager
def interrupted_after(events: int, number: int = signal.SIGINT) -> Iterator[None]:
    """Do as `interrupt_after` for the block alone."""
    interrupt_after(events, number)
    try:
        yield
    finally:
        _pending.clear()


@contextmanager
def killed_before_writing(name: str) -> Iterator[None]:
    """End the run, as Ctrl-C outside training does, when it is about to publish a file of this name."""
    _killed_at.append(name)
    try:
        yield
    finally:
        _killed_at.clear()
