"""Repositories as a whole: who asks, creating, deleting, moving, describing them."""

import re
from typing import Any, cast

from hub_server.accounts import Account, check_known, check_may_write, may_see
from hub_server.exchange import Answer, Refusal, Request, reply
from hub_server.hub import Hub, find_commit
from hub_server.storage import Commit, Kind, Repository, sha1


def kind_of(match: "re.Match[str]") -> Kind:
    """Return the kind of repository an address speaks of: 'datasets' is 'dataset', and nothing is a model."""
    return cast("Kind", (match["kind"] or "models").removesuffix("s"))


def who_am_i(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Answer `HfApi.whoami`."""
    known = check_known(account)
    organizations = [{"type": "org", "name": name, "roleInOrg": known.role} for name in known.organizations]
    token = {"type": "access_token", "accessToken": {"displayName": "test", "role": known.role}}
    about = {"type": "user", "id": "1", "name": known.name, "fullname": known.name, "isPro": False}
    return reply({**about, "orgs": organizations, "auth": token})


def validate_card(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Find nothing wrong with the metadata of a card."""
    return reply({"errors": [], "warnings": []})


def create(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Create a repository; 409 where there is one of this name."""
    asked = request.json()
    namespace = asked.get("organization") or check_known(account).name
    check_may_write(account, namespace)
    kind, name = asked.get("type", "model"), f"{namespace}/{asked['name']}"
    existing = hub.storage.repositories.get((kind, name))
    if existing is not None:
        told = {"error": f"You already created this {kind} repo", "url": f"{request.url}/{existing.prefix}{name}"}
        return reply(told, status=409)
    repository = hub.storage.create(kind, name, private=_is_private(asked))
    return reply({"url": f"{request.url}/{repository.prefix}{name}", "name": name, "id": name})


def delete(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Delete a repository and all it holds."""
    asked = request.json()
    name = f"{asked.get('organization') or check_known(account).name}/{asked['name']}"
    repository = find_writable(hub, asked.get("type", "model"), name, account)
    del hub.storage.repositories[repository.kind, repository.name]
    return reply({})


def move(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Give a repository another name; the old one is gone."""
    asked = request.json()
    repository = find_writable(hub, asked.get("type", "model"), asked["fromRepo"], account)
    check_may_write(account, asked["toRepo"].split("/")[0])
    if (repository.kind, asked["toRepo"]) in hub.storage.repositories:
        raise Refusal(409, "A repository of this name exists already")
    del hub.storage.repositories[repository.kind, repository.name]
    repository.name = asked["toRepo"]
    hub.storage.repositories[repository.kind, repository.name] = repository
    return reply({})


def list_all(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """List the repositories of a kind that the account may see, of one author where asked."""
    kind, author = kind_of(match), request.query.get("author")
    found = [
        repository
        for repository in hub.storage.repositories.values()
        if repository.kind == kind and author in (None, repository.namespace) and may_see(account, repository)
    ]
    return reply([_description(repository, repository.head, with_blobs=False) for repository in found])


def describe(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Describe a repository at a revision, the main branch where none is named."""
    repository = hub.find_repository(kind_of(match), match["name"], account)
    revision = match.groupdict().get("revision")
    commit = repository.head if revision is None else find_commit(repository, revision)
    return reply(_description(repository, commit, with_blobs=request.asks("blobs")))


def check_access(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Answer whether the account may see the repository."""
    hub.find_repository(kind_of(match), match["name"], account)
    return reply({})


def change_settings(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Make a repository private or public, gated or not."""
    repository = find_writable(hub, kind_of(match), match["name"], account)
    asked = request.json()
    if "private" in asked or "visibility" in asked:
        repository.private = _is_private(asked)
    if "gated" in asked:
        repository.gated = bool(asked["gated"])
    return reply({})


def find_writable(hub: Hub, kind: Kind, name: str, account: Account | None) -> Repository:
    """Return a repository the account may write to, or refuse as the Hub does."""
    repository = hub.find_repository(kind, name, account)
    check_may_write(account, repository.namespace)
    return repository


def _is_private(asked: dict[str, Any]) -> bool:
    return asked.get("visibility") == "private" or bool(asked.get("private"))


def _description(repository: Repository, commit: Commit, *, with_blobs: bool) -> dict[str, Any]:
    siblings: list[dict[str, Any]] = []
    for path, file in sorted(commit.files.items()):
        sibling: dict[str, Any] = {"rfilename": path}
        if with_blobs:
            sibling |= {"size": file.size, "blobId": file.blob_id}
        if with_blobs and file.sha256 is not None:
            sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": 134}
        siblings.append(sibling)
    return {
        "_id": sha1(repository.name.encode())[:24],
        "id": repository.name,
        "author": repository.namespace,
        "sha": commit.id,
        "private": repository.private,
        "gated": "auto" if repository.gated else False,
        "disabled": False,
        "lastModified": commit.date,
        "createdAt": repository.created,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": siblings,
    }
