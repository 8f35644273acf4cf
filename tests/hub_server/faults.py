"""What can go wrong on the way, ordered in advance: an error, a wait, a connection that breaks off."""

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Fault:
    """Strikes the next `times` requests of `method` ('*': any) whose path `pattern` is found in, after `skips` of them.

    First it waits `seconds`; then it answers `status` with `message`, and `retry_after` as its header Retry-After,
    or breaks the connection off: in the middle of the body (`cuts`), before anything is done (`drops`), or when all
    is done and only the answer is missing (`loses`). Where none of these is asked for, the request goes on as if
    nothing had been.
    `calls` is called when it strikes, and under `loses` when the request is done.
    """

    method: str
    pattern: str
    status: int | None = None
    times: int = 1
    seconds: float = 0.0
    drops: bool = False
    cuts: bool = False
    loses: bool = False
    retry_after: str | None = None
    skips: int = 0
    calls: Callable[[], None] = lambda: None
    message: str = "a fault this test asked for"

    def strikes(self, method: str, path: str) -> bool:
        """Tell whether this request is struck, and count it."""
        is_meant = self.method in ("*", method) and re.search(self.pattern, path) is not None
        if not is_meant or self.times < 1:
            return False
        if self.skips > 0:
            self.skips -= 1
            return False
        self.times -= 1
        return True
