"""JSON for other people's eyes: folders of this machine taken out of it.

A path says who works where. What is needed of it, the last name, stays: a resumed run can tell by it that it reads the
same file, whose content is compared by its fingerprint anyway.
"""

from collections.abc import Mapping
from typing import Any

from hfpipe.records.places import scrub, shorten_names

__all__ = ["scrub", "scrub_record", "shorten_names"]

# What a record says to others; texts that were shown, timings and the places of rows stay in the run directory.
_RECORD = (
    *("format", "status", "recipe", "seed", "world_size", "rows_per_step", "tokens_per_step"),
    *("precision", "label_names", "sessions"),
    *("versions", "hardware", "parameters", "git_commit", "starting_point", "fingerprint"),
)


def scrub_record(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a `run.json` what a resumed run needs and a reader may know."""
    settings = scrub({key: setting["value"] for key, setting in run["config"].items()})
    files = run["data"]["files"]
    names = shorten_names([file["name"] for file in files])
    return {
        **{key: scrub(run[key]) for key in _RECORD if key in run},
        "config": {key: {"value": value, "origin": ""} for key, value in settings.items()},
        "data": {"files": [{**file, "name": name} for file, name in zip(files, names, strict=True)]},
    }
