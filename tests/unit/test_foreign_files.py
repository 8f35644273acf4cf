"""Checkpoints that came from anybody: names and links that lead out, headers and JSON that lie, one problem for each.

Nothing outside a checkpoint's folder is opened, nothing is unpickled, and no code of it is run.
"""

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_files import PICKLE_RULE, change, load_all, refusal
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.config import ModelSettings
from hfpipe.inference.loading import load_generator
from hfpipe.models.foreign_files import _is_plain_name, find_index_problem
from hfpipe.models.tokenizers import load_saved_tokenizer, load_tokenizer

AGAIN = "get the checkpoint from its source again"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are read from the working directory too."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def folder(checkpoints: Callable[[str], Path], tmp_path: Path) -> Path:
    """Return a checkpoint of this test's own, with a secret file beside it."""
    (tmp_path / "secret.txt").write_text("[PAD]\nprivate")
    return Path(shutil.copytree(checkpoints("gpt2"), tmp_path / "model"))


def refused_everywhere(folder: Path, rest: str) -> None:
    """Assert that training, prediction and a resumed run refuse a checkpoint in the same words."""
    assert refusal(lambda: load_all(folder)) == f"model_name_or_path: {rest}"
    assert (
        refusal(lambda: load_tokenizer(ModelSettings(model_name_or_path=str(folder)))) == f"model_name_or_path: {rest}"
    )
    named = ModelSettings(model_name_or_path="./any", tokenizer_name=str(folder))
    assert refusal(lambda: load_tokenizer(named)) == f"tokenizer_name: {rest}"
    assert refusal(lambda: load_generator(folder)) == rest
    assert refusal(lambda: load_saved_tokenizer(folder)) == rest


def write_index(folder: Path, *names: object) -> Path:
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(
        json.dumps({"metadata": {}, "weight_map": {f"w{place}": name for place, name in enumerate(names)}})
    )
    return index


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_links_out_of_the_folder_are_refused(name: str, folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / name, tmp_path / name)
    (folder / name).symlink_to(f"../{name}")
    expected = f"{folder / name}: leads to {tmp_path / name}: a link out of the checkpoint's folder; "
    refused_everywhere(folder, expected + "put the file there, or name the folder that it lies in")


def test_links_within_the_folder_and_the_cache_are_followed(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "model.safetensors", folder / "weights")
    (folder / "model.safetensors").symlink_to("weights")
    load_all(folder)
    snapshot = tmp_path / "hub" / "models--a--b" / "snapshots" / ("0" * 40)
    (tmp_path / "hub" / "models--a--b" / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        shutil.copy(file, snapshot.parents[1] / "blobs" / file.name)
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    load_all(snapshot)
    (tmp_path / "latest").symlink_to(snapshot)  # the folder itself may be a link
    load_all(tmp_path / "latest")
    shutil.copy(folder / "config.json", snapshot.parents[1])
    for outside in ("../../../../model/config.json", "../../config.json"):  # of the cache the blobs alone
        (snapshot / "config.json").unlink()
        (snapshot / "config.json").symlink_to(outside)
        assert "a link out of the checkpoint's folder" in refusal(lambda: load_all(snapshot))


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/x.safetensors", "..\\x.safetensors", "a/../x.safetensors", ""]
)
def test_maps_of_weights_name_files_beside_them(name: str, folder: Path) -> None:
    index = write_index(folder, name)
    shown = f"{index}: {name}".rstrip(": ")
    expected = f"{shown}: names weights outside its own folder; {AGAIN}"
    assert refusal(lambda: load_all(folder)) == f"model_name_or_path: {expected}"
    assert refusal(lambda: load_generator(folder)) == expected


def test_maps_of_weights_name_safetensors_that_are_there(folder: Path) -> None:
    index = write_index(folder, "a.safetensors", "b.safetensors")
    (folder / "a.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    problem = find_index_problem(index)
    assert str(problem) == f"{index}: b.safetensors: names weights that are not there; {AGAIN}"
    # transformers reads a shard by its suffix, and would unpickle this one
    index.write_text('{"weight_map": {"w": "pytorch_model.bin"}}')
    torch.save({"w": torch.ones(1)}, folder / "pytorch_model.bin")
    assert refusal(lambda: load_generator(folder)).startswith(
        f"{index}: pytorch_model.bin: {PICKLE_RULE}; save the model as "
    )
    for content in ("{}", '{"weight_map": []}', '{"weight_map": {}}', "[]", "nonsense", '{"weight_map":' * 50_000):
        index.write_text(content)
        assert refusal(lambda: load_generator(folder)).startswith(f"{index}: ")


@given(st.text(alphabet="abc./\\~:%\0 ", max_size=12))
def test_no_name_in_a_map_leaves_its_folder(name: str) -> None:
    if _is_plain_name(name):
        assert (Path("/folder") / name).parent == Path("/folder")
        assert not {"/", "\\"} & set(name)
        assert name not in ("", ".", "..")


@pytest.mark.parametrize(
    "key", ["vocab_file", "merges_file", "tokenizer_file", "gguf_file", "chat_template_file", "vocab"]
)
@pytest.mark.parametrize("leads", ["../secret.txt", "absolute", "secret.txt"])
def test_tokenizers_name_files_of_their_folder(key: str, leads: str, folder: Path, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "secret.txt", "secret.txt")  # a plain name is one of the working directory
    text = str(tmp_path / "secret.txt") if leads == "absolute" else leads
    change(folder / "tokenizer_config.json", **{key: text})
    place = folder / "tokenizer_config.json"
    refused_everywhere(folder, f"{place}: {key}: {text}: names a file outside its own folder; remove {key}")


def test_lists_of_files_are_looked_through(folder: Path, tmp_path: Path) -> None:
    place = folder / "tokenizer_config.json"
    for key, value in (("fast_tokenizer_files", ["tokenizer.4.0.json", "../x.json"]), ("init_inputs", [["../x.json"]])):
        change(place, **{key: value})
        expected = f"{place}: {key}: ../x.json: names a file outside its own folder; remove {key}"
        assert refusal(lambda: load_generator(folder)) == expected
        change(place, **{key: []})


def test_paths_of_the_machine_that_saved_it_are_nothing(folder: Path) -> None:
    gone = "/nowhere/cache/transformers/828226fe"
    change(folder / "tokenizer_config.json", special_tokens_map_file=gone, tokenizer_file="tokenizer.json")
    change(folder / "tokenizer_config.json", name_or_path=str(folder.parent), vocab_size=3)
    load_all(folder)


def test_configs_that_lead_elsewhere_are_refused(folder: Path) -> None:
    place = folder / "config.json"
    whole = place.read_text()
    change(place, transformers_weights="../other.safetensors")
    refused_everywhere(
        folder,
        f"{place}: transformers_weights: ../other.safetensors: names other weights than model.safetensors; {AGAIN}",
    )
    place.write_text(whole)
    change(place, attn_implementation="someone/kernel")
    rest = "attn_implementation: someone/kernel: would download code from the Hub and run it; "
    refused_everywhere(folder, f"{place}: {rest}remove it, and set attn_implementation yourself")
    place.write_text(whole)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "../elsewhere"}')
    rest = "stands beside a model, which transformers would then load from the checkpoint that the adapter names; "
    refused_everywhere(
        folder, f"{folder}/adapter_config.json: {rest}move the adapter into a folder of its own, or merge it"
    )


HEADERS = {
    "a pickle": (pickle.dumps({"a": 1}), "is a pickle, whatever its name, and reading one can run any code"),
    "empty": (b"", "is not safetensors: its header would have 0 bytes, the file 0"),
    "short": (b"\x02\0\0", "is not safetensors: its header would have 2 bytes, the file 3"),
    "huge": (struct.pack("<Q", 2**63) + b"{}", "is not safetensors: its header would have 9,223,372,036,854,775,808"),
    "beyond": (struct.pack("<Q", 99_999_999) + b"{}", "is not safetensors: its header would have 99,999,999 bytes"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_weights_that_are_none_are_refused_before_they_are_read(kind: str, folder: Path) -> None:
    content, rule = HEADERS[kind]
    (folder / "model.safetensors").write_bytes(content)
    assert refusal(lambda: load_all(folder)).startswith(f"model_name_or_path: {folder}/model.safetensors: {rule}")
    assert refusal(lambda: load_generator(folder)).startswith(f"{folder}/model.safetensors: {rule}")


def tensor(begin: int, end: int, *, dtype: str = "F32", shape: tuple[int, ...] = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


BODIES: dict[str, Any] = {
    "overlapping": {"a": tensor(0, 4), "b": tensor(2, 6)},
    "a hole": {"a": tensor(0, 4), "b": tensor(6, 10)},
    "beyond the end": {"a": tensor(0, 4_000_000, shape=(1_000_000,))},
    "backwards": {"a": tensor(4, 0)},
    "wrong shape": {"a": tensor(0, 4, shape=(3,))},
    "too many values": {"a": tensor(0, 4, shape=(2**40, 2**40))},
    "unknown type": {"a": tensor(0, 4, dtype="F31")},
    "no object": [1, 2],
    "deep": "[" * 5_000,
}


@pytest.mark.parametrize("kind", BODIES)
def test_headers_of_safetensors_that_lie_are_refused(kind: str, folder: Path) -> None:
    body = BODIES[kind] if isinstance(BODIES[kind], str) else json.dumps(BODIES[kind])
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(body)) + body.encode() + bytes(10))
    rest = "cannot be loaded; its weights are cut short or broken ("
    assert refusal(lambda: load_all(folder)).startswith(f"model_name_or_path: {folder}: {rest}")
    assert refusal(lambda: load_generator(folder)).startswith(f"{folder}: cannot be loaded (")


JSON_BOMBS = {
    "deep": ('{"a":' * 100_000, "is nested too deep to be read"),
    "long number": ('{"a": ' + "9" * 10_000 + "}", "is not JSON ("),
    "cut short": ('{"a": [1', "is not JSON ("),
    "latin-1": ('{"a": "\xe9"}', "is not JSON ("),
    "a list": ("[1]", "holds no JSON object"),
}


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("kind", JSON_BOMBS)
def test_json_that_no_reader_should_be_given(kind: str, name: str, folder: Path) -> None:
    text, rule = JSON_BOMBS[kind]
    (folder / name).write_bytes(text.encode("latin-1"))
    assert refusal(lambda: load_all(folder)).startswith(f"model_name_or_path: {folder / name}: {rule}")
    assert refusal(lambda: load_generator(folder)).startswith(f"{folder / name}: {rule}")


# the last two are answered by tokenizers with an exception of no kind of its own
NONSENSE = (
    *("{" * 5_000, '{"model": 3}', "[]", '{"a":' * 200 + "1" + "}" * 200, "\0", "{}", '"x"'),
    '{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": [3], "merges": 7}}',
    '{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}',
)


@pytest.mark.parametrize("text", NONSENSE)
def test_tokenizer_files_of_nonsense_end_in_one_problem(text: str, folder: Path) -> None:
    (folder / "tokenizer.json").write_text(text)
    assert refusal(lambda: load_all(folder)).startswith(f"model_name_or_path: {folder}: ")
    assert refusal(lambda: load_generator(folder)).startswith(f"{folder}: ")
