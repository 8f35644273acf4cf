"""Who is asking: the account behind a token, and what it may do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hub_server.exchange import Refusal
from hub_server.storage import Repository

WRITE_TOKEN = "hf_writes"
READ_TOKEN = "hf_reads"
STRANGER_TOKEN = "hf_stranger"


@dataclass(frozen=True)
class Account:
    """A user, the organizations it belongs to, and whether its token may write."""

    name: str
    organizations: tuple[str, ...] = ()
    role: Literal["read", "write"] = "write"

    def is_in(self, namespace: str) -> bool:
        """Tell whether repositories of `namespace` are this account's own."""
        return namespace == self.name or namespace in self.organizations


ACCOUNTS: Mapping[str, Account] = {
    WRITE_TOKEN: Account("tester", ("acme",)),
    READ_TOKEN: Account("tester", ("acme",), role="read"),
    STRANGER_TOKEN: Account("stranger"),
}


def account_of(authorization: str, accounts: Mapping[str, Account]) -> Account | None:
    """Return the account of an Authorization header, None where there is none.

    Raises:
        Refusal: 401 for a token nobody has.
    """
    token = authorization.removeprefix("Bearer ").strip()
    if not token:
        return None
    if token not in accounts:
        raise Refusal(401, "Invalid user token.")
    return accounts[token]


def check_known(account: Account | None) -> Account:
    """Return the account, or refuse an anonymous request."""
    if account is None:
        raise Refusal(401, "Invalid username or password.")
    return account


def check_may_write(account: Account | None, namespace: str) -> None:
    """Refuse whoever may not write to `namespace`: 401 without a token, 403 with the wrong one."""
    known = check_known(account)
    if known.role != "write" or not known.is_in(namespace):
        raise Refusal(403, f"You don't have the rights to write under the namespace {namespace}")


def may_see(account: Account | None, repository: Repository) -> bool:
    """Tell whether a repository exists as far as this account is concerned."""
    return not repository.private or (account is not None and account.is_in(repository.namespace))


def check_may_download(account: Account | None, repository: Repository) -> None:
    """Refuse the files of a gated repository to all but its owners."""
    if repository.gated and not (account is not None and account.is_in(repository.namespace)):
        message = (
            f"Access to {repository.kind} {repository.name} is restricted. You must be authenticated to access it."
        )
        raise Refusal(401 if account is None else 403, message, code="GatedRepo")
