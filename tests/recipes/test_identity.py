"""A run that was stopped is refused under anything that would make another run of it; both values are named."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here
from hub_contents import publish_model
from hub_server import HubServer
from interruption import interrupted_after
from safetensors.torch import load_file, save_file
from test_resume import classifier_settings, language_model_settings, outcome

from hfpipe.errors import CheckpointError, Stopped
from hfpipe.records.manifest import Manifest, read_manifest, seal
from hfpipe.records.run_directory import read_json, step_of
from hfpipe.records.sessions import STARTING_POINT, saved_settings

ANEW = "set it back, or begin anew with fresh_start: true or another output_dir"
BEGAN = "another value than the run began with"


@pytest.fixture(scope="module")
def folder(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with data, models and the runs `classifier` and `language_model`, stopped after their first steps."""
    folder = tmp_path_factory.mktemp("identity")
    for name in ("bert", "distilbert"):
        shutil.copytree(checkpoints(name), folder / name)
    rows = reviews_csv(44).read_text().splitlines()
    marks = ["mark", *("ab"[number % 2] for number in range(44))]
    (folder / "train.csv").write_text("".join(f"{row},{mark}\n" for row, mark in zip(rows, marks, strict=True)))
    (folder / "corpus.txt").write_text("".join(f"line {each} of plain words, {each * each}\n" for each in range(40)))
    for recipe, settings in (
        ("finetune_classifier", classifier(folder)),
        ("pretrain_causal_lm", language_model(folder)),
    ):
        with interrupted_after(1), pytest.raises(Stopped):
            run_recipe_here(recipe, settings)
    return folder


def classifier(folder: Path) -> dict[str, Any]:
    given = {"label_column_name": "label", "text_column_names": "text", "output_dir": folder / "classifier"}
    return classifier_settings(folder / "train.csv", folder / "bert") | given


def language_model(folder: Path) -> dict[str, Any]:
    return language_model_settings(folder / "corpus.txt") | {"output_dir": folder / "language_model"}


def refusals(recipe: str, settings: dict[str, Any]) -> list[str]:
    """Return the problems of going on, after making sure that nothing was changed."""
    record = Path(settings["output_dir"]) / "run.json"
    before = record.read_bytes()
    with pytest.raises(CheckpointError) as raised:
        run_recipe_here(recipe, settings)
    assert record.read_bytes() == before
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"label_column_name": "mark"}, f'--label_column_name: "mark": {BEGAN}, "label"'),
        ({"max_seq_length": 20}, f"--max_seq_length: 20: {BEGAN}, 24"),
        ({"seed": 43}, f"--seed: 43: {BEGAN}, 42"),
        ({"learning_rate": 1e-3}, f"--learning_rate: 0.001: {BEGAN}, 0.003"),
        ({"lr_scheduler_type": "cosine"}, f'--lr_scheduler_type: "cosine": {BEGAN}, unset'),
        ({"weight_decay": 0.5}, f"--weight_decay: 0.5: {BEGAN}, 0.01"),
        ({"optim": "sgd"}, f'--optim: "sgd": {BEGAN}, unset'),
        ({"label_smoothing_factor": 0.1}, f"--label_smoothing_factor: 0.1: {BEGAN}, unset"),
        ({"class_weights": "balanced"}, f'--class_weights: "balanced": {BEGAN}, unset'),
        ({"validation_fraction": 0.2}, f"--validation_fraction: 0.2: {BEGAN}, 0.25"),
        ({"max_train_samples": 20}, f"--max_train_samples: 20: {BEGAN}, unset"),
        ({"dtype": "bfloat16"}, f'--dtype: "bfloat16": {BEGAN}, "float32"'),
        ({"use_peft": "true"}, f"--use_peft: true: {BEGAN}, false"),
        ({"num_train_epochs": 1}, "--num_train_epochs: 1.0: may only grow; the run began with 2.0"),
        (
            {"num_train_epochs": 3},
            "--num_train_epochs: 3.0: the default schedule spreads the learning rate over the whole run, "
            "which began with 2.0",
        ),
    ],
)
def test_another_setting_is_refused(change: dict[str, Any], told: str, folder: Path) -> None:
    settings = classifier(folder) | change
    assert refusals("finetune_classifier", settings) == [f"{told}; {ANEW}"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"block_size": 8}, f"--block_size: 8: {BEGAN}, 16"),
        ({"vocab_size": 301}, f"--vocab_size: 301: {BEGAN}, 300"),
        ({"model_size": "small"}, f'--model_size: "small": {BEGAN}, "tiny"'),
        ({"document_per": "file"}, f'--document_per: "file": {BEGAN}, "line"'),
    ],
)
def test_another_setting_of_a_language_model_is_refused(change: dict[str, Any], told: str, folder: Path) -> None:
    settings = language_model(folder) | change
    assert refusals("pretrain_causal_lm", settings) == [f"{told}; {ANEW}"]


def test_other_models_and_rows_are_refused_together(folder: Path) -> None:
    other, model, tokenizer = classifier(folder), folder / "distilbert", folder / "bert"
    change = {"model_name_or_path": model, "tokenizer_name": tokenizer, "per_device_train_batch_size": 4}
    assert refusals("finetune_classifier", other | change) == [
        f'--model_name_or_path: "{model}": {BEGAN}, "{folder / "bert"}"; {ANEW}',
        f'--tokenizer_name: "{tokenizer}": {BEGAN}, unset; {ANEW}',
        f"rows_per_step: 8 = 1 process x 4 rows x 2 micro-batches: {BEGAN}, 6 = 1 x 3 x 2; make processes x "
        "per_device_train_batch_size x gradient_accumulation_steps 6 again, or begin anew with fresh_start: true",
    ]


@contextmanager
def changed(file: Path, change: Callable[[bytes], bytes]) -> Iterator[tuple[str, str]]:
    """Change the content of a file for the block; give the first digits of its hashes before and after."""
    before = file.read_bytes()
    after = change(before)
    file.write_bytes(after)
    yield tuple(hashlib.sha256(content).hexdigest()[:12] for content in (before, after))  # type: ignore[misc]
    file.write_bytes(before)


@pytest.mark.parametrize(
    ("file", "named", "change"),
    [
        ("train.csv", "train.csv", lambda content: content + b"one more line,pos,a\n"),
        (
            "bert/model.safetensors",
            "model_name_or_path: model.safetensors",
            lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        ),
        (
            "bert/config.json",
            "model_name_or_path: config.json",
            lambda content: content.replace(b'"layer_norm_eps": 1e-12', b'"layer_norm_eps": 1e-06'),
        ),
        (
            "bert/tokenizer_config.json",
            "model_name_or_path: tokenizer_config.json",
            lambda content: content + b"\n",
        ),
    ],
)
def test_other_content_under_the_same_name_is_refused(
    file: str, named: str, change: Callable[[bytes], bytes], folder: Path
) -> None:
    with changed(folder / file, change) as (before, after):
        assert before != after
        found = refusals("finetune_classifier", classifier(folder))
    shown = f"sha256 {after}: its content is no longer what this run began with, sha256 {before}; {ANEW}"
    assert found == [f"{named}: {shown}"]


def test_another_number_of_rows_an_epoch_is_refused(folder: Path) -> None:
    """As another version of a library would leave it, that packs or cuts the texts otherwise."""
    copy = folder / "other_rows"
    shutil.copytree(folder / "language_model", copy)
    record = (copy / "run.json").read_text()
    rows = read_json(copy / "run.json")["rows_per_epoch"]
    (copy / "run.json").write_text(record.replace(f'"rows_per_epoch": {rows}', f'"rows_per_epoch": {rows + 1}'))
    with pytest.raises(CheckpointError) as raised:
        run_recipe_here("pretrain_causal_lm", language_model(folder) | {"output_dir": copy})
    assert [str(problem) for problem in raised.value.problems] == [
        f"rows of an epoch: {rows}: the run began with {rows + 1}, so the order of the rows would be another one; "
        "go on with the versions of libraries that run.json names, or begin anew with fresh_start: true"
    ]


def test_a_checkpoint_at_another_place_in_the_order_is_refused(folder: Path) -> None:
    """As a plan that counts rows otherwise would leave it: the checkpoint itself is whole."""
    copy = folder / "other_place"
    shutil.copytree(folder / "language_model", copy)
    checkpoint = max((copy / "checkpoints").glob("checkpoint-*"), key=step_of)
    manifest = read_manifest(checkpoint)
    assert isinstance(manifest, Manifest)
    planned, step = manifest.stamp.samples, manifest.stamp.step
    seal(checkpoint, replace(manifest.stamp, samples=planned + 4))
    with pytest.raises(CheckpointError) as raised:
        run_recipe_here("pretrain_causal_lm", language_model(folder) | {"output_dir": copy})
    assert [str(problem) for problem in raised.value.problems] == [
        f"{checkpoint}: {planned + 4:,} rows trained on: the plan of this run has {planned:,} behind step {step}, "
        "so rows would be left out or repeated; "
        "go on with the versions of libraries that run.json names, or begin anew with fresh_start: true"
    ]


def test_a_run_goes_on_with_the_model_and_tokenizer_of_the_hub_it_began_with(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    commits = [publish_model(folder / "bert", name) for name in ("acme/encoder", "acme/tokenizer")]
    named = {"model_name_or_path": "acme/encoder", "tokenizer_name": "acme/tokenizer", "cache_dir": tmp_path / "cache"}
    settings = classifier(folder) | named | {"output_dir": tmp_path / "run"}
    with interrupted_after(1), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", settings)
    # other weights on the same branches
    shutil.copytree(folder / "bert", tmp_path / "other")
    weights = load_file(tmp_path / "other" / "model.safetensors")
    weights = {name: tensor * 2 for name, tensor in weights.items()}
    save_file(weights, tmp_path / "other" / "model.safetensors", {"format": "pt"})
    later = [publish_model(tmp_path / "other", name) for name in ("acme/encoder", "acme/tokenizer")]
    assert not set(later) & set(commits)
    run_recipe_here("finetune_classifier", settings)
    record = read_json(tmp_path / "run" / "run.json")
    assert (record["status"], record["model_commit"]) == ("done", commits[0])
    assert list(record[STARTING_POINT].values()) == commits
    assert saved_settings(record)["model_revision"] == "main"
    run_recipe_here("finetune_classifier", classifier(folder) | {"output_dir": tmp_path / "from_folder"})
    outcomes = [outcome(tmp_path / name) for name in ("run", "from_folder")]
    titles = [evaluation["model"].pop("title") for *_, evaluation in outcomes]
    assert titles == ["acme/encoder", "bert"]
    assert outcomes[0] == outcomes[1]


def test_what_was_refused_goes_on_when_all_is_as_it_was(folder: Path) -> None:
    copy = folder / "going_on"
    shutil.copytree(folder / "classifier", copy)
    run_recipe_here("finetune_classifier", classifier(folder) | {"output_dir": copy})
    assert read_json(copy / "run.json")["status"] == "done"
