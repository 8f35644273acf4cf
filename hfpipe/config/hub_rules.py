"""What names the Hub takes, and what pushing needs of the other settings."""

import re
from collections.abc import Iterator

from hfpipe.config.settled import Settled
from hfpipe.errors import Problem

_NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)
_MAX_NAME = 96
_BRANCH = re.compile(r"[A-Za-z0-9][\w./-]*", re.ASCII)


def check_hub(settled: Settled) -> Iterator[Problem]:
    """Yield the problems of the settings of the Hub."""
    name, revision = settled.get("hub_model_id"), settled.get("hub_revision")
    if isinstance(name, str) and not is_repository_name(name):
        rule = "is no name of a repository: letters, digits, '-', '_' and '.', as name or owner/name"
        yield settled.problem("hub_model_id", rule, "write it as in owner/my-model")
    if isinstance(revision, str) and not is_branch_name(revision):
        yield settled.problem("hub_revision", "is no name of a branch", "write it as in experiments/long-texts")
    strategy = settled.get("hub_strategy")
    if settled.get("push_to_hub") and strategy != "end" and settled.get("save_strategy") == "no":
        rule = "pushes at every save, and save_strategy is 'no'"
        yield settled.problem("hub_strategy", rule, "write save_strategy: epoch, or hub_strategy: end")


def is_repository_name(name: str) -> bool:
    """Tell whether the Hub would take `name`, with or without its owner, for a repository."""
    short = name.rpartition("/")[2]
    is_odd = any(part in name for part in ("--", "..")) or name.endswith((".git", "-", "."))
    return _NAME.fullmatch(name) is not None and not is_odd and len(short) <= _MAX_NAME


def is_branch_name(name: str) -> bool:
    """Tell whether git would take `name` for a branch."""
    is_odd = any(part in name for part in ("..", "//", "/.")) or name.endswith(("/", ".", ".lock"))
    return _BRANCH.fullmatch(name) is not None and not is_odd
