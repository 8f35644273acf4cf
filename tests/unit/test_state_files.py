"""Trees of state in files: every kind of value to the bit, and nothing damaged let in."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from safetensors.torch import load_file, save_file
from tiny_models import message

from hfpipe.training.state_files import REMEDY, read_state, write_state

KINDS = (
    None,
    True,
    -3,
    "é",
    0.1 + 0.2,
    float("inf"),
    float("-inf"),
    np.float64(1e-300),
    (1, (2.5, [])),
    [{}, {"tensor": 1}],
)


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    write_state(tmp_path, "x", {"kinds": list(KINDS)}, owner="x")
    assert read_state(tmp_path, "x") == {"kinds": list(KINDS)}
    assert not (tmp_path / "x.safetensors").exists()
    write_state(tmp_path, "x", float("nan"), owner="x")
    assert np.isnan(read_state(tmp_path, "x"))
    json.loads((tmp_path / "x.json").read_text(), parse_constant=lambda name: pytest.fail(name))


@given(some.floats(allow_nan=False), some.integers())
def test_numbers_come_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, number: float, whole: int) -> None:
    folder = tmp_path_factory.mktemp("numbers")
    write_state(folder, "x", [number, whole], owner="x")
    assert [repr(each) for each in read_state(folder, "x")] == [repr(number), repr(whole)]


def test_tensors_come_back_to_the_bit_also_where_they_share_memory(tmp_path: Path) -> None:
    table = torch.arange(12.0).view(3, 4)
    odd = torch.tensor([float("nan"), -0.0, float("inf"), 1e-45])
    tensors = [table, table, table[1], table.t(), odd, odd.bfloat16(), torch.tensor(7), torch.empty(0, 2)]
    write_state(tmp_path, "x", {"deep": (tensors,)}, owner="x")
    found = read_state(tmp_path, "x")["deep"][0]
    for saved, read in zip(tensors, found, strict=True):
        assert (saved.dtype, saved.shape) == (read.dtype, read.shape)
        assert saved.contiguous().view(-1).view(torch.uint8).equal(read.contiguous().view(-1).view(torch.uint8))


@pytest.mark.parametrize(
    "value", [{1: 2}, {1, 2}, b"x", torch.zeros(2).to_sparse(), object(), torch.complex(*[torch.ones(1)] * 2)]
)
def test_what_only_pickle_could_hold_is_refused(value: object, tmp_path: Path) -> None:
    found = message(lambda: write_state(tmp_path, "x", {"state": {"w": [0, value]}}, owner="optimizer Odd"))
    rule = f"holds a {type(value).__name__}, which a checkpoint without pickle cannot store"
    assert found == f"optimizer Odd: state/w/1: {rule}; choose another optim or lr_scheduler_type"
    assert list(tmp_path.iterdir()) == []


def saved_pair(folder: Path) -> tuple[Path, Path]:
    write_state(folder, "x", {"a": torch.ones(2), "b": torch.zeros(3)}, owner="x")
    return folder / "x.json", folder / "x.safetensors"


@pytest.mark.parametrize(
    ("damage", "place", "rule"),
    [
        (lambda text, file: text.unlink(), 0, "is missing"),
        (lambda text, file: file.unlink(), 1, "is missing"),
        (lambda text, file: file.write_bytes(file.read_bytes()[:40]), 1, "cannot be read (Error while deserializing"),
        (lambda text, file: save_file({"a": torch.ones(2)}, file), 1, "b: only x.json knows it"),
        (lambda text, file: save_file({**load_file(file), "c": torch.ones(1)}, file), 1, "c: x.json does not know it"),
        (
            lambda text, file: save_file({**load_file(file), "a": torch.ones(3)}, file),
            1,
            "a: is float32 [3], and x.json says float32 [2]",
        ),
        (
            lambda text, file: save_file({**load_file(file), "a": torch.ones(2).half()}, file),
            1,
            "a: is float16 [2], and x.json says float32 [2]",
        ),
        (lambda text, file: text.write_text('{"dictt": {}}'), 0, "dictt: is no part of a saved state"),
        (lambda text, file: text.write_text("{"), 0, "is not JSON"),
    ],
)
def test_damaged_files_are_refused(
    damage: Callable[[Path, Path], object], place: int, rule: str, tmp_path: Path
) -> None:
    files = saved_pair(tmp_path)
    damage(*files)
    found = message(lambda: read_state(tmp_path, "x"))
    assert found.startswith(str(files[place]))
    assert rule in found
    assert rule == "is not JSON" or found.endswith(f"; {REMEDY}")
