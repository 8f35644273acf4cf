"""Which function answers which request: one table from method and path to a function."""

import re
from collections.abc import Callable

from hub_server import commit_routes, file_routes, large_file_routes, reference_routes, repository_routes
from hub_server.accounts import Account
from hub_server.exchange import Answer, Refusal, Request
from hub_server.hub import Hub

Route = Callable[[Hub, Request, Account | None, "re.Match[str]"], Answer]

_KINDS = r"(?P<kind>models|datasets|spaces)"
_PREFIX = r"(?:(?P<kind>datasets|spaces)/)?"
# Old repositories have a name without a namespace, so the first word after it must be known not to belong to it.
_WORDS = r"(?:revision|auth-check|settings|refs|commits|tree|paths-info|branch|tag|preupload|commit)(?:/|$)"
_NAME = rf"(?P<name>[^/]+(?:/(?!{_WORDS})[^/]+)?)"
_API = rf"/api/{_KINDS}/{_NAME}"

_TABLE: tuple[tuple[str, str, Route], ...] = (
    ("GET", r"/api/whoami-v2", repository_routes.who_am_i),
    ("POST", r"/api/validate-yaml", repository_routes.validate_card),
    ("POST", r"/api/repos/create", repository_routes.create),
    ("DELETE", r"/api/repos/delete", repository_routes.delete),
    ("POST", r"/api/repos/move", repository_routes.move),
    ("GET", rf"/api/{_KINDS}", repository_routes.list_all),
    ("GET", _API, repository_routes.describe),
    ("GET", rf"{_API}/revision/(?P<revision>[^/]+)", repository_routes.describe),
    ("GET", rf"{_API}/auth-check", repository_routes.check_access),
    ("PUT", rf"{_API}/settings", repository_routes.change_settings),
    ("GET", rf"{_API}/refs", reference_routes.list_references),
    ("GET", rf"{_API}/commits/(?P<revision>[^/]+)", reference_routes.list_commits),
    ("POST", rf"{_API}/branch/(?P<branch>[^/]+)", reference_routes.create_branch),
    ("DELETE", rf"{_API}/branch/(?P<branch>[^/]+)", reference_routes.delete_branch),
    ("POST", rf"{_API}/tag/(?P<revision>[^/]+)", reference_routes.create_tag),
    ("DELETE", rf"{_API}/tag/(?P<tag>[^/]+)", reference_routes.delete_tag),
    ("POST", rf"{_API}/preupload/(?P<revision>[^/]+)", commit_routes.sort_uploads),
    ("POST", rf"{_API}/commit/(?P<branch>[^/]+)", commit_routes.commit),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?", file_routes.list_tree),
    ("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)", file_routes.describe_paths),
    ("POST", rf"/{_PREFIX}(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", large_file_routes.plan_uploads),
    ("PUT", r"/large/(?P<sha256>[0-9a-f]{64})", large_file_routes.take_whole),
    ("PUT", r"/large/(?P<sha256>[0-9a-f]{64})/(?P<part>\d+)", large_file_routes.take_part),
    ("POST", r"/large/(?P<sha256>[0-9a-f]{64})", large_file_routes.join_parts),
    (
        "GET",
        rf"/{_PREFIX}(?P<name>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
        file_routes.send_file,
    ),
)
_COMPILED = tuple((method, re.compile(pattern), route) for method, pattern, route in _TABLE)


def answer(hub: Hub, request: Request, account: Account | None) -> Answer:
    """Return the answer to a request; HEAD is answered as GET, and whoever sends it leaves the body out.

    Raises:
        Refusal: With the status and message the Hub would answer.
    """
    asked = "GET" if request.method == "HEAD" else request.method
    for method, pattern, route in _COMPILED:
        match = pattern.fullmatch(request.path)
        if method == asked and match is not None:
            return route(hub, request, account, match)
    raise Refusal(404, f"this Hub has no {asked} {request.path}")
