"""The entry point of every recipe: reads its command line, runs it, and turns the outcome into an exit code.

0 is a finished run, 2 a user's mistake, 130 and 143 a run stopped by a signal after its state was saved. Mistakes are
answered by a message without a traceback, printed by the first process alone; anything else is a bug and keeps its
traceback.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from hfpipe.config.describe import describe_recipe
from hfpipe.config.resolve import load_config
from hfpipe.config.run_config import RunConfig
from hfpipe.errors import HfpipeError, Stopped

USER_MISTAKE = 2
# Set by `hfpipe run --accelerate`: accelerate's launcher turns every other exit code into 1 and a traceback, so a
# process writes its code into this file and leaves with 0.
EXIT_CODE_FILE = "HFPIPE_EXIT_CODE_FILE"
_HELP = ("-h", "--help")


def run_recipe(run: Callable[[RunConfig], None], recipe: str, argv: Sequence[str] | None = None) -> NoReturn:
    """Run a recipe on the settings of `argv` (of this process where None) and exit with its code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if any(word in _HELP for word in words):
        print(describe_recipe(recipe))
        raise SystemExit(0)
    rank = int(os.environ.get("RANK", "0"))
    _set_up_logging(rank)
    code, message = _run_to_code(run, recipe, words)
    if code == 0:
        raise SystemExit(0)
    exit_code_file = os.environ.get(EXIT_CODE_FILE)
    if exit_code_file is not None:
        if _leave_code(Path(exit_code_file), code):
            print(message, file=sys.stderr, flush=True)
        raise SystemExit(0)
    if rank == 0:
        print(message, file=sys.stderr, flush=True)
    raise SystemExit(code)


def _run_to_code(run: Callable[[RunConfig], None], recipe: str, words: Sequence[str]) -> tuple[int, str]:
    try:
        run(load_config(words, recipe=recipe))
    except HfpipeError as error:
        return USER_MISTAKE, str(error)
    except Stopped as stopped:
        return stopped.exit_code, str(stopped)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT, "interrupted; the same command goes on from the newest checkpoint, if there is one"
    return 0, ""


def _leave_code(path: Path, code: int) -> bool:
    """Write the exit code unless another process did, and return whether this one is the first."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(str(code))
    except FileExistsError:
        return False
    return True


def _set_up_logging(rank: int) -> None:
    """Log to stderr: facts from the first process, errors from all."""
    text = "%(message)s" if rank == 0 else f"process {rank}: %(message)s"
    logging.basicConfig(format=text, level=logging.WARNING if rank == 0 else logging.ERROR, stream=sys.stderr)
    logging.getLogger("hfpipe").setLevel(logging.INFO if rank == 0 else logging.ERROR)
