"""Code that a checkpoint brings along: run only at a commit that is named in full, for a branch or tag can move.

A folder of this machine changes by nobody's hand but yours; `trust_remote_code: true` alone is the word for it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from hfpipe.config.settled import Settled
from hfpipe.errors import Problem

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISIONS = {"model_name_or_path": "model_revision", "tokenizer_name": "tokenizer_revision"}


def check_remote_code(settled: Settled) -> Iterator[Problem]:
    """Yield a problem for each repository whose code would be run at whatever commit a branch or tag stands for."""
    if not settled.get("trust_remote_code"):
        return
    for key, revision_key in _REVISIONS.items():
        name = settled.get(key)
        if name is None or str(name).startswith("demo:") or Path(str(name)).expanduser().is_dir():
            continue
        if not _COMMIT.fullmatch(str(settled.get(revision_key))):
            rule = f"trust_remote_code runs the code of {name}, and this revision may stand for other code tomorrow"
            remedy = "set it to the commit whose code you have read, all 40 digits of it"
            yield settled.problem(revision_key, rule, remedy)
