"""`hfpipe push --pending`: what a run recorded to be pushed and could not, delivered in order while the user looks on.

It holds the lock of whoever delivers, so it refuses where the run itself is at work. What fails in passing is tried
again a few times; a refusal ends it at once, and everything that is left stays where it is.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfpipe.errors import HubError, Problem
from hfpipe.hub.answers import HubUnreachable
from hfpipe.hub.delivery import Deliverer, UnfitEntry, find_rest, settle
from hfpipe.hub.pushed import Pushed
from hfpipe.hub.repository import MAIN, Repository, limit_waiting
from hfpipe.hub.spool import Entry, Spool, count_bytes
from hfpipe.records.opening import read_run

ATTEMPTS = 5


@dataclass(frozen=True)
class PushOptions:
    """What the command line says; None and empty leave it to the run's settings."""

    hub_model_id: str | None = None
    public: bool = False
    revision: str | None = None
    tag: str | None = None
    checkpoints: tuple[str, ...] = ()


def push_pending(run_dir: Path, options: PushOptions, *, dry_run: bool = False) -> Iterator[str]:
    """Deliver what is pending, oldest first, and yield a line for each commit; with `dry_run` only list it.

    Where to, and under which names, was settled when it was recorded: `options` that say otherwise are refused.

    Raises:
        HubError: If the Hub refuses or cannot be reached, or another process is at it.
        CheckpointError: If the folder holds no run, or what is pending cannot be read.
    """
    read_run(run_dir)
    if options != PushOptions():
        rule = "takes no other option: where to and what was settled when it was recorded"
        raise HubError(Problem("--pending", rule=rule, remedy="leave the others out, or push without --pending"))
    spool = Spool(run_dir)
    if not spool.list_entries():
        yield f"{run_dir}: nothing is pending"
    elif dry_run:
        yield from list_pending(spool)
    else:
        limit_waiting()
        with spool.hold():
            yield from deliver_all(spool, spool.list_pending())
            spool.close()


def list_pending(spool: Spool) -> Iterator[str]:
    """Yield a line for each commit that is not on the Hub yet, their sum, and what keeps them from it."""
    pending = spool.list_pending()
    for entry in pending:
        branch = f", branch {entry.target.revision}" if entry.target.revision else ""
        yield f"  {entry.count_bytes():>15,}  {entry.title} to {entry.target.name}{branch}"
    yield f"  {count_bytes(pending):>15,}  bytes in {count_commits(pending)}"
    trouble = spool.read_trouble()
    if pending and trouble is not None:
        yield f"{trouble.title} was not delivered: {'; '.join(trouble.problems)}"


def deliver_all(spool: Spool, entries: Sequence[Entry]) -> Iterator[str]:
    """Deliver these entries and yield a line for each; the caller holds the lock.

    Raises:
        HubError: If one cannot be delivered; it and those after it stay.
    """
    deliverer = Deliverer(spool)
    yield from map(describe_pushed, settle(spool))
    for number, entry in enumerate(entries):
        try:
            yield from _deliver(deliverer, entry)
        except UnfitEntry as error:
            reasons = [str(problem) for problem in error.problems]
            place = spool.set_unfit_aside(entry, reasons)
            yield f"{entry.title} must not travel and now lies in {place}: {'; '.join(reasons)}"
        except HubError as error:
            left = entries[number:]
            rule = f"{count_commits(left)} still pending ({count_bytes(left):,} bytes)"
            again = Problem(str(spool.run_dir), rule=rule, remedy=f"hfpipe push {spool.run_dir} --pending")
            raise HubError([*error.problems, again]) from error
        yield from map(describe_pushed, settle(spool))


def find_same_place(entries: Sequence[Entry], repository: Repository) -> list[Entry]:
    """Return the entries that go to this branch of this repository."""
    names = (repository.name, repository.name.partition("/")[2])
    return [
        entry
        for entry in entries
        if entry.target.name in names and (entry.target.revision or MAIN) == repository.revision
    ]


def describe_pushed(pushed: Pushed) -> str:
    """Return the line a user reads of a commit that was made."""
    followed = f", after {pushed.on_top_of!r} of somebody else" if pushed.on_top_of else ""
    return f"pushed: {pushed.url} (commit {pushed.commit[:8]}{followed})"


def count_commits(entries: Sequence[Entry]) -> str:
    """Return the number of commits in words."""
    return "1 commit" if len(entries) == 1 else f"{len(entries):,} commits"


def _deliver(deliverer: Deliverer, entry: Entry) -> Iterator[str]:
    """Deliver an entry, again where it fails in passing, and yield a line for each wait."""
    for failures in range(1, ATTEMPTS + 1):
        try:
            deliverer.deliver(entry)
        except HubUnreachable as error:
            if failures == ATTEMPTS:
                raise
            rest = find_rest(error, failures)
            seconds = rest.asked + rest.own
            yield f"{error.problems[0]} ({failures} of {ATTEMPTS} tries; the next in {seconds:,.0f} s)"
            time.sleep(seconds)
        else:
            return
