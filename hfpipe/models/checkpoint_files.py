"""The files of a checkpoint: which are downloaded from the Hub, and which a folder must not have.

Of a repository only configuration, tokenizer and one set of safetensors weights are downloaded, in one place of the
cache, so that config, weights and tokenizer are of one commit. Weights in pickle formats are refused, and so are
weights that lie outside the checkpoint's own folder.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from hfpipe.errors import ConfigError, Problem
from hfpipe.models.foreign_files import (
    CONFIG_FILE,
    INDEX_FILE,
    SMALL_SUFFIXES,
    WEIGHTS_FILE,
    find_index_problem,
    find_problems,
)
from hfpipe.pickles import is_named_so
from hfpipe.records.run_directory import read_json
from hfpipe.repositories import Listing, Unreachable, Wanted, commit_of, download, find_cached, look_up, missing_problem

_COMMIT = re.compile(r"[0-9a-f]{40}")
logger = logging.getLogger(__name__)


def fetch_checkpoint(wanted: Wanted, *, with_weights: bool) -> Path:
    """Return the folder of the cache that holds a checkpoint of the Hub: what is not there yet is downloaded.

    A repository named as `tokenizer_name` needs no weights.

    Raises:
        ConfigError: If the repository cannot be read, has no weights in safetensors, or is not in the cache while the
            Hub is not reached.
    """
    try:
        listing = look_up(wanted)
        _check_commit(wanted, listing)
        if wanted.key == "model_name_or_path":
            _check_listing(wanted, listing)
        folder = download(wanted, [name for name in listing.files if _is_small(name)])
        if with_weights:
            folder = download(wanted, _weights(wanted, listing, folder))
    except Unreachable as reason:
        return _from_cache(wanted, reason, with_weights=with_weights)
    return folder


def find_weights_problem(folder: Path) -> Problem | None:
    """Return what speaks against loading the weights in `folder`, whose place is the file at fault.

    The map of weights, where there is one, decides which are downloaded, so these need not be there yet.
    """
    is_single = (folder / WEIGHTS_FILE).is_file()
    if (folder / INDEX_FILE).is_file():
        return find_index_problem(folder / INDEX_FILE, is_whole=not is_single and commit_of(folder) is None)
    if is_single:
        return None
    pickled = sorted(path.name for path in folder.iterdir() if is_named_so(path.name))
    if not pickled:
        return Problem(str(folder), rule=f"holds no {WEIGHTS_FILE}", remedy="name a folder that holds weights")
    rule = "the weights are a pickle file, and reading one can run any code it carries"
    return Problem(str(folder / pickled[0]), rule=rule, remedy=f"save the model as {WEIGHTS_FILE} where you trust it")


def find_weight_files(folder: Path) -> list[Path]:
    """Return the files of the weights in `folder` that a run reads, their map among them; none where there are none."""
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    index = folder / INDEX_FILE
    return [index, *(folder / name for name in sorted(_indexed_files(index)))] if index.is_file() else []


def check_folder(folder: Path, key: str, *, runs_code: bool = False) -> None:
    """Refuse a folder whose config, tokenizer or weights must not be loaded, which the setting `key` names.

    Raises:
        ConfigError: With all that speaks against it.
    """
    problems = find_problems(folder, runs_code=runs_code)
    if problems:
        raise ConfigError([_under_key(key, problem) for problem in problems])


def _under_key(key: str, problem: Problem) -> Problem:
    return Problem(key, f"{problem.place}: {problem.value}".rstrip(": "), problem.rule, problem.remedy)


def check_weights(folder: Path, key: str) -> None:
    """Refuse a folder without weights that may be loaded.

    Raises:
        ConfigError: If there are none in safetensors, or the map of weights leads elsewhere.
    """
    problem = find_weights_problem(folder)
    if problem is not None:
        raise ConfigError(_under_key(key, problem))


def _check_commit(wanted: Wanted, listing: Listing) -> None:
    """Raise a ConfigError where a branch or tag bears the name of a commit, and another one stands behind it."""
    if _COMMIT.fullmatch(wanted.revision) and listing.commit != wanted.revision:
        rule = f"stands for commit {listing.commit}, although it looks like one itself"
        raise ConfigError(
            Problem(wanted.revision_key, wanted.revision, rule, "name the commit that you have looked at")
        )


def _check_listing(wanted: Wanted, listing: Listing) -> None:
    """Raise a ConfigError where a repository is no checkpoint that can be loaded; nothing is downloaded yet."""
    if CONFIG_FILE not in listing.files:
        remedy = "name a repository with a whole model"
        if "adapter_config.json" in listing.files:
            remedy = "it is an adapter: merge it into its base model first"
        raise ConfigError(Problem(wanted.key, wanted.name, f"has no {CONFIG_FILE}", remedy))
    if WEIGHTS_FILE in listing.files or INDEX_FILE in listing.files:
        return
    pickled = [name for name in listing.files if "/" not in name and is_named_so(name)]
    if pickled:
        rule = f"its weights are a pickle file ({pickled[0]}), and reading one can run any code it carries"
        remedy = f"convert it to {WEIGHTS_FILE} where you trust it, or name a revision that has it"
        raise ConfigError(Problem(wanted.key, wanted.name, rule, remedy))
    raise ConfigError(Problem(wanted.key, wanted.name, f"holds no {WEIGHTS_FILE}", "name a repository with weights"))


def _weights(wanted: Wanted, listing: Listing, folder: Path) -> Sequence[str]:
    """Return the files of the weights; an index, if there is one, is in `folder` already and is looked at."""
    if WEIGHTS_FILE in listing.files:
        return [WEIGHTS_FILE]
    problem = find_weights_problem(folder)
    if problem is not None:
        place = f"{wanted.name}: {INDEX_FILE}"
        raise ConfigError(Problem(f"{wanted.key}: {place}", problem.value, problem.rule, "use another checkpoint"))
    return sorted(_indexed_files(folder / INDEX_FILE))


def _from_cache(wanted: Wanted, reason: Unreachable, *, with_weights: bool) -> Path:
    folder = find_cached(wanted)
    if folder is None or not _is_whole(folder, wanted, with_weights=with_weights):
        raise ConfigError(missing_problem(wanted, reason)) from reason
    logger.warning("%s: the Hub is not reached (%s); commit %s of the cache is used", wanted.name, reason, folder.name)
    return folder


def _is_whole(folder: Path, wanted: Wanted, *, with_weights: bool) -> bool:
    if wanted.key == "model_name_or_path" and not (folder / CONFIG_FILE).is_file():
        return False
    if not with_weights:
        return True
    if find_weights_problem(folder) is not None:
        return False
    index = folder / INDEX_FILE
    return not index.is_file() or all((folder / name).is_file() for name in _indexed_files(index))


def _indexed_files(index: Path) -> set[str]:
    return set(read_json(index).get("weight_map", {}).values())


def _is_small(name: str) -> bool:
    return "/" not in name and name.endswith(SMALL_SUFFIXES)


def find_commit(name_or_path: str | None) -> str | None:
    """Return the commit on the Hub that a loaded model or tokenizer is from, by its `name_or_path`; None if none."""
    return None if name_or_path is None else commit_of(Path(name_or_path))
