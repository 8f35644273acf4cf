"""What travels to the Hub, and what is taken out of it first."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.errors import HubError
from hfpipe.hub.files import check_files, could_run_code, is_allowed, is_managed, list_files
from hfpipe.hub.scrubbing import scrub, shorten_names

TRAVELS = (
    "model.safetensors",
    "model-00001-of-00002.safetensors",
    "model.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "merges.txt",
    "spiece.model",
    "chat_template.jinja",
    "inference.json",
    "evaluation.json",
    "README.md",
    "loss_curve.png",
    "confusion_matrix.png",
    "reliability.png",
    "adapter/adapter_model.safetensors",
    "adapter/adapter_config.json",
    "last-checkpoint/optimizer.safetensors",
    "last-checkpoint/rng_state_11.json",
    "checkpoint-500/trainer_state.json",
    "best-checkpoint/run.json",
)
STAYS = (
    "run.json",
    "training_args.bin",
    "pytorch_model.bin",
    "optimizer.pt",
    "last-checkpoint/optimizer.pt",
    "checkpoints/checkpoint-5/model.safetensors",
    "checkpoint-5/deeper/model.safetensors",
    ".env",
    ".git/config",
    ".hub/4/model.safetensors",
    "notes.md",
    "report.html",
    "attributions.json",
    "samples.jsonl",
    "last-checkpoint/reliability.png",
    "train.csv",
    "predictions/test.parquet",
    "predictions/evaluation.json",
    "test.parquet",
    "last-checkpoint/evaluation.json",
    "modeling_own.py",
    "tokenizer.json.bak",
    "model.safetensors/../../secret",
    "tensorboard/events.out",
)


def write(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def safetensors_bytes(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def test_the_list_of_what_travels() -> None:
    assert [path for path in TRAVELS if not is_allowed(path)] == []
    assert [path for path in STAYS if is_allowed(path)] == []


@given(st.text(alphabet="abcdeikmnoprst./-_0123456789", max_size=30))
def test_nothing_that_could_run_code_travels(path: str) -> None:
    for suffix in (".bin", ".pt", ".pth", ".pkl", ".py", ".ckpt"):
        assert not is_allowed(path + suffix)
        assert could_run_code(path + suffix)


def test_a_folder_gives_what_travels_alone(tmp_path: Path) -> None:
    for path in (*TRAVELS, *(name for name in STAYS if ".." not in name)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"{}")
    assert list(list_files(tmp_path)) == sorted(TRAVELS)


def test_files_that_are_not_what_they_seem_are_refused_together(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("private")
    folder = write(
        tmp_path / "run",
        model_DOT_safetensors=b"\x80\x04\x95pickled",
        config_DOT_json=b"{not json",
        tokenizer_DOT_json=b'{"note": "hf_' + b"a" * 34 + b'"}',
        adapter__adapter_model_DOT_safetensors=safetensors_bytes({"__metadata__": {"by": "own-token-1"}}),
        README_DOT_md=b"# fine",
    )
    (folder / "vocab.txt").symlink_to(outside)
    with pytest.raises(HubError) as error:
        check_files(folder, token="own-token-1")
    assert str(error.value) == (
        "the Hub has 5 problems:\n"
        "  - adapter/adapter_model.safetensors: carries an access token; "
        "remove it from the file, and revoke the token\n"
        "  - config.json: is not what its name says; restore it from the run\n"
        "  - model.safetensors: is a pickle, whatever its name: reading it can run any code; "
        "save the model anew as safetensors\n"
        "  - tokenizer.json: carries an access token; remove it from the file, and revoke the token\n"
        "  - vocab.txt: is a link, and what it leads to was not made by the run; put the file there"
    )


def test_an_archive_of_torch_is_a_pickle_too(tmp_path: Path) -> None:
    folder = write(tmp_path, vocab_DOT_txt=b"PK\x03\x04archive")
    with pytest.raises(HubError, match=r"vocab\.txt: is a pickle"):
        check_files(folder, token=None)


def test_a_commit_decides_about_its_own_folders() -> None:
    folders = ("", "adapter")
    assert is_managed("model.safetensors", folders)
    assert is_managed("adapter/README.md", folders)
    assert not is_managed(".gitattributes", folders)
    assert not is_managed("LICENSE", folders)
    assert not is_managed("last-checkpoint/model.safetensors", folders)
    assert not is_managed("model.safetensors", ("checkpoint-5",))


def test_paths_are_cut_to_their_last_names(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    settings = {
        "train_file": ["/srv/me/a.csv", "data/b.csv"],
        "model_name_or_path": str(tmp_path / "own"),
        "tokenizer_name": "google-bert/bert-base-uncased",
        "output_dir": "runs/secret",
        "dataset_mixture": [{"train_file": "~/c.csv", "weight": 0.5}],
        "special": "/think",
        "window": "C:\\Users\\me\\x",
        "count": 3,
    }
    assert scrub(settings) == {
        "train_file": ["a.csv", "b.csv"],
        "model_name_or_path": "own",
        "tokenizer_name": "google-bert/bert-base-uncased",
        "dataset_mixture": [{"train_file": "c.csv", "weight": 0.5}],
        "special": "/think",
        "window": "x",
        "count": 3,
    }


def test_names_are_as_short_as_tells_them_apart() -> None:
    names = ["/data/a/part.csv", "/data/b/part.csv", "/data/b/test.csv"]
    assert shorten_names(names) == ["a/part.csv", "b/part.csv", "test.csv"]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join), unique=True, max_size=6))
def test_short_names_stay_apart_and_stay_short(names: list[str]) -> None:
    short = shorten_names(names)
    assert len(set(short)) == len(names)
    assert shorten_names(short) == short
