"""What can go wrong on the way, ordered in advance: an error, a wait, a connection that breaks off."""

import re
from dataclasses import dataclass


@dataclass
class Fault:
    """Strikes the next `times` requests of `method` ('*': any) whose path `pattern` is found in.

    First it waits `seconds`; then it answers `status`, or breaks the connection off where `drops`; where neither is
    asked for, the request goes on as if nothing had been.
    """

    method: str
    pattern: str
    status: int | None = None
    times: int = 1
    seconds: float = 0.0
    drops: bool = False

    def strikes(self, method: str, path: str) -> bool:
        """Tell whether this request is struck, and count it."""
        is_meant = self.method in ("*", method) and re.search(self.pattern, path) is not None
        if not is_meant or self.times < 1:
            return False
        self.times -= 1
        return True
