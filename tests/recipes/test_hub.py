"""Runs that push while they train, and go on from what they pushed: the real client against a Hub on this machine."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import run_recipe_here
from hub_server import READ_TOKEN, WRITE_TOKEN, Fault, HubServer
from interruption import interrupted_after

from hfpipe.errors import CheckpointError, ConfigError, HubError, Stopped
from hfpipe.records.run_directory import read_history, read_json
from hfpipe.training import pushing

NAME = "tester/reviews"
TOP = {
    "README.md",
    "config.json",
    "history.jsonl",
    "inference.json",
    "loss_curve.png",
    "metrics.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
STATE = {
    "config.json",
    "history.jsonl",
    "model.safetensors",
    "optimizer.json",
    "optimizer.safetensors",
    "progress.json",
    "rng_state_0.json",
    "rng_state_0.safetensors",
    "run.json",
    "scheduler.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
}


@pytest.fixture
def settings(checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path) -> dict[str, Any]:
    """Two epochs of 6 steps with dropout, an evaluation and a checkpoint every fourth step."""
    return {
        "train_file": reviews_csv(44),
        "model_name_or_path": checkpoints("bert"),
        "config_overrides": "hidden_dropout_prob=0.2,attention_probs_dropout_prob=0.2",
        "max_seq_length": 24,
        "per_device_train_batch_size": 6,
        "num_train_epochs": 2,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "validation_fraction": 0.25,
        "bf16": "false",
        "disable_tqdm": "true",
        "push_to_hub": "true",
        "hub_model_id": NAME,
        "output_dir": tmp_path / "run",
    }


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of a run there are two seconds for a push, not sixty."""
    monkeypatch.setattr(pushing, "SECONDS_AT_END", 2.0)
    monkeypatch.setattr(pushing, "SECONDS_AT_START", 0.5)


def titles(hub: HubServer, name: str = NAME, revision: str = "main") -> list[str]:
    """Return the titles of a branch's commits, oldest first."""
    repository = hub.repository(name)
    found, commit = [], repository.find(revision)
    while commit is not None:
        found.append(commit.title)
        commit = repository.commits.get(commit.parent or "")
    return found[::-1]


def model_index(card: str) -> dict[str, float]:
    """Return the scores of the validation part in a card."""
    results = yaml.safe_load(card.split("---")[1])["model-index"][0]["results"]
    own = next(result for result in results if result["dataset"]["split"] == "validation")
    return {metric["name"]: metric["value"] for metric in own["metrics"]}


def digest(run_dir: Path) -> str:
    return hashlib.sha256((run_dir / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.usefixtures("logged_in")
def test_the_finished_model_comes_back_with_the_scores_of_the_run(hub: HubServer, settings: dict[str, Any]) -> None:
    from huggingface_hub import snapshot_download

    from hfpipe.inference.loading import load_classifier
    from hfpipe.inference.predict import score_texts

    run_dir = settings["output_dir"]
    run_recipe_here("finetune_classifier", settings)
    repository = hub.repository(NAME)
    assert repository.private
    assert set(repository.head.files) == {*TOP, ".gitattributes"}
    metrics = read_json(run_dir / "metrics.json")
    assert model_index(hub.read(NAME, "README.md").decode())["accuracy"] == metrics["eval_accuracy"]
    assert json.loads(hub.read(NAME, "metrics.json")) == metrics
    folder = snapshot_download(NAME)
    texts = ["good great film", "dull poor scene", "a fine plot and music number 7"]
    scores = []
    for place in (run_dir, Path(folder)):
        classifier = load_classifier(place)
        answers = score_texts(classifier.model, classifier.tokenizer, texts, treatment=classifier.treatment)
        scores.append([answer.tolist() for answer in answers])
    assert scores[0] == scores[1]
    (pushed,) = read_json(run_dir / "run.json")["pushes"]
    assert pushed["commit"] == repository.head.id
    assert pushed["is_final"] is True


@pytest.mark.usefixtures("logged_in")
def test_the_code_of_the_card_runs(
    hub: HubServer, settings: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_recipe_here("finetune_classifier", settings)
    for card, folder in ((hub.read(NAME, "README.md").decode(), Path()), (None, settings["output_dir"])):
        text = card or (folder / "README.md").read_text(encoding="utf-8")
        monkeypatch.chdir(folder)
        capsys.readouterr()
        exec(text.split("```python\n")[1].split("```")[0], {})
        assert "'label': 'pos'" in capsys.readouterr().out
    assert f'model="{NAME}"' in hub.read(NAME, "README.md").decode()


@pytest.mark.usefixtures("logged_in")
def test_every_save_has_the_scores_of_its_own_weights(hub: HubServer, settings: dict[str, Any]) -> None:
    # tags keep each save from giving way to the next
    run_recipe_here("finetune_classifier", {**settings, "hub_strategy": "every_save", "hub_tag_steps": "true"})
    assert titles(hub)[1:] == ["Step 4", "Step 8", "Step 12", "Finished model, step 12"]
    history = read_history(settings["output_dir"] / "history.jsonl")
    for step in (4, 8, 12):
        (event,) = [event for event in history if event["step"] == step and "eval_loss" in event]
        card = hub.read(NAME, "README.md", revision=f"step-{step}").decode()
        assert model_index(card)["loss"] == event["eval_loss"]
        own = set(hub.repository(NAME).find(f"step-{step}").files)  # type: ignore[union-attr]
        assert own == {*TOP, ".gitattributes"}
    assert "while training was still under way" in hub.read(NAME, "README.md", revision="step-4").decode()
    assert "under way" not in hub.read(NAME, "README.md").decode()


@pytest.mark.usefixtures("logged_in")
def test_a_run_goes_on_elsewhere_and_ends_in_the_same_bits(
    hub: HubServer, settings: dict[str, Any], tmp_path: Path
) -> None:
    run_recipe_here("finetune_classifier", {**settings, "push_to_hub": "false", "output_dir": tmp_path / "straight"})
    kept = {**settings, "hub_strategy": "checkpoint", "hub_revision": "night/run"}
    with interrupted_after(10), pytest.raises(Stopped) as stop:
        run_recipe_here("finetune_classifier", kept)
    files = set(hub.repository(NAME).find("night/run").files)  # type: ignore[union-attr]
    assert {name.removeprefix("last-checkpoint/") for name in files if name.startswith("last-")} == STATE
    text = json.dumps(
        [
            hub.read(NAME, f"last-checkpoint/{name}", revision="night/run").decode()
            for name in STATE
            if name.endswith(".json")
        ]
    )
    assert str(tmp_path) not in text
    # another machine: neither the folder nor the places of the files are the same
    moved = tmp_path / "elsewhere" / "reviews_44.csv"
    moved.parent.mkdir()
    shutil.copy(settings["train_file"], moved)
    there = {**kept, "train_file": moved, "output_dir": tmp_path / "there", "push_to_hub": "false"}
    del there["hub_strategy"], there["hub_revision"]
    run_recipe_here("finetune_classifier", {**there, "resume_from_checkpoint": f"{NAME}@night/run"})
    sessions = read_json(tmp_path / "there" / "run.json")["sessions"]
    assert sessions[-1]["from_step"] == stop.value.step
    assert digest(tmp_path / "there") == digest(tmp_path / "straight")
    events = [
        [
            {key: value for key, value in event.items() if "runtime" not in key and "per_second" not in key}
            for event in read_history(tmp_path / name / "history.jsonl")
        ]
        for name in ("there", "straight")
    ]
    assert events[0] == events[1]
