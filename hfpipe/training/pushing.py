"""Pushing while a run trains and when it ends: each revision that is due is recorded, and delivered beside it.

Nothing here ever stops the run: a Hub that is away, hangs or refuses, a token that expires and a full disk are told. A
revision that is due lies in the spool of the run directory until it is on the Hub; the record says which commit holds
which step.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.config import RunConfig
from hfpipe.config.stopping import SignalWatch, current_watch
from hfpipe.errors import HfpipeError
from hfpipe.hub.delivery import settle
from hfpipe.hub.files import LAST_CHECKPOINT
from hfpipe.hub.pending import count_commits
from hfpipe.hub.prepare import Naming, Prepared, find_final_step, prepare_checkpoint, prepare_final
from hfpipe.hub.push import find_final_tag
from hfpipe.hub.pushed import Pushed, is_final_pushed, list_pushes
from hfpipe.hub.repository import Target
from hfpipe.hub.spool import Spool, count_bytes
from hfpipe.hub.uploads import Uploads
from hfpipe.records.run_directory import CHECKPOINTS, checkpoint_folder

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

# At the end the Hub is waited for while it takes what is sent, and no longer than this without a sign of that.
SECONDS_OF_QUIET = 2.0
SECONDS_AT_END = 60.0
SLOWEST_BYTES_PER_SECOND = 2_000_000
WAITED = "waited %.1f s for the Hub, %.1f s of it without a sign that it takes what is sent"
SECONDS_AFTER_SIGNAL = 10.0  # launchers kill 30 seconds after the signal


class RunPusher:
    """What a run pushes, and to where; in the main process alone."""

    def __init__(self, config: RunConfig, target: Target) -> None:
        self.directory = config.output_dir
        self.settings = config.hub
        self.target = target
        self.spool = Spool(config.output_dir)
        self.uploads = Uploads(config.output_dir)
        self.unrecorded: set[int] = set()
        self.lacks_final = False
        self._told: set[str] = set()

    def begin(self, step: int) -> None:
        """Go on where the session before ended, at `step`, and start delivering what it left.

        A kill between a checkpoint and its entry in the spool leaves a revision that is due and not recorded.
        """
        with self._told_only():
            was_pushing = self.spool.open()
            self._settle()
            if was_pushing and checkpoint_folder(self.directory / CHECKPOINTS, step).is_dir():
                self.push_save(step)
            self.uploads.wake()

    def push_save(self, step: int) -> None:
        """Record the checkpoint of a step, where the strategy pushes saves and it was not before; returns at once."""
        with self._told_only():
            if self.settings.hub_strategy != "end" and step not in self._find_recorded_steps():
                self._record_save(step)
                self._make_room(step)

    def _record_save(self, step: int) -> None:
        strategy = self.settings.hub_strategy
        state_folders = {"checkpoint": LAST_CHECKPOINT, "all_checkpoints": checkpoint_folder(Path(), step).name}

        def prepare(folder: Path) -> Prepared:
            return prepare_checkpoint(
                self.directory,
                step,
                folder,
                naming=self._naming(),
                state_folder=state_folders.get(strategy),
                tag=f"step-{step}" if self.settings.hub_tag_steps else None,
            )

        self._record(step, prepare)

    def _make_room(self, step: int) -> None:
        checkpoint = checkpoint_folder(self.directory / CHECKPOINTS, step)
        for entry in self.spool.make_room(2 * sum(file.stat().st_size for file in checkpoint.iterdir())):
            logger.warning("%s is given up: the disk is nearly full, and the run itself needs it", entry.title)

    def push_final(self) -> None:
        """Record the finished model and wait while the Hub takes what is pending; say what it has not got."""
        self.lacks_final = True

        def prepare(folder: Path) -> Prepared:
            tag = self._find_final_tag() if self.settings.hub_tag_steps else None
            return prepare_final(self.directory, folder, naming=self._naming(), tag=tag)

        self._record(find_final_step(self.directory), prepare, is_final=True)
        self._deliver_all()

    def push_rest(self) -> None:
        """Deliver what a run that is done has pending, and its finished model if that was not even recorded."""
        has_final = False
        with self._told_only():
            self.spool.open()
            self._settle()
            has_final = any(entry.is_final for entry in self.spool.list_pending())
        if has_final or is_final_pushed(self.directory, find_final_step(self.directory)):
            self._deliver_all()
        else:
            self.push_final()

    def leave(self) -> None:
        """Give what is under way the moment there is after a signal."""
        with self._told_only():
            self._end(SECONDS_AFTER_SIGNAL)
            for line in self._describe_missing():
                logger.warning(line)

    def tell(self) -> None:
        """Log what was delivered, and what keeps the rest from it, each reason once."""
        with self._told_only():
            self._settle()
            trouble = self.spool.read_trouble()
            if trouble is not None:
                self._warn_once(f"{trouble.title} is not on the Hub, the run goes on", "; ".join(trouble.problems))
            for place, unfit in self.spool.list_unfit():
                self._warn_once(f"{unfit.title} must not travel and now lies in {place}", "; ".join(unfit.problems))

    def _deliver_all(self) -> None:
        with self._told_only():
            waiting = count_bytes(self.spool.list_pending())
            logger.info("pushing to %s: %.1f MB", self.target.name, waiting / 1e6)
            self._end(SECONDS_AT_END + waiting / SLOWEST_BYTES_PER_SECOND)
            for line in self._describe_missing():
                logger.warning(line)
            self.spool.close()

    def _record(self, step: int, prepare: Callable[[Path], Prepared], *, is_final: bool = False) -> None:
        """Put a revision into the spool, and wake what delivers; one that cannot be written is told and missing."""
        try:
            prepared = prepare(self.spool.place_to_prepare())
            self.spool.record(prepared, self.target, is_final=is_final)
        except (HfpipeError, OSError) as error:
            self.spool.discard_preparing()
            self.unrecorded |= set() if is_final else {step}
            what = "the finished model" if is_final else f"step {step:,}"
            self._warn_once(f"{what} could not be recorded to be pushed, the run goes on", "; ".join(_reasons(error)))
            return
        self.lacks_final = self.lacks_final and not is_final
        self.tell()
        with self._told_only():
            self.uploads.wake()

    def _find_recorded_steps(self) -> set[int]:
        """Return the steps whose saves are on the Hub or wait for it: what is done again after a resume is the same."""
        pushed = {int(each["step"]) for each in list_pushes(self.directory) if not each["is_final"]}
        return pushed | {entry.step for entry in self.spool.list_entries() if not entry.is_final}

    def _find_final_tag(self) -> str | None:
        waiting = {entry.step for entry in self.spool.list_pending() if not entry.is_final}
        return find_final_tag(self.directory, self._naming().name, steps=waiting)

    def _settle(self) -> None:
        for pushed in settle(self.spool):
            self._tell_pushed(pushed)

    def _tell_pushed(self, pushed: Pushed) -> None:
        what = "the finished model" if pushed.is_final else f"step {pushed.step:,}"
        logger.info("pushed %s: %s (commit %s)", what, pushed.url, pushed.commit[:8])
        if not pushed.private and self.settings.hub_private_repo and "public" not in self._told:
            self._told.add("public")
            tell_public(pushed.repository)
        if pushed.on_top_of is not None:
            told = "its newest commit was no longer this run's: somebody else pushes there too, or it was made anew"
            self._warn_once(f"{pushed.repository}: {pushed.on_top_of!r}", f"{told}; this run's commits go on top of it")

    def _end(self, seconds: float) -> None:
        """Wait while the Hub takes what is pending, then end what delivers."""
        # the record of the session is written, so a signal ends the waiting alone
        with (current_watch() or SignalWatch()).noting() as is_signalled:
            try:
                waited = self.uploads.wait(
                    lambda: is_signalled() or not self.spool.list_pending(), quiet=SECONDS_OF_QUIET, longest=seconds
                )
                logger.info(WAITED, waited.seconds, waited.silent)
                is_interrupted = is_signalled()
            except KeyboardInterrupt:  # a recipe that was called from Python
                is_interrupted = True
            finally:  # the process that delivers takes no notice of signals
                self.uploads.close()
        if is_interrupted:
            logger.warning("interrupted: no longer waiting for the Hub")
        self.tell()

    def _describe_missing(self) -> Iterator[str]:
        """Yield a line for what is not on the Hub, with the command that brings it there."""
        command = f"hfpipe push {self.directory}"
        pending = self.spool.list_pending()
        if pending:
            size = f"{count_commits(pending)}, {count_bytes(pending) / 1e6:,.1f} MB"
            yield f"not on the Hub yet: {pending[-1].title} and all before it ({size}); deliver by: {command} --pending"
        if self.lacks_final:
            yield f"the finished model is not among what is to be pushed; push it by: {command}"
        kept = [step for step in self.unrecorded if checkpoint_folder(self.directory / CHECKPOINTS, step).is_dir()]
        if kept and self.settings.hub_strategy == "all_checkpoints":
            options = " ".join(f"--checkpoint {step}" for step in sorted(kept))
            yield f"checkpoints that were not recorded to be pushed: {len(kept):,}; push them by: {command} {options}"

    def _warn_once(self, what: str, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            logger.warning("%s: %s", what, reason)

    @contextmanager
    def _told_only(self) -> Iterator[None]:
        """Let nothing that is wrong with the spool end the run."""
        try:
            yield
        except (HfpipeError, OSError) as error:
            self._warn_once("pushing is disturbed, the run goes on", "; ".join(_reasons(error)))

    def _naming(self) -> Naming:
        return Naming(self.target.name.rpartition("/")[2], self.target.revision)


class PushSaves(TrainerCallback):
    """Pushes at each save; given to the main process only."""

    def __init__(self, trainer: "PlannedTrainer", pusher: RunPusher) -> None:
        self.trainer = trainer
        self.pusher = pusher

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Record the checkpoint; it has just been renamed into its place."""
        self.pusher.push_save(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Wait a moment where a signal ended the session."""
        if self.trainer.stopped_by:
            self.pusher.leave()


def tell_public(name: str) -> None:
    """Say that what is pushed can be read by everybody, though that was not asked for."""
    logger.warning(
        "%s exists and is public: everybody can read what is pushed there (hub_private_repo only matters where a "
        "repository is made); change that in its settings on the Hub",
        name,
    )


def _reasons(error: HfpipeError | OSError) -> tuple[str, ...]:
    """Return what kept a folder from being prepared: a full disk is no reason to end a run either."""
    return tuple(map(str, error.problems)) if isinstance(error, HfpipeError) else (str(error),)
