"""What keeps one process of a run from going on ends all of them: alone it would leave the others waiting for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import torch
from accelerate.utils import gather
from transformers import TrainingArguments

from hfpipe.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    HfpipeError,
    HubError,
    Problem,
    TrainingError,
)
from hfpipe.records.disk import is_disk_full, is_write_error, write_failure
from hfpipe.training.exchange import gather_items

_KINDS = {kind.__name__: kind for kind in (CheckpointError, ConfigError, DataError, HubError, TrainingError)}


class Attempt:
    """Holds back what goes wrong while this process writes into `folder`, until all processes can hear of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._errors: list[BaseException] = []

    @property
    def has_failed(self) -> bool:
        """Whether anything went wrong so far."""
        return bool(self._errors)

    def error(self, *, needed: int = 0, remedy: str = "") -> HfpipeError | None:
        """Return what went wrong first; what came after it had the same cause.

        `needed` are the bytes of the whole, where what was to be written is a part of something.
        """
        if not self._errors:
            return None
        error = self._errors[0]
        if not isinstance(error, HfpipeError):
            return write_failure(self._place_of(error), error, needed=needed, remedy=remedy)
        if needed and error.__cause__ is not None and is_disk_full(error.__cause__):
            return write_failure(self._place_of(error), error.__cause__, needed=needed, remedy=remedy)
        return error

    def __enter__(self) -> None:
        """Begin a part."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Keep a user's mistake and a refusal to write; anything else is a bug and goes on."""
        if error is None or not (isinstance(error, HfpipeError) or is_write_error(error)):
            return False
        self._errors.append(error)
        return True

    def _place_of(self, error: BaseException) -> Path:
        if isinstance(error, HfpipeError):
            return Path(error.problems[0].place)
        named = error.filename if isinstance(error, OSError) else None
        return Path(str(named)) if named else self.folder


@contextmanager
def written_for_all(folder: Path, args: TrainingArguments) -> Iterator[None]:
    """Let the block write into `folder`, in the main process alone or in all; every process has to come here.

    Raises:
        CheckpointError: In every process, if one of them cannot write, as on a full disk.
    """
    attempt = Attempt(folder)
    with attempt:
        yield
    raise_in_all(attempt.error(), args)


def is_true_anywhere(own: bool, args: TrainingArguments) -> bool:
    """Return whether `own` is true in any process; every process has to call it, and returns when all have."""
    if args.world_size == 1:
        return own
    return bool(gather(torch.tensor([own], dtype=torch.int64, device=args.device)).max())


def raise_in_all(own: HfpipeError | None, args: TrainingArguments) -> None:
    """Raise in every process the errors of all, of the kind of the first; every process has to call it."""
    # a number first: objects are sent only where there is something to say
    if not is_true_anywhere(own is not None, args):
        return
    if args.world_size == 1 and own is not None:
        raise own
    told = gather_items([_parts(own)] if own is not None else [])
    problems = [Problem(*each) for _, found in told for each in found]
    raise _KINDS[told[0][0]](list(dict.fromkeys(problems))) from own


def _parts(error: HfpipeError) -> tuple[str, list[tuple[str, str, str, str]]]:
    return type(error).__name__, [(each.place, each.value, each.rule, each.remedy) for each in error.problems]
