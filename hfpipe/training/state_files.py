"""A tree of state as two files: its tensors in NAME.safetensors, everything else in NAME.json, to the bit.

A tree is made of dicts with names, lists, tuples, tensors, numbers, strings and None. Other kinds of values are
refused when they are written: only pickle could store them, and reading pickle runs whatever code is in it. What is
read has to be whole: a missing, strange or misshapen tensor is refused.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.run_directory import read_json, write_json

REMEDY = "put the checkpoint's files back as they were saved, or resume_from_checkpoint another one"
# JSON has no tuples, no tensors and no infinities: what stands for them is an object of one of these keys.
_TUPLE, _DICT, _FLOAT, _TENSOR = "tuple", "dict", "float", "tensor"
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
}


def write_state(folder: Path, name: str, state: object, *, owner: str) -> None:
    """Write `state` to `name`.json and, where it has tensors, `name`.safetensors; `owner` is whose it is in errors.

    Raises:
        CheckpointError: If a value is of a kind that these files cannot hold.
    """
    found = _Found(owner)
    encoded = _encode(state, "", found)
    if found.tensors:
        save_file(found.tensors, folder / f"{name}.safetensors", metadata={"format": "pt"})
    # the whole checkpoint is put on the disk when it is sealed
    write_json(folder / f"{name}.json", encoded, durable=False)


def read_state(folder: Path, name: str) -> Any:
    """Return the state that `write_state` wrote, its tensors on the CPU.

    Raises:
        CheckpointError: If a file is missing or damaged, or the two do not belong together.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        raise CheckpointError(Problem(str(path), rule="is missing", remedy=REMEDY))
    encoded = read_json(path)
    wanted = {each[_TENSOR]: each for each in _tensor_tags(encoded, path)}
    tensors = _read_tensors(folder / f"{name}.safetensors", wanted) if wanted else {}
    return _decode(encoded, tensors, path)


def damaged(path: Path, rule: str, value: str = "") -> CheckpointError:
    """Return the error for a file of a checkpoint that is not as it was saved."""
    return CheckpointError(Problem(str(path), value, rule, REMEDY))


@dataclass(frozen=True)
class _Found:
    """The tensors met so far by their places, and the memory they lie in."""

    owner: str
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    storages: set[int] = field(default_factory=set)

    def add(self, name: str, value: torch.Tensor) -> None:
        """Take a tensor to be written under `name`."""
        own = value.detach().cpu().contiguous()
        # safetensors takes whole tensors that share no memory; optimizers may keep one table for all parameters
        if own.untyped_storage().data_ptr() in self.storages or own.untyped_storage().nbytes() != own.nbytes:
            own = own.clone()
        self.storages.add(own.untyped_storage().data_ptr())
        self.tensors[name] = own


def _encode(value: Any, place: str, found: _Found) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if isinstance(value, np.generic):
        return _encode(value.item(), place, found)
    if kind in (list, tuple):
        items = [_encode(each, f"{place}/{index}", found) for index, each in enumerate(value)]
        return items if kind is list else {_TUPLE: items}
    if kind is dict and all(type(key) is str for key in value):
        return {_DICT: {key: _encode(each, f"{place}/{key}", found) for key, each in value.items()}}
    if kind in (torch.Tensor, torch.nn.Parameter) and _is_plain(value):
        name = place.removeprefix("/")
        found.add(name, value)
        return {_TENSOR: name, "dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
    rule = f"holds a {kind.__name__}, which a checkpoint without pickle cannot store"
    remedy = "choose another optim or lr_scheduler_type"
    raise CheckpointError(Problem(found.owner, place.removeprefix("/"), rule, remedy))


def _is_plain(value: torch.Tensor) -> bool:
    return value.layout == torch.strided and not value.is_quantized and value.dtype in _DTYPES.values()


def _tensor_tags(encoded: Any, path: Path) -> list[dict[str, Any]]:
    """Return every object in `encoded` that stands for a tensor."""
    if isinstance(encoded, list):
        return [tag for each in encoded for tag in _tensor_tags(each, path)]
    if not isinstance(encoded, dict):
        return []
    if _DICT in encoded and isinstance(encoded[_DICT], dict):
        return _tensor_tags(list(encoded[_DICT].values()), path)
    if _TUPLE in encoded:
        return _tensor_tags(encoded[_TUPLE], path)
    if encoded.keys() == {_TENSOR, "dtype", "shape"}:
        return [encoded]
    if encoded.keys() == {_FLOAT}:
        return []
    raise damaged(path, "is no part of a saved state", ", ".join(encoded) or "{}")


def _read_tensors(path: Path, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise CheckpointError(Problem(str(path), rule="is missing", remedy=REMEDY))
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise damaged(path, f"cannot be read ({str(error).splitlines()[0]})") from error
    for name in sorted(wanted.keys() ^ found.keys()):
        where = f"only {path.stem}.json knows it" if name in wanted else f"{path.stem}.json does not know it"
        raise damaged(path, where, name)
    for name, tag in wanted.items():
        _check_like(path, name, found[name], tag)
    return found


def _check_like(path: Path, name: str, found: torch.Tensor, tag: Mapping[str, Any]) -> None:
    wanted = f"{tag['dtype']} {tag['shape']}"
    is_like = f"{str(found.dtype).removeprefix('torch.')} {list(found.shape)}"
    if wanted != is_like:
        raise damaged(path, f"is {is_like}, and {path.stem}.json says {wanted}", name)


def _decode(encoded: Any, tensors: Mapping[str, torch.Tensor], path: Path) -> Any:
    if isinstance(encoded, list):
        return [_decode(each, tensors, path) for each in encoded]
    if not isinstance(encoded, dict):
        return encoded
    if _DICT in encoded:
        return {key: _decode(each, tensors, path) for key, each in encoded[_DICT].items()}
    if _TUPLE in encoded:
        return tuple(_decode(each, tensors, path) for each in encoded[_TUPLE])
    return tensors[encoded[_TENSOR]] if _TENSOR in encoded else float(encoded[_FLOAT])
