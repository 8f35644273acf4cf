"""Keeps what trainers and libraries print out of the tables."""

import contextlib
import io
import warnings
from collections.abc import Iterator

import transformers


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep what trainers print out of the table; what is raised comes through."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def quiet_libraries() -> None:
    """Switch off warnings and the progress bars of transformers for this process."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
