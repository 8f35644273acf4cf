"""Branches, tags and the history of commits."""

import re
from urllib.parse import unquote

from hub_server.accounts import Account
from hub_server.exchange import Answer, Refusal, Request, reply
from hub_server.hub import Hub, find_commit
from hub_server.repository_routes import find_writable, kind_of
from hub_server.storage import MAIN


def list_references(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """List branches and tags with the commits they stand at."""
    repository = hub.find_repository(kind_of(match), match["name"], account)

    def listed(references: dict[str, str], folder: str) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": commit_id}
            for name, commit_id in references.items()
        ]

    branches, tags = listed(repository.branches, "heads"), listed(repository.tags, "tags")
    return reply({"branches": branches, "tags": tags, "converts": []})


def list_commits(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """List the commits that led to a revision, the newest first."""
    repository = hub.find_repository(kind_of(match), match["name"], account)
    commit, listed = find_commit(repository, match["revision"]), []
    while True:
        about = {"id": commit.id, "title": commit.title, "message": commit.body, "date": commit.date}
        listed.append({**about, "authors": [{"user": repository.namespace}]})
        if commit.parent is None:
            return reply(listed)
        commit = repository.commits[commit.parent]


def create_branch(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Create a branch at a revision, the main branch where none is named; 409 where there is one."""
    repository = find_writable(hub, kind_of(match), match["name"], account)
    name = unquote(match["branch"])
    if name in repository.branches:
        raise Refusal(409, "Branch already exists")
    repository.branches[name] = find_commit(repository, request.json().get("startingPoint") or MAIN).id
    return reply({})


def delete_branch(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Delete a branch; its commits stay."""
    repository = find_writable(hub, kind_of(match), match["name"], account)
    if unquote(match["branch"]) == MAIN:
        raise Refusal(403, "The main branch cannot be deleted")
    _remove(repository.branches, unquote(match["branch"]))
    return reply({})


def create_tag(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Tag a revision; 409 where there is a tag of this name."""
    repository = find_writable(hub, kind_of(match), match["name"], account)
    name = request.json()["tag"]
    if name in repository.tags:
        raise Refusal(409, "Tag already exists")
    repository.tags[name] = find_commit(repository, match["revision"]).id
    return reply({})


def delete_tag(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Delete a tag."""
    repository = find_writable(hub, kind_of(match), match["name"], account)
    _remove(repository.tags, unquote(match["tag"]))
    return reply({})


def _remove(references: dict[str, str], name: str) -> None:
    if references.pop(name, None) is None:
        raise Refusal(404, f"Invalid rev id: {name}", code="RevisionNotFound")
