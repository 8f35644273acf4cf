"""Pushing while a run trains and when it ends: the callback at each save, and the finished model last.

Decided before the first step: that there is a token, and that it may write. Everything later - a Hub that is away,
hangs or refuses - is told and never stops the run, whose record says which commit holds which step.
"""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.config import RunConfig
from hfpipe.errors import ConfigError, HfpipeError, HubError, Problem
from hfpipe.hub.access import check_token
from hfpipe.hub.answers import LOG_IN, HubUnreachable
from hfpipe.hub.files import LAST_CHECKPOINT
from hfpipe.hub.prepare import Naming, find_final_step, prepare_checkpoint, prepare_final
from hfpipe.hub.push import find_default_name, find_final_tag, record_push
from hfpipe.hub.repository import Target, find_account, find_visibility
from hfpipe.hub.uploads import Job, Outcome, Uploads
from hfpipe.records.run_directory import CHECKPOINTS, checkpoint_folder

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

SECONDS_AT_START = 5.0
SECONDS_AT_END = 60.0
SECONDS_AFTER_SIGNAL = 10.0  # launchers kill 30 seconds after the signal
SLOWEST_BYTES_PER_SECOND = 2_000_000
WAITING_FOLDER = ".hub"


class RunPusher:
    """What a run pushes, and to where; in the main process alone."""

    def __init__(self, config: RunConfig, target: Target) -> None:
        self.directory = config.output_dir
        self.settings = config.hub
        self.target = target
        self.uploads = Uploads(target)
        self.handed_over: set[int] = set()
        self.failed: dict[int, str] = {}
        self.missing_final: str | None = "there was no answer in time"
        self.is_public_told = False

    def push_save(self, step: int) -> None:
        """Hand the checkpoint of a step over, where the strategy pushes saves; returns when its files are linked."""
        strategy = self.settings.hub_strategy
        if strategy == "end":
            return
        state_folders = {"checkpoint": LAST_CHECKPOINT, "all_checkpoints": checkpoint_folder(Path(), step).name}
        try:
            prepared = prepare_checkpoint(
                self.directory,
                step,
                self._folder(step),
                naming=self._naming(),
                state_folder=state_folders.get(strategy),
                tag=self._tag(step),
            )
        except (HfpipeError, OSError) as error:
            self._note(Outcome(step, False, problems=_reasons(error)))
            return
        self.handed_over.add(step)
        gives_way = strategy != "all_checkpoints" and not self.settings.hub_tag_steps
        self.uploads.put(Job(prepared, gives_way))
        self._note_all()

    def push_final(self) -> None:
        """Push the finished model and wait for it, as long as its size allows; say what has not arrived."""
        step, naming = find_final_step(self.directory), self._naming()
        tags = self.settings.hub_tag_steps
        tag = find_final_tag(self.directory, naming.name, steps=self.handed_over) if tags else None
        try:
            prepared = prepare_final(self.directory, self._folder("final"), naming=naming, tag=tag)
        except (HfpipeError, OSError) as error:
            self._note(Outcome(step, True, problems=_reasons(error)))
        else:
            self.uploads.put(Job(prepared, is_final=True))
        waiting = self.uploads.count_bytes()
        seconds = SECONDS_AT_END + waiting / SLOWEST_BYTES_PER_SECOND
        if waiting:
            logger.info("pushing to %s: %.1f MB, waiting up to %d s", self.target.name, waiting / 1e6, seconds)
        self._end(seconds)
        for line in self._describe_missing():
            logger.warning(line)

    def leave(self) -> None:
        """Give what is under way the moment there is after a signal."""
        self._end(SECONDS_AFTER_SIGNAL)
        for step in self.failed:
            logger.warning("step %s is not on the Hub; the run that goes on from here pushes its later saves", step)

    def _end(self, seconds: float) -> None:
        try:
            self.uploads.wait(seconds)
        except KeyboardInterrupt:  # the record of the session is written, so it ends the waiting alone
            logger.warning("interrupted: no longer waiting for the Hub")
        finally:  # the process that uploads takes no notice of Ctrl-C
            self.uploads.close()
        self._note_all()
        shutil.rmtree(self.directory / WAITING_FOLDER, ignore_errors=True)

    def _note_all(self) -> None:
        for outcome in self.uploads.take_outcomes():
            self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        """Log and record what became of a push; what a save failed for is logged once."""
        step, pushed = outcome.step, outcome.pushed
        if pushed is None:
            reason = "; ".join(outcome.problems)
            if outcome.is_final:
                self.missing_final = reason
                return
            if reason not in self.failed.values():
                logger.warning("step %s was not pushed, the run goes on: %s", f"{step:,}", reason)
            self.failed[step] = reason
            return
        what = "the finished model" if outcome.is_final else f"step {step:,}"
        logger.info("pushed %s: %s (commit %s)", what, pushed.url, pushed.commit[:8])
        if not pushed.private and self.settings.hub_private_repo and not self.is_public_told:
            tell_public(pushed.repository)
            self.is_public_told = True
        if outcome.is_final:
            self.missing_final = None
        record_push(self.directory, pushed)

    def _describe_missing(self) -> Iterator[str]:
        """Yield a line for what has not arrived and should have, with the command that pushes it."""
        command = f"hfpipe push {self.directory}"
        if self.missing_final is not None:
            yield f"the finished model is not on the Hub ({self.missing_final}); push it by: {command}"
        kept = [step for step in self.failed if checkpoint_folder(self.directory / CHECKPOINTS, step).is_dir()]
        if kept and self.settings.hub_strategy == "all_checkpoints":
            options = " ".join(f"--checkpoint {step}" for step in sorted(kept))
            yield f"checkpoints that are not on the Hub: {len(kept):,}; push them by: {command} {options}"

    def _folder(self, name: int | str) -> Path:
        return self.directory / WAITING_FOLDER / str(name)

    def _naming(self) -> Naming:
        return Naming(self.target.name.rpartition("/")[2], self.target.revision)

    def _tag(self, step: int) -> str | None:
        return f"step-{step}" if self.settings.hub_tag_steps else None


class PushSaves(TrainerCallback):
    """Pushes at each save; given to the main process only."""

    def __init__(self, trainer: "PlannedTrainer", pusher: RunPusher) -> None:
        self.trainer = trainer
        self.pusher = pusher

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Hand the checkpoint over; it has just been renamed into its place."""
        self.pusher.push_save(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Wait a moment where a signal ended the session."""
        if self.trainer.stopped_by:
            self.pusher.leave()


def open_pusher(config: RunConfig) -> RunPusher | None:
    """Return what pushes this run, None where nothing is to be pushed.

    Raises:
        ConfigError: If there is no access token, or the Hub says that it may not be used for this.
    """
    if not config.hub.push_to_hub:
        return None
    name = config.hub.hub_model_id or find_default_name(config.output_dir)
    check_token(config)
    try:
        name = _check_access(config, name)
    except HubUnreachable as error:
        logger.warning("%s; training begins, and pushing is tried when there is something to push", error.problems[0])
    except HubError as error:
        raise ConfigError(error.problems) from error
    return RunPusher(config, Target(name, config.hub.hub_private_repo, config.hub.hub_revision))


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


def _check_access(config: RunConfig, name: str) -> str:
    """Return the repository's full name, once nothing is known to speak against pushing there."""
    account = find_account(seconds=SECONDS_AT_START)
    if account.only_reads:
        raise HubError(Problem(config.place("push_to_hub"), "true", "the access token may only read", LOG_IN))
    full_name = name if "/" in name else f"{account.name}/{name}"
    if not account.owns(full_name):
        # no refusal: what a token with few rights is told of its organizations may not be all
        owner = full_name.partition("/")[0]
        logger.warning(
            "%s %s: the access token is that of %s, who is not known to belong to %s: the Hub may refuse the push",
            *(config.place("hub_model_id"), full_name, account.name, owner),
        )
    if config.hub.hub_private_repo and find_visibility(full_name, seconds=SECONDS_AT_START) is False:
        tell_public(full_name)
    return full_name
