"""The files of a checkpoint's folder, looked at before anything of it is loaded: they may come from anybody.

Refused are links and names that lead out of the folder, weight maps to anything but safetensors beside them, files
that are pickle whatever their name, JSON that no reader should be given, and what has transformers load other code or
weights than the folder's own. The links of the Hub's cache, from a snapshot into its blobs, are what they should be.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from hfpipe.errors import Problem
from hfpipe.pickles import RULE, begins_so, is_named_so

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
TOKENIZER_CONFIG = "tokenizer_config.json"
SMALL_SUFFIXES = (".json", ".txt", ".model", ".jinja", ".py", ".tiktoken", ".spm", ".bpe", ".codes", ".vocab")
_TEMPLATES = "additional_chat_templates"

MAX_CONFIG_BYTES = 50_000_000  # what tells tens of thousands of labels or tokens is still below
MAX_HEADER_BYTES = 100_000_000  # what safetensors itself takes
_AGAIN = "get the checkpoint from its source again"
_BESIDE = "put the file there, or name the folder that it lies in"
_NAMES_A_FILE = re.compile(r"(?:.*_)?(?:files?|path|dir)|init_inputs")
# where a tokenizer or config was loaded from; nothing is read there again
_HISTORY = ("name_or_path", "_name_or_path")
_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")


def find_problems(folder: Path, *, runs_code: bool = False) -> list[Problem]:
    """Return what speaks against loading config, tokenizer or weights of `folder`, whose places are the files at fault.

    `runs_code` tells that the code in the folder is to be run.
    """
    outside = [Problem(str(path), **_leads_out(path)) for path in _files_to_read(folder) if _is_outside(path, folder)]
    if outside:
        return outside
    return [
        *(problem for path in _files_to_read(folder) if path.suffix == ".safetensors" for problem in _weights(path)),
        *_read_configs(folder, runs_code=runs_code),
    ]


def find_index_problem(index: Path, *, is_whole: bool = True) -> Problem | None:
    """Return what is wrong with a map of weights; under `is_whole` the files it names have to be there."""
    content, problem = _load(index)
    weight_map = content.get("weight_map")
    if problem is not None or not isinstance(weight_map, dict) or not weight_map:
        return problem or Problem(str(index), rule="has no map of weights to files", remedy=_AGAIN)
    for name in sorted({str(name) for name in weight_map.values()}):
        if not _is_plain_name(name):
            return Problem(str(index), name, "names weights outside its own folder", _AGAIN)
        if not name.endswith(".safetensors"):
            rule = RULE if is_named_so(name) else "is not in safetensors"
            return Problem(str(index), name, rule, "save the model as safetensors where you trust it")
        if is_whole and not (index.parent / name).is_file():
            return Problem(str(index), name, "names weights that are not there", _AGAIN)
    return None


def _is_plain_name(name: str) -> bool:
    return name not in ("", ".", "..") and Path(name).name == name and PureWindowsPath(name).name == name


def _files_to_read(folder: Path) -> Iterator[Path]:
    suffixes = (*SMALL_SUFFIXES, ".safetensors")
    yield from sorted(path for path in folder.iterdir() if path.name.endswith(suffixes))
    templates = folder / _TEMPLATES
    if templates.is_dir() or templates.is_symlink():
        yield templates
        yield from sorted(templates.glob("*.jinja"))


def _is_outside(path: Path, folder: Path) -> bool:
    own = folder.resolve()
    homes = [own]
    if own.parent.name == "snapshots":
        homes.append((own.parent.parent / "blobs").resolve())
    return not any(path.resolve().is_relative_to(home) for home in homes)


def _leads_out(path: Path) -> dict[str, str]:
    return {"value": f"leads to {path.resolve()}", "rule": "a link out of the checkpoint's folder", "remedy": _BESIDE}


def _weights(path: Path) -> Iterator[Problem]:
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(8)
    length = int.from_bytes(start, "little")
    if begins_so(start):
        yield Problem(str(path), rule="is a pickle, whatever its name, and reading one can run any code", remedy=_AGAIN)
    elif len(start) < 8 or length > min(MAX_HEADER_BYTES, path.stat().st_size):
        rule = f"is not safetensors: its header would have {length:,} bytes, the file {path.stat().st_size:,}"
        yield Problem(str(path), rule=rule, remedy=_AGAIN)


def _read_configs(folder: Path, *, runs_code: bool) -> Iterator[Problem]:
    for name, find in ((CONFIG_FILE, _config_problems), (TOKENIZER_CONFIG, _tokenizer_problems)):
        if (folder / name).is_file():
            content, problem = _load(folder / name)
            yield from (problem,) if problem is not None else find(folder / name, content)
            yield from _code_problems(folder / name, content) if runs_code else ()


def _load(path: Path) -> tuple[Mapping[str, Any], Problem | None]:
    """Return the object in a file, or an empty one and what is wrong with it."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            return {}, Problem(str(path), rule=f"is over {MAX_CONFIG_BYTES:,} bytes", remedy=_AGAIN)
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        return {}, Problem(str(path), rule="is nested too deep to be read", remedy=_AGAIN)
    except OSError as error:
        return {}, Problem(str(path), rule=f"cannot be read ({error.strerror})")
    except ValueError as error:  # bad JSON, bad UTF-8, numbers of thousands of digits
        return {}, Problem(str(path), rule=f"is not JSON ({str(error).splitlines()[0]})", remedy=_AGAIN)
    if not isinstance(content, dict):
        return {}, Problem(str(path), rule="holds no JSON object", remedy=_AGAIN)
    return content, None


def _config_problems(path: Path, config: Mapping[str, Any]) -> Iterator[Problem]:
    weights = config.get("transformers_weights")
    if weights not in (None, WEIGHTS_FILE):
        yield Problem(str(path), f"transformers_weights: {weights}", f"names other weights than {WEIGHTS_FILE}", _AGAIN)
    for key in _KERNELS:
        if "/" in str(config.get(key)):
            rule = "would download code from the Hub and run it"
            yield Problem(str(path), f"{key}: {config[key]}", rule, "remove it, and set attn_implementation yourself")
    adapter = path.parent / ADAPTER_FILES[0]
    if adapter.is_file():
        rule = "stands beside a model, which transformers would then load from the checkpoint that the adapter names"
        yield Problem(str(adapter), rule=rule, remedy="move the adapter into a folder of its own, or merge it")


def _code_problems(path: Path, config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the places of another repository whose code would be run: no revision pins it."""
    for reference in _texts(config.get("auto_map")):
        if "--" in reference:
            rule = "names code of another repository, which no revision pins"
            yield Problem(str(path), f"auto_map: {reference}", rule, "copy the code beside the model, and read it")


def _tokenizer_problems(path: Path, config: Mapping[str, Any]) -> Iterator[Problem]:
    named = {key: config[key] for key in config if _NAMES_A_FILE.fullmatch(key) and key not in _HISTORY}
    named |= {key: config[key] for key in ("vocab", "merges") if isinstance(config.get(key), str)}
    for key, value in named.items():
        for text in _texts(value):
            if _is_read_outside(text, path.parent):
                yield Problem(str(path), f"{key}: {text}", "names a file outside its own folder", f"remove {key}")


def _is_read_outside(text: str, folder: Path) -> bool:
    """Whether a name leads, as transformers opens it, to another folder; one that is nowhere here opens nothing.

    Older tokenizers carry paths of the machine that saved them.
    """
    path = Path(text).expanduser() if text.startswith("~/") else Path(text)
    if ".." in path.parts or ".." in PureWindowsPath(text).parts:
        return True
    if (folder / path.name).is_file() and path.name == text:
        return False
    is_a_name = len(text) < 1_000 and "\0" not in text
    return is_a_name and path.exists() and not path.resolve().is_relative_to(folder.resolve())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)
