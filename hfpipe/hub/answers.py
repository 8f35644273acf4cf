"""What the Hub answers, as problems a user can act on.

Nothing the client raises reaches a user as it is: its messages speak of requests. A `HubError` tells whether trying
again may help, and when the Hub wants it not to be tried before; the client itself has repeated what failed in passing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)
from huggingface_hub.errors import HTTPError as ClientError  # the base of all that httpx raises, in either version

from hfpipe.errors import HubError, Problem

LOG_IN = "set HF_TOKEN to a token that may write, or run: hf auth login"
LATER = "try again when it can be reached"
_CROSSED = (409, 412)


class HubUnreachable(HubError):
    """No answer, or one that says nothing about the request: the same may work later.

    `retry_after` is how many seconds the Hub asks to be left alone, 0 where it does not say.
    """

    def __init__(self, problems: Problem | Sequence[Problem], retry_after: float = 0.0) -> None:
        super().__init__(problems)
        self.retry_after = retry_after


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn what the client raises into a HubError about `place`.

    Raises:
        HubUnreachable: If there was no answer, or an error of the server itself.
        HubError: If the Hub refused.
    """
    try:
        yield
    except (ClientError, OSError, ValueError, RuntimeError, KeyError) as error:
        # an upload in parts wraps what went wrong
        cause = error.__cause__ if type(error) is RuntimeError and error.__cause__ is not None else error
        raise _explain(place, cause) from error


def _explain(place: str, error: BaseException) -> HubError:
    if isinstance(error, HfHubHTTPError):
        return _explain_status(place, error)
    if isinstance(error, OfflineModeIsEnabled):
        rule = "the Hub is switched off by HF_HUB_OFFLINE"
        return HubUnreachable(Problem(place, rule=rule, remedy="unset it, and push then"))
    if isinstance(error, LocalTokenNotFoundError):
        return HubError(Problem(place, rule="needs an access token", remedy=LOG_IN))
    if isinstance(error, HFValidationError):
        return HubError(Problem(place, rule="is no name of a repository", remedy="write owner/name"))
    if isinstance(error, KeyError):  # the client looked for it in vain: a proxy, or a page for people
        return HubUnreachable(Problem(place, rule=f"the Hub's answer has no {error}", remedy=LATER))
    return HubUnreachable(Problem(place, rule=f"the Hub cannot be reached ({_first_line(error)})", remedy=LATER))


def _explain_status(place: str, error: HfHubHTTPError) -> HubError:
    status = error.response.status_code
    said = f"the Hub answered {status} ({_said(error)})"
    if status >= 500 or status in (408, 429):
        return HubUnreachable(Problem(place, rule=said, remedy=LATER), read_retry_after(error.response.headers))
    if status in _CROSSED:
        return HubUnreachable(Problem(place, rule=said, remedy="another push came in between; try again"))
    return HubError(Problem(place, rule=said, remedy=_remedy(error, status)))


def read_retry_after(headers: Mapping[str, str]) -> float:
    """Return how many seconds an answer asks to wait, by Retry-After (seconds or a date) or by the rate limit."""
    asked = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", asked):
        return float(asked)
    if asked:
        try:
            until = parsedate_to_datetime(asked)
        except ValueError:  # neither of the two forms there are
            return 0.0
        return max(0.0, (until.astimezone(timezone.utc) - datetime.now(timezone.utc)).total_seconds())
    limit = re.search(r"r=0;\s*t=(\d+)", headers.get("ratelimit", ""))
    return float(limit[1]) if limit else 0.0


def _remedy(error: HfHubHTTPError, status: int) -> str:
    if isinstance(error, RevisionNotFoundError):
        return "name a branch, tag or commit that it has"
    if isinstance(error, GatedRepoError):
        return "ask for access on its page, and use a token of that account"
    if isinstance(error, EntryNotFoundError):
        return "name something that it holds"
    remedies = {
        401: LOG_IN,
        403: "use a token that may write there, or a repository of your own as hub_model_id",
        404: "check the name, and that the token may see it",
    }
    return remedies.get(status, "see what it says")


def _said(error: HfHubHTTPError) -> str:
    return (error.server_message or _first_line(error)).splitlines()[0]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
