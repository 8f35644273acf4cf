"""Repositories of the Hub as settings name them: what they hold, what is in the cache, and why one cannot be read.

Refuses by ConfigError what the user can mend: a name nobody has, a repository one may not see, a revision that is not
there. A Hub that does not answer is another matter (`Unreachable`): the cache may hold all that is needed. The token
is Hugging Face's own affair (HF_TOKEN or `hf auth login`); it never passes through here.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from huggingface_hub import HfApi, constants, get_token, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from hfpipe.errors import ConfigError, Problem

# Waits between attempts at a Hub that does not answer, in seconds: a hiccup passes, an outage is told within moments.
WAITS = (0.5, 1.5)
TIMEOUT_SECONDS = 10.0
SHOWN = 5

T = TypeVar("T")


class Unreachable(Exception):
    """The Hub does not answer, or nobody is to ask it; `str()` says which."""


@dataclass(frozen=True)
class Wanted:
    """A repository at a revision, and the settings that name them."""

    kind: Literal["model", "dataset"]
    name: str
    revision: str
    key: str
    revision_key: str
    cache_dir: str | None = None

    @property
    def cache(self) -> Path:
        """The folder downloads are kept in: as set, else Hugging Face's own."""
        return Path(self.cache_dir or constants.HF_HUB_CACHE).expanduser()

    @property
    def page(self) -> str:
        """The address a person opens."""
        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"


@dataclass(frozen=True)
class Listing:
    """What a repository holds: its files at the commit that the revision stands for now."""

    commit: str
    files: tuple[str, ...]


def look_up(wanted: Wanted) -> Listing:
    """Return what the Hub says of a repository.

    Raises:
        ConfigError: If there is none of this name and revision for this user.
        Unreachable: If the Hub does not answer.
    """

    def ask() -> Listing:
        describe = HfApi().model_info if wanted.kind == "model" else HfApi().dataset_info
        info = describe(wanted.name, revision=wanted.revision, timeout=TIMEOUT_SECONDS)
        assert info.sha is not None, "the Hub names the commit of every revision"
        return Listing(info.sha, tuple(sibling.rfilename for sibling in info.siblings or ()))

    return _answered(wanted, ask)


def download(wanted: Wanted, files: Sequence[str]) -> Path:
    """Return the folder of the cache that holds these files of a repository, downloading those that are missing.

    Raises:
        ConfigError: If the files may not be read by this user.
        Unreachable: If the Hub does not answer and they are not in the cache.
    """

    def fetch() -> Path:
        folder = snapshot_download(
            wanted.name,
            repo_type=wanted.kind,
            revision=wanted.revision,
            cache_dir=wanted.cache,
            allow_patterns=list(files),
        )
        return Path(folder)

    return _answered(wanted, fetch)


def find_cached(wanted: Wanted) -> Path | None:
    """Return the folder of the cache with files of this revision, which may be some of them only; None without any."""
    folder = wanted.cache / repo_folder_name(repo_id=wanted.name, repo_type=wanted.kind)
    reference = folder / "refs" / wanted.revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else wanted.revision
    snapshot = folder / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def commit_of(folder: Path) -> str | None:
    """Return the commit whose files `folder` holds, None where it is no folder of the cache."""
    return folder.name if folder.parent.name == "snapshots" else None


def missing_problem(wanted: Wanted, reason: Unreachable) -> Problem:
    """Return what is wrong where the Hub is not reached and the cache does not hold what is needed."""
    found = "is not in" if find_cached(wanted) is None else "is not whole in"
    rule = f"{found} the cache {wanted.cache}, and the Hub is not reached ({reason})"
    names = _cached_names(wanted)
    held = f"; the cache holds {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}" if names else ""
    local = "a folder as model_name_or_path" if wanted.kind == "model" else "files as train_file"
    at = "" if wanted.revision == constants.DEFAULT_REVISION else f"@{wanted.revision}"
    return Problem(wanted.key, f"{wanted.name}{at}", rule, f"try again with a connection, or give {local}{held}")


def _cached_names(wanted: Wanted) -> list[str]:
    prefix = f"{wanted.kind}s--"
    folders = wanted.cache.glob(f"{prefix}*/snapshots/*")
    return sorted({folder.parent.parent.name.removeprefix(prefix).replace("--", "/") for folder in folders})


def _answered(wanted: Wanted, ask: Callable[[], T]) -> T:
    """Return the answer to a question, put again where the Hub did not answer."""
    for wait in (*WAITS, None):
        try:
            return ask()
        except OfflineModeIsEnabled as error:
            raise Unreachable("HF_HUB_OFFLINE is set") from error
        except HFValidationError as error:
            rule = "is neither a folder nor a name on the Hub"
            raise ConfigError(Problem(wanted.key, wanted.name, rule, "names look like owner/name")) from error
        except (HTTPError, LocalEntryNotFoundError) as error:
            problem = _refusal(wanted, error)
            if problem is not None:
                raise ConfigError(problem) from error
            if wait is None:
                raise Unreachable(_silence(error)) from error
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _refusal(wanted: Wanted, error: Exception) -> Problem | None:
    """Return what the Hub refuses for, None where it did not answer or asks to come back later."""
    if isinstance(error, GatedRepoError):
        remedy = f"ask for access at {wanted.page}; then log in by 'hf auth login' or HF_TOKEN"
        return Problem(wanted.key, wanted.name, "is gated: its owner grants access one by one", remedy)
    if isinstance(error, RepositoryNotFoundError):
        return _unknown_problem(wanted)
    if isinstance(error, RevisionNotFoundError):
        return _revision_problem(wanted)
    if not isinstance(error, HfHubHTTPError) or error.response.status_code == 429 or error.response.status_code >= 500:
        return None
    if error.response.status_code == 401:
        rule = "the Hub does not know the token in use"
        return Problem(wanted.key, wanted.name, rule, "set HF_TOKEN to a valid one, or run 'hf auth login'")
    rule = f"the Hub answers {error.response.status_code}: {error.server_message or 'without a reason'}"
    return Problem(wanted.key, wanted.name, rule, f"see {wanted.page}")


def _unknown_problem(wanted: Wanted) -> Problem:
    what = "model" if wanted.kind == "model" else "data set"
    rule = f"no {what} on the Hub, and none that may be seen with this login"
    remedy = "check the name; if it is private, use a token that may read it"
    if get_token() is None:
        rule = f"no public {what} on the Hub"
        remedy = "check the name; if it is private, set HF_TOKEN or run 'hf auth login'"
    if wanted.key == "dataset_name" and Path(wanted.name).expanduser().is_dir():
        remedy = "for the files of this folder write train_file in place of dataset_name"
    return Problem(wanted.key, wanted.name, rule, remedy)


def _revision_problem(wanted: Wanted) -> Problem:
    references = HfApi().list_repo_refs(wanted.name, repo_type=wanted.kind)
    branches = [branch.name for branch in references.branches]
    tags = [tag.name for tag in references.tags]
    told = f"the branches are {', '.join(branches[:SHOWN])}"
    told += f"; the newest tags are {', '.join(tags[-SHOWN:])}" if tags else "; there are no tags"
    rule = f"{wanted.name} has no branch, tag or commit of this name"
    return Problem(wanted.revision_key, wanted.revision, rule, told)


def _silence(error: Exception) -> str:
    """Return why there was no answer, in a few words."""
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
    if isinstance(cause, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(cause, HfHubHTTPError):
        return f"{constants.ENDPOINT} answers {cause.response.status_code}"
    return f"{constants.ENDPOINT}: {str(cause).strip() or type(cause).__name__}"
