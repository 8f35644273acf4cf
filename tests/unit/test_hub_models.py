"""Checkpoints and tokenizers of the Hub, over the wire: by revision, private, from the cache, and every refusal."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub_contents import publish_model
from hub_server import READ_TOKEN, STRANGER_TOKEN, WRITE_TOKEN, Fault, HubServer
from huggingface_hub import HfApi
from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars

from hfpipe import repositories
from hfpipe.config import ModelSettings
from hfpipe.errors import ConfigError
from hfpipe.models.bars import hide_weight_bars, without_weight_bars
from hfpipe.models.checkpoint_files import find_commit
from hfpipe.models.classifiers import load_classifier
from hfpipe.models.sources import find_checkpoint, read_config
from hfpipe.models.tokenizers import load_tokenizer

NAME = "acme/encoder"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "WAITS", (0.01, 0.01))


@pytest.fixture
def folder(checkpoints: Callable[[str], Path], tmp_path: Path) -> Path:
    """A checkpoint of the test's own."""
    return Path(shutil.copytree(checkpoints("bert"), tmp_path / "checkpoint"))


def settings(**named: object) -> ModelSettings:
    return ModelSettings(**{"model_name_or_path": NAME, **named})  # type: ignore[arg-type]


def refusal(given: ModelSettings) -> str:
    with pytest.raises(ConfigError) as caught:
        find_checkpoint(given, with_weights=True)
    (problem,) = caught.value.problems
    return str(problem)


def test_a_model_comes_by_its_name_with_one_set_of_weights(hub: HubServer, folder: Path) -> None:
    for extra in ("pytorch_model.bin", "model.onnx", "notes.md"):
        (folder / extra).write_bytes(b"never asked for")
    commit = publish_model(folder, NAME)
    tokenizer = load_tokenizer(settings())
    loaded = load_classifier(settings(), ("neg", "pos"), tokenizer)
    local = load_classifier(settings(model_name_or_path=str(folder)), ("neg", "pos"), tokenizer)
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(loaded.model.state_dict()[name], local.model.state_dict()[name])
    assert find_commit(loaded.model.name_or_path) == commit
    assert find_commit(local.model.name_or_path) is None
    downloaded = {seen.path.rpartition("/")[2] for seen in hub.requests("GET", "/resolve/")}
    assert downloaded == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_config_and_tokenizer_need_no_weights(hub: HubServer, folder: Path) -> None:
    publish_model(folder, NAME)
    assert read_config(settings()).model_type == "bert"
    assert len(load_tokenizer(settings())) > 100
    assert hub.requests("GET", "model.safetensors") == []


def test_revisions_are_branches_tags_and_commits(hub: HubServer, folder: Path) -> None:
    first = publish_model(folder, NAME)
    api = HfApi(token=WRITE_TOKEN)
    api.create_tag(NAME, tag="v1")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.25}))
    second = publish_model(folder, NAME)
    api.create_branch(NAME, branch="next")

    def dropout(revision: str) -> float:
        return read_config(settings(model_revision=revision)).hidden_dropout_prob

    assert [dropout(revision) for revision in ("v1", first, "main", "next", second)] == [0.0, 0.0, 0.25, 0.25, 0.25]
    assert refusal(settings(model_revision="v2")) == (
        "model_revision: v2: acme/encoder has no branch, tag or commit of this name; "
        "the branches are main, next; the newest tags are v1"
    )
    # the tokenizer of another repository has revisions of its own
    other = settings(tokenizer_name=NAME, model_name_or_path="./none", model_revision="v9")
    assert len(load_tokenizer(other)) > 100


def test_private_models_need_a_token(hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_model(folder, NAME, private=True)
    assert refusal(settings()) == (
        "model_name_or_path: acme/encoder: no public model on the Hub; "
        "check the name; if it is private, set HF_TOKEN or run 'hf auth login'"
    )
    monkeypatch.setenv("HF_TOKEN", STRANGER_TOKEN)
    assert refusal(settings()) == (
        "model_name_or_path: acme/encoder: no model on the Hub, and none that may be seen with this login; "
        "check the name; if it is private, use a token that may read it"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    assert refusal(settings()).startswith("model_name_or_path: acme/encoder: the Hub does not know the token in use;")
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    assert (Path(find_checkpoint(settings(), with_weights=True)) / "model.safetensors").is_file()


def test_gated_models_say_where_to_ask(hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_model(folder, NAME)
    HfApi(token=WRITE_TOKEN).update_repo_settings(NAME, gated="manual")
    monkeypatch.setenv("HF_TOKEN", STRANGER_TOKEN)
    assert refusal(settings()) == (
        "model_name_or_path: acme/encoder: is gated: its owner grants access one by one; "
        f"ask for access at {hub.url}/acme/encoder; then log in by 'hf auth login' or HF_TOKEN"
    )


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("acme/encodr", "no public model on the Hub; check the name; if it is private, set HF_TOKEN or run 'hf auth"),
        ("encoder", "no public model on the Hub; check the name; if it is private, set HF_TOKEN or run 'hf auth lo"),
        ("a/b/c", "is neither a folder nor a name on the Hub; names look like owner/name"),
        ("acme/en coder", "is neither a folder nor a name on the Hub; names look like owner/name"),
    ],
)
def test_names_nobody_has(hub: HubServer, name: str, rule: str) -> None:
    assert refusal(settings(model_name_or_path=name)).startswith(f"model_name_or_path: {name}: {rule}")


def test_without_the_hub_the_cache_serves(
    hub: HubServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commit = publish_model(folder, NAME)
    given = settings(cache_dir=str(tmp_path / "cache"))
    found = find_checkpoint(given, with_weights=True)
    assert Path(found) == tmp_path / "cache" / "models--acme--encoder" / "snapshots" / commit
    hub.stop()
    assert find_checkpoint(given, with_weights=True) == found
    assert f"acme/encoder: the Hub is not reached ({hub.url}: [Errno 111] Connection refused); " in caplog.text
    assert f"commit {commit} of the cache is used" in caplog.text
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert find_checkpoint(given, with_weights=True) == found
    other = settings(cache_dir=str(tmp_path / "cache"), model_name_or_path="acme/other")
    assert refusal(other) == (
        f"model_name_or_path: acme/other: is not in the cache {tmp_path / 'cache'}, and the Hub is not reached "
        "(HF_HUB_OFFLINE is set); try again with a connection, or give a folder as model_name_or_path; "
        "the cache holds acme/encoder"
    )
    assert "acme/encoder@v7: is not in the cache" in refusal(settings(cache_dir=given.cache_dir, model_revision="v7"))


def test_a_cache_without_the_weights_is_not_whole(hub: HubServer, folder: Path) -> None:
    publish_model(folder, NAME)
    find_checkpoint(settings())
    hub.stop()
    assert find_checkpoint(settings())
    assert "is not whole in the cache" in refusal(settings())


def test_a_hub_that_stumbles_is_asked_again(hub: HubServer, folder: Path) -> None:
    publish_model(folder, NAME)
    hub.faults.append(Fault("GET", "/api/models/", status=500, times=2))
    hub.faults.append(Fault("GET", "config.json", drops=True))
    assert find_checkpoint(settings(), with_weights=True)
    assert [fault.times for fault in hub.faults] == [0, 0]


def test_a_hub_that_stays_down_is_told(hub: HubServer, folder: Path) -> None:
    publish_model(folder, NAME)
    hub.faults.append(Fault("GET", "/api/models/", status=503, times=99))
    assert f"and the Hub is not reached ({hub.url} answers 503); try again" in refusal(settings())


def test_weights_in_pickle_are_refused_before_any_download(hub: HubServer, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    publish_model(folder, NAME)
    assert refusal(settings()) == (
        "model_name_or_path: acme/encoder: its weights are a pickle file (pytorch_model.bin), and reading one can run "
        "any code it carries; convert it to model.safetensors where you trust it, or name a revision that has it"
    )
    assert hub.requests("GET", "/resolve/") == []
    assert refusal(settings(model_name_or_path=str(folder))).startswith(
        f"model_name_or_path: {folder / 'pytorch_model.bin'}: the weights are a pickle file"
    )


@pytest.mark.parametrize(
    ("missing", "rule"),
    [("model.safetensors", "holds no model.safetensors"), ("config.json", "has no config.json")],
)
def test_repositories_that_are_no_checkpoint(hub: HubServer, folder: Path, missing: str, rule: str) -> None:
    (folder / missing).unlink()
    publish_model(folder, NAME)
    assert refusal(settings()).startswith(f"model_name_or_path: acme/encoder: {rule}; name a repository")


def test_a_repository_without_a_tokenizer(hub: HubServer, folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    publish_model(folder, NAME)
    with pytest.raises(ConfigError, match="model_name_or_path: acme/encoder: holds no tokenizer; save the model's"):
        load_tokenizer(settings())


def test_indexed_weights_stay_in_their_folder(hub: HubServer, folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}}))
    publish_model(folder, NAME)
    assert (Path(find_checkpoint(settings(), with_weights=True)) / "model-00001-of-00001.safetensors").is_file()
    index.write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
    publish_model(folder, NAME)
    assert refusal(settings()) == (
        "model_name_or_path: acme/encoder: model.safetensors.index.json: ../x.safetensors: "
        "names weights outside its own folder; use another checkpoint"
    )
    assert refusal(settings(model_name_or_path=str(folder))) == (
        f"model_name_or_path: {index}: ../x.safetensors: names weights outside its own folder; "
        "get the checkpoint from its source again"
    )


def test_bars_of_downloads_stay_where_bars_of_weights_go() -> None:
    enable_progress_bars()
    with without_weight_bars():
        assert not are_progress_bars_disabled()
    hide_weight_bars()
    assert not are_progress_bars_disabled()
