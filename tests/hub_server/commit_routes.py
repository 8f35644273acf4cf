"""Commits: which files are to come as large ones, and then all changes at once, as lines of JSON."""

import base64
import json
import re
from typing import Any
from urllib.parse import unquote

from hub_server.accounts import Account
from hub_server.exchange import Answer, Refusal, Request, reply
from hub_server.hub import Hub, find_commit
from hub_server.repository_routes import find_writable, kind_of
from hub_server.storage import LARGE_SUFFIXES, Storage, StoredFile


def sort_uploads(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Say of each file whether it is to be uploaded as a large one, and what the repository holds under its name."""
    repository = find_writable(hub, kind_of(match), match["name"], account)
    known, told = find_commit(repository, match["revision"]).files, []
    for asked in request.json()["files"]:
        is_large = asked["path"].endswith(LARGE_SUFFIXES) or asked["size"] > hub.large_from
        line = {"path": asked["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False}
        if (old := known.get(asked["path"])) is not None:
            line["oid"] = old.sha256 or old.blob_id
        told.append(line)
    return reply({"files": told})


def commit(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Put one commit on a branch: 412 where it has moved on from the parent that was named."""
    repository = find_writable(hub, kind_of(match), match["name"], account)
    branch = unquote(match["branch"])
    if branch not in repository.branches:
        raise Refusal(404, f"Invalid rev id: {branch}", code="RevisionNotFound")
    head, changes = _parse(request.body)
    tip = repository.commits[repository.branches[branch]]
    if head.get("parentCommit") not in (None, tip.id):
        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
    files = dict(tip.files)
    for key, value in changes:
        _apply(hub.storage, files, (key, value))
    made = repository.commit(branch, head.get("summary", ""), files=files, body=head.get("description", ""))
    url = f"{request.url}/{repository.prefix}{repository.name}/commit/{made.id}"
    return reply({"success": True, "commitOid": made.id, "commitUrl": url, "hookOutput": ""})


def _parse(body: bytes) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """Return the header of a commit and its changes in order."""
    lines = [json.loads(line) for line in body.splitlines()]
    head = next((line["value"] for line in lines if line["key"] == "header"), {})
    return head, [(line["key"], line["value"]) for line in lines if line["key"] != "header"]


def _apply(storage: Storage, files: dict[str, StoredFile], change: tuple[str, dict[str, Any]]) -> None:
    key, value = change
    path = value["path"]
    if key == "file":
        files[path] = storage.add_small(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        if value["oid"] not in storage.large:
            raise Refusal(400, f"the content of {path} was never uploaded")
        files[path] = storage.point_to_large(value["oid"])
    elif key == "deletedFile":
        if files.pop(path, None) is None:
            raise Refusal(404, f"{path} does not exist", code="EntryNotFound")
    elif key == "deletedFolder":
        for name in [name for name in files if name.startswith(f"{path.rstrip('/')}/")]:
            del files[name]
    else:
        raise Refusal(400, f"this Hub knows no change called {key}")
