"""Whether a run that goes on stands where it stood in the global order of rows.

The order follows from the seed, the epoch and the number of rows; the place in it is a count of rows, which every cut
of the steps shares. Both are compared with what the run has written down: packing or cutting of texts may change with
the version of a library, and a run would go on with other rows without a word.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfpipe.data.batches import Plan
from hfpipe.data.token_batches import TokenBatchPlan
from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.manifest import read_manifest
from hfpipe.records.opening import read_run
from hfpipe.records.sessions import add_facts
from hfpipe.records.work import MEAN_ROWS
from hfpipe.training.agreement import written_for_all
from hfpipe.training.session import Session

ROWS_PER_EPOCH = "rows_per_epoch"
MICRO_BATCHES_PER_EPOCH = "micro_batches_per_epoch"
PADDING_FREE_BATCHES = "padding_free_batches"
"""Key of a record: whether a budget of tokens was filled with texts of any length, by those that hold a token."""
_NAMES = {ROWS_PER_EPOCH: "rows of an epoch", MICRO_BATCHES_PER_EPOCH: "micro-batches of an epoch"}
_OTHER_ORDER = "the run began with {:,}, so the order of the rows would be another one"
_REMEDY = "go on with the versions of libraries that run.json names, or begin anew with fresh_start: true"


def find_dealing(run: Mapping[str, Any], *, padding_free: bool) -> bool:
    """Return whether batches by tokens need not be of like length; a run that goes on, by its record, as it began.

    So it is where this machine computes padding again: its batches are then larger than the budget.
    """
    return bool(run.get(PADDING_FREE_BATCHES, False)) if MICRO_BATCHES_PER_EPOCH in run else padding_free


def check_order(session: Session, plan: Plan) -> None:
    """Compare the rows of an epoch, and the rows that a checkpoint has been trained on, with the plan; record them.

    Every process of the run calls it. A stream has no epoch known beforehand.

    Raises:
        CheckpointError: If one differs, with both values.
    """
    run, facts = read_run(session.directory), _describe(plan)
    problems = [
        Problem(_NAMES[key], f"{facts[key]:,}", _OTHER_ORDER.format(run[key]), _REMEDY)
        for key in _NAMES
        if key in facts and key in run and run[key] != facts[key]
    ]
    if not problems and session.checkpoint is not None:
        problems += find_cursor_problem(session.checkpoint, session.from_step, plan)
    if problems:
        raise CheckpointError(problems)
    session.wait_for_all()
    with written_for_all(session.directory, session.args):
        if session.is_main and not facts.keys() <= run.keys():
            add_facts(session.directory, facts)


def _describe(plan: Plan) -> dict[str, float]:
    """Return what the record says of the order of `plan`; nothing of a stream."""
    if isinstance(plan, TokenBatchPlan):
        return {
            ROWS_PER_EPOCH: plan.num_rows,
            MICRO_BATCHES_PER_EPOCH: plan.global_micro_batches,
            MEAN_ROWS: plan.mean_rows_per_step,
            PADDING_FREE_BATCHES: plan.padding_free,
        }
    return {} if plan.in_order else {ROWS_PER_EPOCH: plan.num_rows}


def find_cursor_problem(checkpoint: Path, step: int, plan: Plan) -> list[Problem]:
    """Return what is wrong with the place of a checkpoint in the order of `plan`: one problem, or none."""
    manifest, planned = read_manifest(checkpoint), plan.count_samples(step)
    if isinstance(manifest, Problem):
        return [manifest]
    if manifest.stamp.samples == planned:
        return []
    rule = f"the plan of this run has {planned:,} behind step {step:,}, so rows would be left out or repeated"
    return [Problem(str(checkpoint), f"{manifest.stamp.samples:,} rows trained on", rule, _REMEDY)]
