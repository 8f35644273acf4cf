"""What tells the model and tokenizer of a run from others of the same names."""

import errno
import hashlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hfpipe.config import ModelSettings, RunConfig, load_config
from hfpipe.errors import CheckpointError
from hfpipe.models.fingerprints import find_starting_folders, fingerprint_folders, pin_revisions
from hfpipe.records.sessions import STARTING_POINT, begin_session

COMMITS = {"model_name_or_path: commit": "a" * 40, "tokenizer_name: commit": "b" * 40}


def fingerprints(settings: ModelSettings) -> dict[str, str]:
    return fingerprint_folders(find_starting_folders(settings))


@pytest.fixture
def folder(checkpoints: Callable[[str], Path], tmp_path: Path) -> Path:
    """A checkpoint of this test's own, with files beside it that no run reads."""
    shutil.copytree(checkpoints("bert"), tmp_path / "model")
    for name in ("README.md", "run.json", "training_args.txt"):
        (tmp_path / "model" / name).write_text("one")
    return tmp_path / "model"


def test_every_file_that_a_run_reads_is_known_by_its_hash(folder: Path) -> None:
    found = fingerprints(ModelSettings(model_name_or_path=str(folder)))
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(found) == [f"model_name_or_path: {name}" for name in names]
    for name in names:
        assert found[f"model_name_or_path: {name}"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_a_tokenizer_of_its_own_takes_the_place_of_the_models(folder: Path, checkpoints: Callable[[str], Path]) -> None:
    settings = ModelSettings(model_name_or_path=str(folder), tokenizer_name=str(checkpoints("gpt2")))
    assert sorted(fingerprints(settings)) == [
        *(f"model_name_or_path: {name}" for name in ("config.json", "model.safetensors")),
        *(f"tokenizer_name: {name}" for name in ("config.json", "tokenizer.json", "tokenizer_config.json")),
    ]


def test_weights_in_several_files_are_all_read(folder: Path) -> None:
    from transformers import AutoModel

    AutoModel.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    shards = sorted(path.name for path in folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    found = fingerprints(ModelSettings(model_name_or_path=str(folder)))
    assert {f"model_name_or_path: {name}" for name in (*shards, "model.safetensors.index.json")} <= set(found)


def test_what_is_made_from_nothing_has_no_fingerprint() -> None:
    assert fingerprints(ModelSettings()) == {}


def test_a_folder_of_the_cache_is_known_by_its_commit(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--acme--encoder" / "snapshots" / ("c" * 40)
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    assert fingerprint_folders({"model_name_or_path": snapshot}) == {"model_name_or_path: commit": "c" * 40}


def config_in(output_dir: Path, **settings: str) -> RunConfig:
    given = {"train_file": "train.csv", "model_name_or_path": "acme/encoder", "output_dir": str(output_dir), **settings}
    return load_config(
        [word for key, value in given.items() for word in (f"--{key}", value)], recipe="finetune_classifier"
    )


def test_a_run_stays_with_the_commits_it_began_with(tmp_path: Path) -> None:
    config = config_in(tmp_path / "run", tokenizer_name="acme/tokenizer")
    assert pin_revisions(config) == config.model
    begin_session(tmp_path / "run", {STARTING_POINT: COMMITS}, from_step=0)
    pinned = replace(config.model, model_revision="a" * 40, tokenizer_revision="b" * 40)
    assert pin_revisions(config) == pinned
    assert config.model.model_revision == "main", "the settings that are recorded stay as they were given"
    anew = config_in(tmp_path / "run", tokenizer_name="acme/tokenizer", fresh_start="true")
    assert pin_revisions(anew) == anew.model


def test_a_folder_has_no_revision(folder: Path, tmp_path: Path) -> None:
    config = config_in(tmp_path / "run", model_name_or_path=str(folder))
    begin_session(tmp_path / "run", {STARTING_POINT: COMMITS}, from_step=0)
    assert pin_revisions(config) == config.model


def test_a_restart_of_the_launch_that_began_anew_reads_what_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["--train_file=x.csv", "--model_name_or_path=acme/model", f"--output_dir={tmp_path / 'run'}"]
    config = load_config([*own, "--fresh_start=true"], recipe="finetune_classifier")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    begin_session(tmp_path / "run", {"format": "hfpipe run 1", STARTING_POINT: COMMITS}, from_step=0)
    assert pin_revisions(config).model_revision == "main"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert pin_revisions(config).model_revision == "a" * 40


_unreadable: list[str] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _unreadable and str(arguments[0]) == _unreadable[0]:
        raise OSError(errno.EIO, "Input/output error")


sys.addaudithook(_hook)


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    _unreadable.append(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError) as error:
        fingerprint_folders({"model_name_or_path": folder})
    _unreadable.clear()
    assert str(error.value) == (
        f"the run directory has 1 problem:\n  - {folder}/tokenizer.json: cannot be read (Input/output error)"
    )
