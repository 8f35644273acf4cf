"""Runs that push while they train, and go on from what they pushed: the real client against a Hub on this machine."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import run_recipe_here
from hub_runs import JUDGED, TOP, list_titles
from hub_server import READ_TOKEN, WRITE_TOKEN, Fault, HubServer
from interruption import interrupted_after
from typer.testing import CliRunner

from hfpipe.cli import app
from hfpipe.errors import CheckpointError, ConfigError, HubError, Stopped
from hfpipe.records.run_directory import read_history, read_json
from hfpipe.training import push_opening, pushing

NAME = "tester/reviews"
STATE = {
    "config.json",
    "history.jsonl",
    "manifest.json",
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
    """A Hub that does not answer is waited for half a second, at the start and at the end."""
    monkeypatch.setattr(pushing, "SECONDS_OF_QUIET", 0.5)
    monkeypatch.setattr(push_opening, "SECONDS_AT_START", 0.5)


def model_index(card: str) -> dict[str, float]:
    """Return the scores of the validation part in a card."""
    results = yaml.safe_load(card.split("---")[1])["model-index"][0]["results"]
    own = next(result for result in results if result["dataset"]["split"] == "validation")
    return {metric["name"]: metric["value"] for metric in own["metrics"]}


def timeless_history(run_dir: Path) -> list[dict[str, Any]]:
    """Return the history without what was measured by the clock."""
    clocked = ("_runtime", "_per_second", "mfu", "memory_mb")
    events = read_history(run_dir / "history.jsonl")
    return [{name: value for name, value in event.items() if not name.endswith(clocked)} for event in events]


def digest(run_dir: Path) -> str:
    return hashlib.sha256((run_dir / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.usefixtures("logged_in")
def test_the_finished_model_comes_back_with_the_scores_of_the_run(
    hub: HubServer, settings: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import snapshot_download
    from transformers import pipeline

    from hfpipe.inference.loading import load_classifier
    from hfpipe.inference.predict import score_texts

    run_dir = settings["output_dir"]
    run_recipe_here("finetune_classifier", settings)
    repository = hub.repository(NAME)
    assert repository.private
    assert set(repository.head.files) == {*TOP, *JUDGED, ".gitattributes"}
    metrics = read_json(run_dir / "metrics.json")
    card = hub.read(NAME, "README.md").decode()
    assert model_index(card)["accuracy"] == metrics["eval_accuracy"]
    assert json.loads(hub.read(NAME, "metrics.json")) == metrics
    (pushed,) = read_json(run_dir / "run.json")["pushes"]
    assert (pushed["commit"], pushed["is_final"]) == (repository.head.id, True)

    texts = ["good great film", "dull poor scene", "a fine plot and music number 7"]
    classifier = load_classifier(run_dir)
    scores = score_texts(classifier.model, classifier.tokenizer, texts, treatment=classifier.treatment)
    told = pipeline("text-classification", model=snapshot_download(NAME))(texts, top_k=None)
    for own, answers in zip(scores, told, strict=True):
        by_label = {answer["label"]: answer["score"] for answer in answers}
        assert [by_label[label] for label in classifier.label_names] == pytest.approx(own.tolist(), abs=1e-6)

    # the code of the card is run as it stands: from the Hub, and from the run directory
    assert f'model="{NAME}"' in card
    monkeypatch.chdir(run_dir)
    for text in (card, (run_dir / "README.md").read_text(encoding="utf-8")):
        capsys.readouterr()
        exec(text.split("```python\n")[1].split("```")[0], {})
        assert "'pos': " in capsys.readouterr().out


@pytest.mark.usefixtures("logged_in")
def test_every_save_has_the_scores_of_its_own_weights(hub: HubServer, settings: dict[str, Any]) -> None:
    settings |= {"hub_strategy": "every_save", "hub_tag_steps": "true", "num_train_epochs": 1, "eval_steps": 3}
    run_recipe_here("finetune_classifier", settings)
    assert list_titles(hub, NAME)[1:] == ["Step 3", "Step 6", "Finished model, step 6"]
    history = read_history(settings["output_dir"] / "history.jsonl")
    for step in (3, 6):
        (event,) = [event for event in history if event["step"] == step and "eval_loss" in event]
        card = hub.read(NAME, "README.md", revision=f"step-{step}").decode()
        assert model_index(card)["loss"] == event["eval_loss"]
        own = set(hub.repository(NAME).find(f"step-{step}").files)  # type: ignore[union-attr]
        assert own == {*TOP, ".gitattributes"}
    assert "while training was still under way" in hub.read(NAME, "README.md", revision="step-3").decode()
    assert "under way" not in hub.read(NAME, "README.md").decode()


@pytest.mark.usefixtures("logged_in")
def test_a_run_goes_on_elsewhere_and_ends_in_the_same_bits(
    hub: HubServer, settings: dict[str, Any], tmp_path: Path
) -> None:
    # several evaluations are right in every row, and the first of them is the best: it has to travel too
    settings["metric_for_best_model"] = "accuracy"
    run_recipe_here("finetune_classifier", {**settings, "push_to_hub": "false", "output_dir": tmp_path / "straight"})
    best = read_json(tmp_path / "straight" / "run.json")["best_step"]
    assert best == 8
    kept = {**settings, "hub_strategy": "checkpoint", "hub_revision": "night/run"}
    with interrupted_after(12), pytest.raises(Stopped) as stop:
        run_recipe_here("finetune_classifier", kept)
    assert best < stop.value.step < 12
    files = set(hub.repository(NAME).find("night/run").files)  # type: ignore[union-attr]
    for folder in ("last-checkpoint", "best-checkpoint"):
        assert {name.removeprefix(f"{folder}/") for name in files if name.startswith(folder)} == STATE
    told = [hub.read(NAME, path, revision="night/run") for path in files if path.endswith((".json", ".jsonl", ".md"))]
    assert not any(
        str(tmp_path).encode() in text or str(settings["train_file"].parent).encode() in text for text in told
    )
    # another machine: neither the folder nor the places of the files are the same
    moved = tmp_path / "elsewhere" / "reviews_44.csv"
    moved.parent.mkdir()
    shutil.copy(settings["train_file"], moved)
    there = {**settings, "train_file": moved, "output_dir": tmp_path / "there", "push_to_hub": "false"}
    run_recipe_here("finetune_classifier", {**there, "resume_from_checkpoint": f"{NAME}@night/run"})
    assert read_json(tmp_path / "there" / "run.json")["sessions"][-1]["from_step"] == stop.value.step
    assert digest(tmp_path / "there") == digest(tmp_path / "straight")
    assert timeless_history(tmp_path / "there") == timeless_history(tmp_path / "straight")


@pytest.mark.usefixtures("logged_in")
def test_a_later_checkpoint_here_that_is_damaged_gives_way_to_that_of_the_hub(
    hub: HubServer, settings: dict[str, Any]
) -> None:
    with interrupted_after(4), pytest.raises(Stopped) as pushed:
        run_recipe_here(
            "finetune_classifier", {**settings, "hub_strategy": "checkpoint", "metric_for_best_model": "loss"}
        )
    own = {**settings, "push_to_hub": "false", "metric_for_best_model": "loss", "resume_from_checkpoint": NAME}
    with interrupted_after(1), pytest.raises(Stopped) as here:
        run_recipe_here("finetune_classifier", own)
    assert here.value.step > pushed.value.step
    (settings["output_dir"] / "checkpoints" / f"checkpoint-{here.value.step}" / "model.safetensors").write_bytes(b"")
    (settings["output_dir"] / "checkpoints" / f"checkpoint-{here.value.step - 1}").mkdir()
    run_recipe_here("finetune_classifier", own)
    sessions = read_json(settings["output_dir"] / "run.json")["sessions"]
    assert [session["from_step"] for session in sessions] == [0, pushed.value.step, pushed.value.step]


@pytest.mark.usefixtures("logged_in")
def test_a_checkpoint_that_does_not_fit_is_refused(hub: HubServer, settings: dict[str, Any], tmp_path: Path) -> None:
    with interrupted_after(3), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", {**settings, "hub_strategy": "all_checkpoints"})
    there = {**settings, "output_dir": tmp_path / "there", "resume_from_checkpoint": NAME}
    with pytest.raises(CheckpointError) as error:
        run_recipe_here("finetune_classifier", {**there, "learning_rate": 1e-3, "seed": 7})
    assert str(error.value) == (
        "the run directory has 2 problems:\n"
        "  - --seed: 7: another value than the run began with, 42; "
        "set it back, or begin anew with fresh_start: true or another output_dir\n"
        "  - --learning_rate: 0.001: another value than the run began with, 0.003; "
        "set it back, or begin anew with fresh_start: true or another output_dir"
    )
    assert not (tmp_path / "there").exists()
    other = tmp_path / "reviews_44.csv"
    other.write_text(Path(settings["train_file"]).read_text() + "one more line,pos\n")
    with pytest.raises(
        CheckpointError, match=r"reviews_44\.csv: sha256 \w+: its content is no longer what this run began with"
    ):
        run_recipe_here("finetune_classifier", {**there, "train_file": other})

    repository = hub.repository(NAME)
    pickled = hub.hub.storage.add_small(b"\x80\x04.")
    (state,) = [path for path in repository.head.files if path.endswith("trainer_state.json")]
    trojan = state.replace("trainer_state.json", "optimizer.pt")
    repository.commit("main", "Trojan", files={**repository.head.files, trojan: pickled})
    with pytest.raises(HubError, match=rf"{NAME}@main: offers {trojan}, whose reading can run any code"):
        run_recipe_here("finetune_classifier", {**there, "resume_from_checkpoint": f"{NAME}@main"})
    assert not any("optimizer.pt" in seen.path for seen in hub.log)
    for content, told in ((b"[1]", "last-checkpoint/run.json: holds no JSON object"), (b"{}", "its record lacks what")):
        foreign = hub.hub.storage.create("model", f"tester/foreign{len(content)}", private=False)
        files = {"run.json": content, "trainer_state.json": b'{"global_step": 4}'}
        stored = {f"last-checkpoint/{name}": hub.hub.storage.add_small(each) for name, each in files.items()}
        foreign.commit("main", "By hand", files={**foreign.head.files, **stored})
        with pytest.raises(CheckpointError, match=told):
            run_recipe_here("finetune_classifier", {**there, "resume_from_checkpoint": foreign.name})
    hub.hub.storage.create("model", "tester/empty", private=False)
    with pytest.raises(HubError, match="tester/empty: holds no checkpoint to go on from"):
        run_recipe_here("finetune_classifier", {**there, "resume_from_checkpoint": "tester/empty"})


def test_pushing_needs_a_token_that_may_write(
    hub: HubServer, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="--push_to_hub: true: pushing needs an access token, and there is none; set"):
        run_recipe_here("finetune_classifier", settings)
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    with pytest.raises(ConfigError, match="--push_to_hub: true: the access token may only read"):
        run_recipe_here("finetune_classifier", settings)
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    with pytest.raises(ConfigError, match=r"the access token: the Hub answered 401 \(Invalid user token"):
        run_recipe_here("finetune_classifier", settings)
    assert not settings["output_dir"].exists()


@pytest.mark.usefixtures("logged_in", "impatient")
def test_what_a_hub_that_is_away_missed_is_pushed_later(
    hub: HubServer, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    hub.stop()
    caplog.set_level("INFO", logger="hfpipe")
    settings |= {"hub_strategy": "checkpoint", "num_train_epochs": 1}
    run_recipe_here("finetune_classifier", settings)
    run_dir = settings["output_dir"]
    assert read_json(run_dir / "run.json")["status"] == "done"
    assert "training begins, and what is to be pushed is kept until it can be" in caplog.text
    told = "not on the Hub yet: Finished model, step 6 and all before it (3 commits"
    assert told in caplog.text and f"deliver by: hfpipe push {run_dir} --pending" in caplog.text
    listed = CliRunner().invoke(app, ["push", str(run_dir), "--pending", "--dry-run"])
    assert "bytes in 3 commits" in listed.output
    hub.start()
    result = CliRunner().invoke(app, ["push", str(run_dir), "--pending"])
    assert result.exit_code == 0, result.output
    assert list_titles(hub, NAME)[1:] == ["Step 4", "Step 6", "Finished model, step 6"]
    assert [(each["step"], each["is_final"]) for each in read_json(run_dir / "run.json")["pushes"]] == [
        (4, False),
        (6, False),
        (6, True),
    ]
    assert not (run_dir / ".hub").exists()


@pytest.mark.usefixtures("logged_in", "impatient")
def test_a_hub_that_hangs_does_not_stop_or_slow_a_run(
    hub: HubServer, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    hub.faults.append(Fault("*", "", seconds=60.0, times=99))
    began = time.monotonic()
    run_recipe_here("finetune_classifier", {**settings, "hub_strategy": "every_save", "num_train_epochs": 1})
    # half a second to ask at the start, two to wait at the end: the rest is the run itself
    assert time.monotonic() - began < 30
    assert read_json(settings["output_dir"] / "run.json")["status"] == "done"
    assert "not on the Hub yet: Finished model, step 6 and all before it" in caplog.text
