"""Which files travel to the Hub, and which come back from it: an allow-list, since what nobody thought of stays here.

Weights in safetensors, JSON, the tokenizer's own files, the card and its pictures. Refused by name: a file of the list
that is a link, a pickle in disguise, damaged, or carries a token. Everything else in a folder is left where it is.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from hfpipe.errors import HubError, Problem
from hfpipe.pickles import begins_so

CARD = "README.md"
CURVE = "loss_curve.png"
CONFUSION = "confusion_matrix.png"
RELIABILITY = "reliability.png"
ADAPTER = "adapter"
TOP = ""
LAST_CHECKPOINT = "last-checkpoint"
BEST_CHECKPOINT = "best-checkpoint"

_SHARD = r"(?:-\d{5}-of-\d{5})?"
_MODEL = (
    rf"(?:model|adapter_model){_SHARD}\.safetensors",
    r"model\.safetensors\.index\.json",
    r"(?:config|generation_config|adapter_config)\.json",
    r"(?:tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template)\.json",
    r"(?:vocab|merges)\.txt",
    r"(?:spiece|spm|tokenizer|sentencepiece\.bpe)\.model",
    r"chat_template\.jinja",
)
_BESIDE = (
    *(r"(?:inference|metrics)\.json", r"history\.jsonl", r"evaluation\.json"),
    *map(re.escape, (CURVE, CONFUSION, RELIABILITY, CARD)),
)
_STATE = (
    r"(?:run|trainer_state|progress|manifest)\.json",
    r"(?:optimizer|scheduler|scaler|rng_state_\d+)\.(?:json|safetensors)",
)
_CHECKPOINT = rf"(?:{LAST_CHECKPOINT}|{BEST_CHECKPOINT}|checkpoint-\d+)"


def _any(patterns: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(patterns)})"


_TOP_FILES = re.compile(_any((*_MODEL, *_BESIDE)))
_ALLOWED = re.compile(
    rf"{_TOP_FILES.pattern}|{ADAPTER}/{_any(_MODEL)}|{_CHECKPOINT}/{_any((*_MODEL, *_BESIDE[:2], *_STATE))}"
)
_LOADED = re.compile(r".*\.(?:bin|pt|pth|pkl|pickle|ckpt|npy|npz|h5|msgpack|py)")

MAX_HEADER = 100_000_000  # what safetensors itself takes
_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{30,}\b")


def is_allowed(path: str) -> bool:
    """Tell whether a file of a repository, named by its path in there, is one that travels."""
    return _ALLOWED.fullmatch(path) is not None


def is_model_file(name: str) -> bool:
    """Tell whether a file belongs to the model itself: weights, config or tokenizer."""
    return re.fullmatch(_any(_MODEL), name) is not None


def is_managed(path: str, folders: Collection[str]) -> bool:
    """Tell whether a push that replaces `folders` decides about `path`; at the TOP only about files of ours."""
    head, slash, _ = path.partition("/")
    return head in folders if slash else TOP in folders and _TOP_FILES.fullmatch(path) is not None


def could_run_code(path: str) -> bool:
    """Tell whether a file by its name is one whose reading can run code, or is code."""
    return _LOADED.fullmatch(path.lower()) is not None


def list_files(folder: Path) -> Iterator[str]:
    """Yield the files below `folder` that travel, by their paths in a repository, sorted."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    yield from sorted(path for path in paths if is_allowed(path))


def check_files(folder: Path, *, token: str | None) -> list[str]:
    """Return the files below `folder` that travel, each looked into.

    Raises:
        HubError: If one of them is a link, is not what its name says, or carries `token` or another one.
    """
    paths = list(list_files(folder))
    check_named(folder, paths, token=token)
    return paths


def check_named(folder: Path, paths: Sequence[str], *, token: str | None) -> None:
    """Look into the files of `folder` that are named.

    Raises:
        HubError: As `check_files`.
    """
    problems = [problem for path in paths for problem in _problems(folder / path, path, token)]
    if problems:
        raise HubError(problems)


def _problems(file: Path, path: str, token: str | None) -> Iterator[Problem]:
    if file.is_symlink():
        yield Problem(path, rule="is a link, and what it leads to was not made by the run", remedy="put the file there")
        return
    content = _part_to_read(file)
    if begins_so(content):
        rule = "is a pickle, whatever its name: reading it can run any code"
        yield Problem(path, rule=rule, remedy="save the model anew as safetensors")
    elif _is_damaged(path, content):
        yield Problem(path, rule="is not what its name says", remedy="restore it from the run")
    if _TOKEN.search(content) or (token and token.encode() in content):
        yield Problem(path, rule="carries an access token", remedy="remove it from the file, and revoke the token")


def _part_to_read(file: Path) -> bytes:
    """Return all of a small file, and of weights the header, the only part that holds text."""
    if file.suffix != ".safetensors":
        return file.read_bytes()
    with file.open("rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        return start if begins_so(start) else stream.read(min(length, MAX_HEADER))


def _is_damaged(path: str, content: bytes) -> bool:
    if path.endswith((".json", ".safetensors")):
        try:
            return not isinstance(json.loads(content), dict | list)
        except ValueError:
            return True
    return False
