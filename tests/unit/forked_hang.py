"""A process whose first fork hangs before it runs any Python, as the interpreter's own bug has it."""

import mmap
import os
import time
from multiprocessing.connection import Connection

from hfpipe.training import forks


def fork_where_the_first_hangs(results: Connection, seconds: float) -> None:
    """Send what a child says, and how many children were forked for it."""
    forked = mmap.mmap(-1, 1)  # shared with the children

    def hang_once() -> None:
        forked[0] += 1
        if forked[0] == 1:
            time.sleep(600)

    os.register_at_fork(after_in_child=hang_once)
    forks.SECONDS_TO_BEGIN = seconds
    context = forks.find_context("fork")
    own, childs = context.Pipe()
    child = context.Process(target=childs.send, args=("begun",))
    child.start()
    said = own.recv() if own.poll(30) else "nothing"
    child.join()
    results.send((said, forked[0], child.exitcode))
