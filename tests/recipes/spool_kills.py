"""Every change that a training process makes to its spool as a place to be killed, and its Hub within reach.

An audit hook meets each call that changes something below `.hub/` before it is done. What the delivering process does
there is its own and not counted, so the numbers are the same in each run, whatever the Hub does.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from hfpipe.hub.spool import SPOOL

_CHANGES = ("os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir", "os.truncate")
_WRITES = os.O_WRONLY | os.O_RDWR


def reach_hub() -> None:
    """In a trial: let the client talk to the Hub of the tests; the fork server has read that it may not."""
    import huggingface_hub

    huggingface_hub.constants.HF_HUB_OFFLINE = False


def reach_hub_with_patience() -> None:
    """In a trial: reach the Hub, and wait long for a sign of it at the end."""
    from hfpipe.training import pushing

    reach_hub()
    pushing.SECONDS_OF_QUIET = 60.0


def log_changes(log: Path) -> None:
    """In a trial: write each change as a line of `log`."""
    reach_hub()

    def note(number: int, change: str) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{change}\n")

    _watch(note)


def kill_before(number: int) -> None:
    """In a trial: kill the process before its change of this number."""
    reach_hub()
    _watch(lambda count, change: os.kill(os.getpid(), signal.SIGKILL) if count == number else None)


def _watch(act: Callable[[int, str], None]) -> None:
    count, owner = 0, os.getpid()

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        change = _describe(event, arguments)
        if change and os.getpid() == owner:
            count += 1
            act(count, change)

    sys.addaudithook(audit)


def _describe(event: str, arguments: tuple[object, ...]) -> str:
    """Return a change of the spool in words, nothing for what is none."""
    is_open = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & _WRITES)
    if not is_open and event not in _CHANGES:
        return ""
    places = [str(each).partition(f"/{SPOOL}/")[2] for each in arguments[:2]]
    return f"{event} {' '.join(filter(None, places))}" if any(places) else ""
