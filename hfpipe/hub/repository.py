"""A repository on the Hub: found or made, written to one commit at a time, and read.

A commit names the one it goes on top of and carries an id in its message, so one whose answer was lost is found again
and never made twice. Every request has a time limit: the client's own has none, and a connection that hangs would hang
its process. It is set for the whole process, so uploads are the business of a process of their own (`worker`) or of the
command line.
"""

import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    get_session,
    get_token,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from hfpipe.errors import HubError, Problem
from hfpipe.hub.answers import LOG_IN, explained
from hfpipe.hub.files import check_files, is_managed

AtHome = Callable[[], AbstractContextManager[None]]

MAIN = "main"
SECONDS_OF_SILENCE = 30.0


@dataclass(frozen=True)
class Target:
    """Where to push: `name` may lack its owner, who is the token's then. `private` matters where it does not exist."""

    name: str
    private: bool = True
    revision: str | None = None


@dataclass(frozen=True)
class Upload:
    """One commit: what lies in `folder` takes the place of the same `folders` of the repository.

    Of the TOP that is every file of ours, of the others everything. `tag` names the commit, `id` is in its message.
    """

    folder: Path
    message: str
    folders: tuple[str, ...]
    tag: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def mark(self) -> str:
        """The line of the commit's message by which it is found again."""
        return f"hfpipe-revision: {self.id}"

    def to_json(self) -> dict[str, Any]:
        """Return the upload for a message to another process."""
        return {**asdict(self), "folder": str(self.folder)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Upload":
        """Return the upload of such a message."""
        return cls(**{**value, "folder": Path(value["folder"]), "folders": tuple(value["folders"])})


@dataclass(frozen=True)
class Repository:
    """A repository that exists, with its full name and what is to be pushed to."""

    api: HfApi
    name: str
    private: bool
    revision: str

    @property
    def url(self) -> str:
        """Its page."""
        page = f"{self.api.endpoint}/{self.name}"
        return page if self.revision == MAIN else f"{page}/tree/{self.revision}"

    def find_tip(self) -> str:
        """Return the newest commit.

        Raises:
            HubError: If the Hub refuses or cannot be reached.
        """
        with explained(self.name):
            info = self.api.repo_info(self.name, revision=self.revision, timeout=SECONDS_OF_SILENCE)
        return str(info.sha)

    def find_title(self, commit: str) -> str:
        """Return the first line of the message of a commit.

        Raises:
            HubError: If the Hub refuses or cannot be reached.
        """
        with explained(self.name):
            commits = self.api.list_repo_commits(self.name, revision=self.revision)
        return next((each.title for each in commits if each.commit_id == commit), commit[:8])

    def find_made(self, upload: Upload, *, since: str) -> str | None:
        """Return the commit that an upload became, looked for among those after the commit `since`.

        Raises:
            HubError: If the Hub refuses or cannot be reached.
        """
        with explained(self.name):
            commits = self.api.list_repo_commits(self.name, revision=self.revision)
        newer = takewhile(lambda commit: commit.commit_id != since, commits)
        return next((commit.commit_id for commit in newer if upload.mark in commit.message), None)

    def push(
        self, upload: Upload, *, tip: str, begin: Callable[[], None] = lambda: None, at_home: AtHome = nullcontext
    ) -> str:
        """Make the commit on top of `tip` and return its id; where nothing differs, that of the tip.

        `begin` is called before the commit is asked for, and what takes time without the Hub is done within `at_home`.

        Raises:
            HubError: If a file must not travel, or the Hub refuses or cannot be reached, or has moved on from the tip.
        """
        with at_home():
            paths = check_files(upload.folder, token=get_token())
            additions = [CommitOperationAdd(path, upload.folder / path) for path in paths]
        with explained(self.name):
            there = self.api.list_repo_files(self.name, revision=tip)
            gone = [path for path in there if is_managed(path, upload.folders) and path not in paths]
            operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
                *additions,
                *(CommitOperationDelete(path, is_folder=False) for path in gone),
            ]
            begin()
            made = self.api.create_commit(
                self.name,
                operations,
                commit_message=upload.message,
                commit_description=upload.mark,
                revision=self.revision,
                parent_commit=tip,
            )
        return str(made.oid)

    def tag(self, tag: str, commit: str) -> None:
        """Put a tag on a commit; one of an earlier push of the same step is moved.

        Raises:
            HubError: If the Hub refuses or cannot be reached.
        """
        with explained(f"{self.name}: tag {tag}"):
            refs = self.api.list_repo_refs(self.name)
            there = {ref.name: ref.target_commit for ref in refs.tags}
            if there.get(tag) == commit:
                return
            if tag in there:
                self.api.delete_tag(self.name, tag=tag)
            self.api.create_tag(self.name, tag=tag, revision=commit)


def limit_waiting(hooks: Mapping[str, list[Callable[..., None]]] | None = None) -> None:
    """Give every request of this process a time limit, and `hooks` of the client's HTTP library beside its own."""
    session = get_session()
    kind, own = type(session), session.event_hooks
    hooks = {name: [*own.get(name, []), *(hooks or {}).get(name, [])] for name in ("request", "response")}
    huggingface_hub.set_client_factory(
        lambda: kind(event_hooks=hooks, follow_redirects=True, timeout=SECONDS_OF_SILENCE)
    )


def open_repository(target: Target) -> Repository:
    """Return the repository to push to, made where it does not exist, with the branch that is asked for.

    Raises:
        HubError: If there is no token, it may not write there, or the Hub cannot be reached.
    """
    token = get_token()
    if token is None:
        raise HubError(Problem(target.name, rule="pushing needs an access token", remedy=LOG_IN))
    api = HfApi(token=token)
    with explained(target.name):
        url = api.create_repo(target.name, private=target.private, exist_ok=True)
        private = bool(api.repo_info(url.repo_id, timeout=SECONDS_OF_SILENCE).private)
    revision = target.revision or MAIN
    if revision != MAIN:
        with explained(f"{url.repo_id}: branch {revision}"):
            api.create_branch(url.repo_id, branch=revision, exist_ok=True)
    return Repository(api, url.repo_id, private, revision)


@dataclass(frozen=True)
class Account:
    """Whose a token is, to which organizations that one belongs, and whether it may only read."""

    name: str
    organizations: tuple[str, ...]
    only_reads: bool

    def owns(self, repository: str) -> bool:
        """Tell whether a repository, by its full name, is in a place of this account."""
        return repository.partition("/")[0] in (self.name, *self.organizations)


def find_account(*, seconds: float) -> Account:
    """Return the account of the token, asked within so many seconds.

    Raises:
        HubError: If the Hub does not know the token, or cannot be reached (HubUnreachable).
    """
    with explained("the access token"):
        # whoami of the client has no time limit
        address = f"{HfApi().endpoint}/api/whoami-v2"
        answer = get_session().get(address, headers=build_hf_headers(), timeout=seconds)
        hf_raise_for_status(answer)
        about = answer.json()
    role = about.get("auth", {}).get("accessToken", {}).get("role")
    organizations = tuple(str(each["name"]) for each in about.get("orgs", ()))
    return Account(str(about["name"]), organizations, role == "read")


def find_visibility(name: str, *, seconds: float) -> bool | None:
    """Return whether a repository is private; None where there is none that the token can see.

    Raises:
        HubError: If the Hub refuses the token, or cannot be reached (HubUnreachable).
    """
    try:
        with explained(name):
            return bool(HfApi().repo_info(name, timeout=seconds).private)
    except HubError as error:
        if isinstance(error.__cause__, huggingface_hub.errors.RepositoryNotFoundError):
            return None
        raise
