"""Delivering: one commit to the Hub, the oldest entry of a spool, and when to try again what failed.

Each entry is delivered once, whatever is killed or lost in between: the tip it goes on top of is written down before
the commit is asked for, the Hub refuses it on top of another one, and before an entry is tried again the commits since
that tip are searched for its id. The oldest entry is always first; what comes after waits for it.
"""

import random
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from huggingface_hub import get_token

from hfpipe.errors import HubError
from hfpipe.hub.answers import HubUnreachable
from hfpipe.hub.files import CURVE, check_files
from hfpipe.hub.prepare import Prepared
from hfpipe.hub.pushed import Pushed, list_pushes, record_push
from hfpipe.hub.repository import AtHome, Repository, Target, open_repository
from hfpipe.hub.spool import Entry, Spool
from hfpipe.records.run_directory import HISTORY_FILE, read_history

SECONDS_AT_FIRST = 1.0
SECONDS_AT_MOST = 300.0
# A refusal ends when somebody does something about it: a new token, which is noticed at once, or rights on the Hub.
SECONDS_AFTER_REFUSAL = 600.0


class UnfitEntry(HubError):
    """An entry whose files must not travel: no waiting mends that, and it must not hold up the others."""


@dataclass(frozen=True)
class Rest:
    """How long to wait before the next try: what the Hub asks for, then what can be cut short."""

    asked: float
    own: float


@dataclass
class Deliverer:
    """Delivers the entries of a spool; keeps the repositories open that it has found.

    What takes time without the Hub is done within `at_home`.
    """

    spool: Spool
    at_home: AtHome = nullcontext
    _opened: dict[Target, Repository] = field(default_factory=dict)

    def deliver(self, entry: Entry) -> Pushed:
        """Bring an entry to the Hub, where it may be already, and note that it is there.

        Raises:
            UnfitEntry: If a file must not travel.
            HubError: If the Hub refuses, or cannot be reached (HubUnreachable).
        """
        upload, parent = entry.prepared.upload, self.spool.find_parent(entry)
        with self.at_home():
            _check_fit(upload.folder)
        try:
            # made where it is not, or no longer, there
            repository = self._opened.get(entry.target) or open_repository(entry.target)
            made = repository.find_made(upload, since=parent) if parent else None
            pushed = self._push(repository, entry) if made is None else _describe(repository, entry, made)
            if upload.tag is not None:
                repository.tag(upload.tag, pushed.commit)
        except HubError:
            self._opened.pop(entry.target, None)
            raise
        self._opened[entry.target] = repository
        self.spool.note_delivered(entry, pushed)
        return pushed

    def _push(self, repository: Repository, entry: Entry) -> Pushed:
        with self.at_home():
            _complete(entry.prepared)
        tip = repository.find_tip()
        on_top_of = repository.find_title(tip) if self._is_of_others(repository, tip) else None
        entry.prepared.write_card(repository.name, private=repository.private)
        commit = repository.push(
            entry.prepared.upload,
            tip=tip,
            begin=lambda: self.spool.note_attempt(entry, tip),
            at_home=self.at_home,
        )
        return replace(_describe(repository, entry, commit), on_top_of=on_top_of)

    def _is_of_others(self, repository: Repository, tip: str) -> bool:
        """Tell whether somebody else was the last to push to where this run had pushed before."""
        settled = [(each["repository"], each["revision"], each["commit"]) for each in list_pushes(self.spool.run_dir)]
        read = (self.spool.read_delivered(entry) for entry in self.spool.list_entries() if entry.is_delivered)
        known = [*settled, *((each.repository, each.revision, each.commit) for each in read)]
        own = [commit for name, revision, commit in known if (name, revision) == (repository.name, repository.revision)]
        return bool(own) and tip not in own


def complete_and_push(repository: Repository, prepared: Prepared) -> str:
    """Complete the folder of a commit by curve and card, make the commit on top of what is there, and return its id.

    Raises:
        HubError: As `Repository.push`.
    """
    _complete(prepared)
    prepared.write_card(repository.name, private=repository.private)
    commit = repository.push(prepared.upload, tip=repository.find_tip())
    if prepared.upload.tag is not None:
        repository.tag(prepared.upload.tag, commit)
    return commit


def describe_commit(repository: Repository, prepared: Prepared, *, commit: str, is_final: bool) -> Pushed:
    """Return what is known of the commit that a folder became."""
    return Pushed(
        step=prepared.step,
        commit=commit,
        repository=repository.name,
        url=repository.url,
        private=repository.private,
        revision=repository.revision,
        tag=prepared.upload.tag,
        is_final=is_final,
    )


def settle(spool: Spool) -> list[Pushed]:
    """Write what was delivered into the record of the run, remove it from the spool, and return it in order.

    Only for the process that may write the record: the run itself, or the command line where none is under way.

    Raises:
        CheckpointError: If an entry or the record cannot be read or written.
    """
    settled = []
    for entry in spool.list_entries():
        if entry.is_delivered:
            pushed = spool.read_delivered(entry)
            record_push(spool.run_dir, pushed)
            spool.remove(entry)
            settled.append(pushed)
    return settled


def find_rest(error: HubError, failures: int) -> Rest:
    """Return how long to leave the Hub alone after so many failures in a row.

    It doubles from failure to failure, and half of it is drawn, so that many runs do not come back all at once.
    """
    if not isinstance(error, HubUnreachable):
        return Rest(0.0, SECONDS_AFTER_REFUSAL)
    longest = min(SECONDS_AT_MOST, SECONDS_AT_FIRST * 2 ** min(failures - 1, 30))
    return Rest(error.retry_after, random.SystemRandom().uniform(longest / 2, longest))


def _describe(repository: Repository, entry: Entry, commit: str) -> Pushed:
    return describe_commit(repository, entry.prepared, commit=commit, is_final=entry.is_final)


def _complete(prepared: Prepared) -> None:
    """Draw the curve that belongs beside the weights."""
    folder = prepared.upload.folder
    if (folder / HISTORY_FILE).is_file() and not (folder / CURVE).exists():
        from hfpipe.report.plots import plot_loss_curve

        plot_loss_curve(read_history(folder / HISTORY_FILE), folder / CURVE)


def _check_fit(folder: Path) -> None:
    try:
        check_files(folder, token=get_token())
    except HubError as error:
        raise UnfitEntry(error.problems) from error
