"""What tells the model and tokenizer that a run began with from others of the same names.

A checkpoint of the Hub is known by its commit, one in a folder by the SHA-256 of each file that a run reads of it:
config, code, tokenizer and weights. A run that goes on reads the Hub at the commit it began with, wherever the branch
stands by now, so that its first weights and its tokenizer stay what they were.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from hfpipe.config import ModelSettings, RunConfig
from hfpipe.errors import CheckpointError, Problem
from hfpipe.models.checkpoint_files import CONFIG_FILE, find_weight_files
from hfpipe.models.sources import find_checkpoint, is_on_hub
from hfpipe.records.disk import show_bytes
from hfpipe.records.manifest import BYTES_WORTH_A_LINE, hash_file
from hfpipe.records.opening import read_begun
from hfpipe.records.sessions import STARTING_POINT
from hfpipe.repositories import commit_of

logger = logging.getLogger(__name__)

MODEL, TOKENIZER = "model_name_or_path", "tokenizer_name"
COMMIT = "commit"

_TOKENIZER_NAMES = ("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt")
_TOKENIZER_KINDS = ("*.model", "*.spm", "*.bpe", "*.tiktoken", "*.codes", "*.vocab", "chat_template.*")


def find_starting_folders(settings: ModelSettings) -> dict[str, Path]:
    """Return the folder of model and tokenizer, downloaded where they are on the Hub, by the setting that names it.

    Raises:
        ConfigError: If one cannot be had.
    """
    folders: dict[str, Path] = {}
    if settings.model_name_or_path:
        folders[MODEL] = Path(find_checkpoint(settings, with_weights=True))
    if settings.tokenizer_name:
        folders[TOKENIZER] = Path(find_checkpoint(settings, key=TOKENIZER))
    return folders


def fingerprint_folders(folders: Mapping[str, Path]) -> dict[str, str]:
    """Return commit or hashes by setting and file, as in 'model_name_or_path: config.json'; seconds a gigabyte.

    Raises:
        CheckpointError: If a file cannot be read.
    """
    found: dict[str, str] = {}
    for key, folder in folders.items():
        commit = commit_of(folder)
        if commit is not None:
            found[f"{key}: {COMMIT}"] = commit
            continue
        reads_tokenizer = key == TOKENIZER or TOKENIZER not in folders
        files = sorted(set(_find_files(folder, weights=key == MODEL, tokenizer=reads_tokenizer)))
        total = sum(file.stat().st_size for file in files)
        if total > BYTES_WORTH_A_LINE:
            logger.info("%s: %s are hashed, for this run to know them again", folder, show_bytes(total))
        found |= {f"{key}: {file.name}": _hash(file) for file in files}
    return found


def _hash(file: Path) -> str:
    try:
        return hash_file(file).sha256
    except OSError as error:
        raise CheckpointError(Problem(str(file), rule=f"cannot be read ({error.strerror})")) from error


def pin_revisions(config: RunConfig) -> ModelSettings:
    """Return the settings of model and tokenizer, those of the Hub at the commits this run has begun with, if it has.

    Raises:
        CheckpointError: If the record in `output_dir` cannot be read.
    """
    model = config.model
    run = read_begun(config.output_dir, fresh_start=config.training.fresh_start)
    begun = run.get(STARTING_POINT, {})
    return replace(
        model,
        model_revision=_pinned(model.model_name_or_path, begun.get(f"{MODEL}: {COMMIT}"), model.model_revision),
        tokenizer_revision=_pinned(model.tokenizer_name, begun.get(f"{TOKENIZER}: {COMMIT}"), model.tokenizer_revision),
    )


def _pinned(name: str | None, commit: str | None, revision: str) -> str:
    return commit if commit is not None and is_on_hub(name) else revision


def _find_files(folder: Path, *, weights: bool, tokenizer: bool) -> Iterator[Path]:
    patterns = [CONFIG_FILE, "*.py", *(_TOKENIZER_NAMES + _TOKENIZER_KINDS if tokenizer else ())]
    for pattern in patterns:
        yield from (path for path in folder.glob(pattern) if path.is_file())
    if weights:
        yield from find_weight_files(folder)
