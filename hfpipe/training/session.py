"""One launch of a run: opened against its run directory, trained, and recorded.

A run is the directory; a session is one launch of it. The main process decides whether the run is new,
goes on or is done, and tells the others; only it writes the record.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import PartialState
from accelerate.utils import broadcast
from transformers import TrainingArguments, set_seed

from hfpipe.config import ModelSettings, RunConfig, change_of
from hfpipe.config.sections import FINETUNE
from hfpipe.errors import CheckpointError, HfpipeError, Problem
from hfpipe.hub.download import fetch_checkpoint
from hfpipe.models.allocator import keep_freed_memory, limit_kernels
from hfpipe.models.bars import hide_weight_bars
from hfpipe.models.fingerprints import pin_revisions
from hfpipe.records.disk import told_by_path
from hfpipe.records.durable import remove_folder
from hfpipe.records.identity import Terms
from hfpipe.records.launches import begins_anew
from hfpipe.records.manifest import fingerprint
from hfpipe.records.opening import open_run, read_run
from hfpipe.records.publication import clean_leftovers
from hfpipe.records.resumption import find_resumption
from hfpipe.records.run_directory import CHECKPOINTS, RUN_FILE, STAGING, checkpoint_folder, step_of
from hfpipe.records.run_lock import RunLock
from hfpipe.records.sessions import FINGERPRINT, saved_settings
from hfpipe.records.work import Cut, Work
from hfpipe.training.agreement import raise_in_all
from hfpipe.training.arguments import build_arguments
from hfpipe.training.downloads import download_first
from hfpipe.training.lifeline import join_lifeline, joining_group
from hfpipe.training.plan import PerformancePlan, find_plan
from hfpipe.training.precision import Precision
from hfpipe.training.progress import log_above_bars
from hfpipe.training.push_opening import open_pusher, open_rest_pusher
from hfpipe.training.pushing import RunPusher

logger = logging.getLogger(__name__)

_KINDS = ("new", "resume", "done")


@dataclass(frozen=True)
class Session:
    """What this launch knows before data and model.

    `checkpoint` is where it goes on from; a run that is resumed may have none yet. `pusher` is the main process's
    alone, and so is the `lock` of the run directory, held as long as the session lives.
    """

    config: RunConfig
    args: TrainingArguments
    lock: RunLock
    performance_plan: PerformancePlan
    is_done: bool
    is_resumed: bool
    checkpoint: Path | None
    started: float
    pusher: RunPusher | None = None

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.config.output_dir

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""
        return self.args.process_index == 0

    @property
    def precision(self) -> Precision:
        """The mixed precision of this launch, "no" for full float32."""
        return self.performance_plan.precision

    @property
    def cut(self) -> Cut:
        """How this launch cuts the rows of a step."""
        return find_cut_of(self.config, self.args)

    @property
    def rows_per_step(self) -> int:
        """Rows of a full window over all processes and micro-batches, where they are counted in rows."""
        rows = self.cut.rows_per_step
        assert rows is not None, "a budget of tokens is a setting of fine-tuning"
        return rows

    @property
    def model(self) -> ModelSettings:
        """The settings of model and tokenizer; those of the Hub at the commits this run has begun with, if it has."""
        return pin_revisions(self.config)

    @property
    def from_step(self) -> int:
        """Optimizer steps done before this session."""
        return step_of(self.checkpoint) if self.checkpoint else 0

    def seed(self) -> None:
        """Seed what draws random numbers next, whatever was drawn before."""
        set_seed(self.config.training.seed)

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        PartialState().wait_for_everyone()


def fingerprint_of(config: RunConfig) -> str:
    """Return what tells the checkpoints of the run in `output_dir` from those of another.

    It stays what it was when the run began: a later version of hfpipe may know more settings.

    Raises:
        CheckpointError: If the record in `output_dir` cannot be read.
    """
    begun = read_run(config.output_dir) if (config.output_dir / RUN_FILE).is_file() else {}
    return str(begun.get(FINGERPRINT) or fingerprint(config.flat(), change_of=change_of))


def find_cut_of(config: RunConfig, args: TrainingArguments) -> Cut:
    """Return how these arguments cut the rows of a step, in the processes that really started."""
    tokens = config.training.max_tokens_per_batch
    rows = args.per_device_train_batch_size if tokens is None else None
    return Cut(args.world_size, rows, args.gradient_accumulation_steps, tokens)


def open_session(config: RunConfig) -> Session:
    """Plan how to compute, join the process group, seed, open the run directory, and download what is on the Hub.

    Raises:
        ConfigError, TrainingError: If precision or processes are not what was asked for.
        ConfigError, DataError: If a checkpoint or data set of the Hub cannot be had.
        CheckpointError: If the directory holds something else, a run that other settings began, or one that another
            process is at work in.
    """
    started = time.monotonic()
    plan = find_plan(config)
    with joining_group(config.output_dir / CHECKPOINTS):
        args = build_arguments(config, plan)
    join_lifeline(args, config.output_dir / CHECKPOINTS)
    log_above_bars()
    if args.device.type == "cpu":
        keep_freed_memory()
        if config.recipe == FINETUNE:  # blocks of a language model have one shape
            limit_kernels()
    transformers.logging.set_verbosity_error()
    hide_weight_bars()
    set_seed(config.training.seed)
    lock = RunLock(config.output_dir)
    kind, step, pusher = _agree(args, config, work=Work(find_cut_of(config, args), plan.precision), lock=lock)
    checkpoint = checkpoint_folder(config.output_dir / CHECKPOINTS, step) if kind == "resume" and step else None
    # The evaluation at the start was made when the run began.
    args.eval_on_start = args.eval_on_start and checkpoint is None
    session = Session(config, args, lock, plan, kind == "done", kind == "resume", checkpoint, started, pusher)
    if session.is_main and not session.is_done:
        _announce(session, kind)
    if not session.is_done:
        download_first(config, args)
    return session


def _agree(
    args: TrainingArguments, config: RunConfig, *, work: Work, lock: RunLock
) -> tuple[str, int, RunPusher | None]:
    """Return kind and step of the run as the main process found them, and in that one what pushes it.

    Where it refuses, all processes do.
    """
    found = [0, 0]
    pusher: RunPusher | None = None
    refusal: HfpipeError | None = None
    if args.process_index == 0:
        try:
            *found, pusher = _open(config, work, lock=lock)
        except HfpipeError as error:
            refusal = error
    raise_in_all(refusal, args)
    if args.world_size > 1:
        found = broadcast(torch.tensor(found, device=args.device)).tolist()
    return _KINDS[found[0]], found[1], pusher


def _open(config: RunConfig, work: Work, *, lock: RunLock) -> tuple[int, int, RunPusher | None]:
    """Return the number of the kind, the step to go on from, and what pushes the run."""
    if config.training.fresh_start or config.training.resume_from_checkpoint:
        lock.hold()
    # before an earlier run is moved aside for nothing
    is_new = begins_anew(config.output_dir, fresh_start=config.training.fresh_start)
    pusher = open_pusher(config) if is_new else None
    wanted = fetch_checkpoint(config)
    opening = open_run(
        config.output_dir,
        config.flat(),
        fresh_start=is_new,
        terms=Terms(change_of, config.place, config.default_of),
        work=work,
    )
    if opening.kind == "resume":
        lock.hold()
    if opening.moved_to:
        lock.release()
        logger.info("the earlier run in %s now lies in %s", config.output_dir, opening.moved_to)
    if wanted is not None and opening.kind == "new":
        rule = f"there is no run in {config.output_dir} to go on with"
        remedy = "name the run's output_dir, or start from weights by model_name_or_path"
        raise CheckpointError(Problem(config.place("resume_from_checkpoint"), wanted, rule, remedy))
    checkpoint = _find_checkpoint(config, wanted) if opening.kind == "resume" else None
    if checkpoint is None and opening.run is not None:
        _check_completion(config, opening.run)
    if opening.kind == "done":
        pusher = open_rest_pusher(config)
    elif pusher is None:
        pusher = open_pusher(config, goes_on=opening.kind == "resume")
    return _KINDS.index(opening.kind), step_of(checkpoint) if checkpoint else 0, pusher


def _check_completion(config: RunConfig, run: Mapping[str, Any]) -> None:
    """Refuse to train a finished run anew, without a checkpoint, where only its test part is to be scored."""
    was_held_back = saved_settings(run).get("score_test") is False
    if run["status"] == "done" and was_held_back and config.evaluation.score_test:
        rule = "no checkpoint is there to score the test part with, so the finished run would be trained anew"
        remedy = "leave score_test: false, and score a file: hfpipe evaluate"
        raise CheckpointError(Problem(str(config.output_dir / CHECKPOINTS), rule=rule, remedy=remedy))


def _find_checkpoint(config: RunConfig, wanted: str | None) -> Path | None:
    """Make good what a killed session left half done, and return the checkpoint to go on from."""
    checkpoints = config.output_dir / CHECKPOINTS
    with told_by_path(checkpoints):
        remove_folder(config.output_dir / STAGING)
        clean_leftovers(checkpoints)
        resumption = find_resumption(
            checkpoints, wanted, config=fingerprint_of(config), needs_best=config.training.load_best_model_at_end
        )
        resumption.leave_behind()
    return resumption.folder


def _announce(session: Session, kind: str) -> None:
    args = session.args
    where = f"goes on from step {session.from_step:,}" if session.checkpoint else "begins"
    logger.info("run %s %s (%s)", session.directory, where, kind)
    logger.info("device %s, processes %d, mixed precision %s", args.device, args.world_size, session.precision)
