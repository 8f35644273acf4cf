"""Files: listings of folders, facts about paths, and contents, whole or in ranges."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from hub_server.accounts import Account, check_may_download
from hub_server.exchange import Answer, Refusal, Request, reply
from hub_server.hub import Hub, find_commit
from hub_server.repository_routes import kind_of
from hub_server.storage import StoredFile, sha1


def list_tree(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """List a folder, or with `recursive` all below it; folders are entries too."""
    repository = hub.find_repository(kind_of(match), match["name"], account)
    files = find_commit(repository, match["revision"]).files
    folder = unquote(match["folder"] or "").strip("/")
    entries = list(_entries_of(files, f"{folder}/" if folder else "", recursive=request.asks("recursive")))
    if folder and not entries:
        raise Refusal(404, f"{folder} does not exist", code="EntryNotFound")
    return reply(entries)


def describe_paths(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Describe those of the paths asked for that exist."""
    repository = hub.find_repository(kind_of(match), match["name"], account)
    files = find_commit(repository, match["revision"]).files
    is_json = "json" in request.headers.get("Content-Type", "")
    paths = request.json()["paths"] if is_json else parse_qs(request.body.decode())["paths"]
    found = [path for path in paths if path in files or _is_folder(files, path)]
    return reply([_file(path, files[path]) if path in files else _folder(path) for path in found])


def send_file(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Send the content of a file at a revision.

    Large ones come from here too: the Hub redirects to another host, and a client that follows a redirect to the same
    host loses the headers that name the commit.
    """
    repository = hub.find_repository(kind_of(match), match["name"], account)
    check_may_download(account, repository)
    commit = find_commit(repository, match["revision"])
    headers = {"X-Repo-Commit": commit.id, "Accept-Ranges": "bytes"}
    file = commit.files.get(unquote(match["path"]))
    if file is None:
        raise Refusal(404, "Entry not found", code="EntryNotFound", headers=headers)
    headers["ETag"] = file.etag
    if file.sha256 is not None:
        headers |= {"X-Linked-Etag": file.etag, "X-Linked-Size": str(file.size)}
    return _content(hub.storage.read(file), headers, wanted=request.headers.get("Range", ""))


def _content(content: bytes, headers: Mapping[str, str], *, wanted: str) -> Answer:
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    headers = {"Content-Type": "application/octet-stream", **headers}
    if asked is None or asked[0] == "bytes=-":
        return Answer(200, content, headers)
    first = int(asked[1]) if asked[1] else max(0, len(content) - int(asked[2]))
    last = min(int(asked[2]), len(content) - 1) if asked[1] and asked[2] else len(content) - 1
    if first > last:
        return Answer(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
    return Answer(206, content[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"})


def _entries_of(files: Mapping[str, StoredFile], prefix: str, *, recursive: bool) -> Iterator[dict[str, Any]]:
    folders: set[str] = set()
    for path, file in sorted(files.items()):
        if not path.startswith(prefix):
            continue
        parts = path.removeprefix(prefix).split("/")
        deepest = len(parts) - 1 if recursive else min(1, len(parts) - 1)
        for depth in range(1, deepest + 1):
            folder = prefix + "/".join(parts[:depth])
            if folder not in folders:
                folders.add(folder)
                yield _folder(folder)
        if recursive or len(parts) == 1:
            yield _file(path, file)


def _is_folder(files: Mapping[str, StoredFile], path: str) -> bool:
    return any(name.startswith(f"{path}/") for name in files)


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "oid": sha1(path.encode()), "size": 0}


def _file(path: str, file: StoredFile) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": file.size, "oid": file.blob_id}
    if file.sha256 is not None:
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 134}
    return entry
