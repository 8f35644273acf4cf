"""The entry point of every recipe: reads its command line, runs it, and turns the outcome into an exit code.

Mistakes, stops and lost processes are answered by a message without a traceback, printed by one process alone; anything
else is a bug and keeps its traceback. Signals belong to `stopping` from here to the end of the process.
"""

import gc
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

from hfpipe.config.describe import describe_recipe
from hfpipe.config.exit_codes import (
    FINISHED,
    USER_MISTAKE,
    current_rank,
    forget_earlier_attempts,
    settle,
)
from hfpipe.config.resolve import load_config
from hfpipe.config.run_config import RunConfig
from hfpipe.config.stopping import EntryWatch
from hfpipe.errors import HfpipeError, Stopped
from hfpipe.secrecy import HidingFormatter, hide_in_tracebacks

_HELP = ("-h", "--help")


def run_recipe(run: Callable[[RunConfig], None], recipe: str, argv: Sequence[str] | None = None) -> NoReturn:
    """Run a recipe on the settings of `argv` (of this process where None) and exit with its code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if any(word in _HELP for word in words):
        print(describe_recipe(recipe))
        raise SystemExit(0)
    _set_up_logging(current_rank())
    hide_in_tracebacks()
    forget_earlier_attempts()
    with EntryWatch() as watch:
        code, message, is_expected = _run_to_code(run, recipe, words)
        # where all stop at the same step each of them leaves by itself
        watch.tell_others(FINISHED if is_expected else code, message)
        # A thread of gloo that gives a tensor back while the interpreter ends aborts the process.
        watch.leave_group()
    if code != FINISHED:
        code = settle(code, message, say=partial(print, file=sys.stderr, flush=True))
    raise SystemExit(code)


@contextmanager
def quick_imports() -> Iterator[None]:
    """Let the block import torch and transformers without a search for garbage among what they make.

    That takes a fifth of their time, and finds nothing: what is imported lives to the end, and is left out of later
    searches too.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _run_to_code(run: Callable[[RunConfig], None], recipe: str, words: Sequence[str]) -> tuple[int, str, bool]:
    """Return exit code, message, and whether the other processes come to the same end by themselves."""
    try:
        run(load_config(words, recipe=recipe))
    except HfpipeError as error:
        return USER_MISTAKE, str(error), False
    except Stopped as stopped:
        return stopped.exit_code, str(stopped), True
    return FINISHED, "", True


def _set_up_logging(rank: int) -> None:
    """Log to stderr: facts from the first process, errors from all."""
    text = "%(message)s" if rank == 0 else f"process {rank}: %(message)s"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(HidingFormatter(text))
    logging.basicConfig(level=logging.WARNING if rank == 0 else logging.ERROR, handlers=[handler])
    logging.getLogger("hfpipe").setLevel(logging.INFO if rank == 0 else logging.ERROR)
