"""A request as the routes see it, and the two ways to answer: an `Answer`, or a `Refusal` raised from anywhere."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What was asked; `path` as it was sent (percent-encoded), `url` the address this server goes by."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    url: str

    def json(self) -> dict[str, Any]:
        """Return the body as JSON, an empty object where there is none."""
        return json.loads(self.body or b"{}")

    def asks(self, name: str) -> bool:
        """Tell whether the query switches `name` on."""
        return self.query.get(name, "").lower() in ("true", "1")


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An error of the Hub: its status, the message the client shows, and the code the client tells errors apart by."""

    def __init__(self, status: int, message: str, *, code: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}

    def answer(self) -> Answer:
        """Return the refusal as the Hub words it: in the body and in headers."""
        headers = {**self.headers, "X-Error-Message": self.message}
        if self.code:
            headers["X-Error-Code"] = self.code
        return reply({"error": self.message}, status=self.status, headers=headers)


def reply(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer of JSON."""
    headers = {"Content-Type": "application/json", **(headers or {})}
    return Answer(status, json.dumps(value).encode(), headers)
