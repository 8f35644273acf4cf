"""Large files: where to send them, in one piece or in parts, and whether what came is what was announced."""

import hashlib
import re
import secrets
from typing import Any

from hub_server.accounts import Account
from hub_server.exchange import Answer, Refusal, Request, reply
from hub_server.hub import Hub
from hub_server.repository_routes import find_writable, kind_of
from hub_server.storage import Storage, sha1


def plan_uploads(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Say where each content goes; those the Hub has need no upload."""
    find_writable(hub, kind_of(match), match["name"], account)
    asked = request.json()
    takes_parts = "multipart" in asked["transfers"]
    objects = []
    for wanted in asked["objects"]:
        told: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in hub.storage.large:
            part_size = hub.part_size if takes_parts else wanted["size"]
            upload = _upload(f"{request.url}/large/{wanted['oid']}", wanted["size"], part_size=part_size)
            told["actions"] = {"upload": upload}
        objects.append(told)
    return reply({"transfer": "multipart" if takes_parts else "basic", "objects": objects})


def take_whole(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Keep a content sent in one piece."""
    _keep(hub.storage, match["sha256"], request.body)
    return reply({})


def take_part(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Keep one part, to be joined with the others."""
    hub.storage.parts[match["sha256"], int(match["part"])] = request.body
    return reply({}, headers={"ETag": f'"{sha1(request.body)}"'})


def join_parts(hub: Hub, request: Request, account: Account | None, match: "re.Match[str]") -> Answer:
    """Join the parts of a content in the order of their numbers."""
    parts = hub.storage.parts
    numbers = sorted(number for sha256, number in parts if sha256 == match["sha256"])
    if [part["partNumber"] for part in request.json()["parts"]] != numbers:
        raise Refusal(400, f"{len(numbers)} parts came")
    _keep(hub.storage, match["sha256"], b"".join(parts.pop((match["sha256"], number)) for number in numbers))
    return reply({})


def _upload(address: str, size: int, *, part_size: int) -> dict[str, Any]:
    # no two answers send a content to the same address
    signature = f"?X-Amz-Signature={secrets.token_hex(8)}"
    if size <= part_size:
        return {"href": address + signature}
    count = -(-size // part_size)
    parts = {str(number): f"{address}/{number}{signature}" for number in range(1, count + 1)}
    return {"href": address + signature, "header": {"chunk_size": str(part_size), **parts}}


def _keep(storage: Storage, sha256: str, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Refusal(400, "the content does not have the SHA-256 it was announced with")
    storage.large[sha256] = content
