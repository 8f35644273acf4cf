"""Which commit of a data set on the Hub a run reads: the one it began with, wherever the branch stands by now.

A run that goes on after a stop must read what it read before; a commit to the data set in the meantime, be it a word
in its README, would otherwise make another run of it. The record of the run in `output_dir` has the commits.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hfpipe.config import RunConfig
from hfpipe.config.sections import DataSettings
from hfpipe.records.opening import read_begun

_COMMIT = re.compile(r"([^@,\s]+)@([0-9a-f]{40})\b")


def pin_commits(config: RunConfig) -> DataSettings:
    """Return the settings of the data, each data set of the Hub at the commit this run has begun with, if it has.

    Where one data set is read at two commits, as two sources of a mixture, both stay as they are set.

    Raises:
        CheckpointError: If the record in `output_dir` cannot be read.
    """
    data = config.data
    run = read_begun(config.output_dir, fresh_start=config.training.fresh_start)
    commits = find_commits(run.get("data", {}))
    mixture = data.dataset_mixture
    return replace(
        data,
        dataset_revision=commits.get(data.dataset_name or "", data.dataset_revision),
        dataset_mixture=mixture and tuple(_pin_entry(entry, commits) for entry in mixture),
    )


def find_commits(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the commit of each data set of the Hub in the record of a run's data."""
    found: dict[str, set[str]] = {}
    for file in data.get("files", ()):
        if match := _COMMIT.match(file.get("identity", "")):
            found.setdefault(match[1], set()).add(match[2])
    return {name: commits.pop() for name, commits in found.items() if len(commits) == 1}


def _pin_entry(entry: Mapping[str, Any], commits: Mapping[str, str]) -> Mapping[str, Any]:
    name = str(entry.get("dataset_name"))
    return {**entry, "dataset_revision": commits[name]} if name in commits else entry
