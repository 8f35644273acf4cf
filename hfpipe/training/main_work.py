"""Work that the main process does alone, longer than a collective may wait.

The others wait for it in collectives of seconds, one after the other, so that no time-out ever runs: that of a backend
is half an hour unless somebody set it lower. The work is done by a thread, which gives the main one room to take part.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from transformers import TrainingArguments

from hfpipe.errors import HfpipeError
from hfpipe.training.agreement import is_true_anywhere, raise_in_all

SECONDS_BETWEEN_SIGNS = 2.0

T = TypeVar("T")


def work_in_main(work: Callable[[], T], args: TrainingArguments, *, of_each_machine: bool = False) -> T | None:
    """Return what `work` returns in the main process and None in the others, in all of them when it is done.

    Where it is work `of_each_machine`, the first process of every machine does it. Every process has to call it. `work`
    takes part in no collective.

    Raises:
        HfpipeError: In all processes, what `work` raises of this kind.
    """
    if args.world_size == 1:
        return work()
    with ThreadPoolExecutor(max_workers=1) as pool:
        works = args.process_index == 0 or (of_each_machine and args.local_process_index == 0)
        future = pool.submit(work) if works else None
        while is_true_anywhere(_is_at_work(future), args):
            pass
    error = future.exception() if future is not None else None
    if error is None or isinstance(error, HfpipeError):
        raise_in_all(error, args)
    return future.result() if future is not None else None


def _is_at_work(future: Future[T] | None) -> bool:
    if future is None:
        return False
    wait((future,), timeout=SECONDS_BETWEEN_SIGNS)
    return not future.done()
