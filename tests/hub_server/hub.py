"""The Hub's state, and how a repository and a revision are found in it or refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from hub_server.accounts import ACCOUNTS, Account, may_see
from hub_server.exchange import Refusal
from hub_server.storage import Commit, Kind, Repository, Storage


@dataclass
class Hub:
    """What is stored, who has a token, and from which sizes on files are large and cut into parts (in bytes)."""

    storage: Storage = field(default_factory=Storage)
    accounts: Mapping[str, Account] = field(default_factory=lambda: dict(ACCOUNTS))
    large_from: int = 10_000_000
    part_size: int = 5_000_000

    def find_repository(self, kind: Kind, name: str, account: Account | None) -> Repository:
        """Return a repository the account may see.

        Raises:
            Refusal: Where there is none, or it is private: 401 without a token and 404 with one, as the Hub does.
        """
        repository = self.storage.repositories.get((kind, unquote(name)))
        if repository is None or not may_see(account, repository):
            raise Refusal(401 if account is None else 404, "Repository not found", code="RepoNotFound")
        return repository


def find_commit(repository: Repository, revision: str) -> Commit:
    """Return the commit of a revision as it stands in an address, or refuse it by 404."""
    commit = repository.find(unquote(revision))
    if commit is None:
        raise Refusal(404, f"Invalid rev id: {unquote(revision)}", code="RevisionNotFound")
    return commit
