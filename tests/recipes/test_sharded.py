"""Sharded models: their state gathered by name and dealt out again, under `fully_shard`, accelerate's FSDP2 and ZeRO.

All on CPU processes. The launches take minutes and are slow tests; the first DeepSpeed run compiles an extension.
"""

import importlib.util
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, run_recipe_here, save_tiny_checkpoint, to_argv
from safetensors.torch import load_file
from sharded_process import STEPS, compute_loss, make_model, make_optimizer, take_step
from test_finetune_classifier import poison_token
from test_launched import ACCELERATE, ENVIRONMENT, finish, losses_of
from test_lora import lora_settings, three_labels_csv  # noqa: F401
from test_resume import classifier_settings, language_model_settings, outcome
from trials import run_trial

from hfpipe.records.run_directory import read_json, write_json
from hfpipe.training.gathering import put_weights
from hfpipe.training.optimizer_state import collect_optimizer_state, restore_optimizer_state
from hfpipe.training.state_files import read_state

HERE = Path(__file__).parent
WORLD = 2
FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_TORCH_DEVICE": "cpu",
    "ACCELERATE_MIXED_PRECISION": "no",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
}


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which two processes have saved what they sharded; they have compared resumed models."""
    folder = tmp_path_factory.mktemp("sharded")
    ending = run_trial(HERE / "sharded_process.py", {"folder": folder}, processes=WORLD)
    assert ending.codes == (0,) * WORLD, ending.output
    return folder


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_one_process_goes_on_with_what_two_have_sharded(name: str, sharded: Path) -> None:
    straight = make_model(name)
    straights = make_optimizer(straight)
    for step in range(STEPS):
        take_step(straight, straights, step)
    model = make_model(name)
    optimizer = make_optimizer(model)
    put_weights(model, load_file(sharded / f"{name}.safetensors"))
    saved = read_state(sharded, f"{name}_optimizer")
    restore_optimizer_state(model, optimizer, saved, place=sharded)
    again = collect_optimizer_state(model, optimizer)
    for key, state in saved["state"].items():
        assert all(again["state"][key][part].equal(value) for part, value in state.items())
    # two processes add up in another order than one
    torch.testing.assert_close(dict(model.state_dict()), dict(straight.state_dict()), rtol=1e-4, atol=1e-5)
    loss = compute_loss(model, STEPS).item()
    assert math.isclose(loss, float((sharded / f"{name}_loss.txt").read_text()), rel_tol=1e-6)
    assert math.isclose(loss, compute_loss(straight, STEPS).item(), rel_tol=1e-4)


def launch(
    command: Sequence[str], settings: Mapping[str, Any], environment: Mapping[str, str], *, code: int = 0
) -> str:
    """Launch a recipe, expect its exit code and return its output."""
    process = subprocess.Popen(
        [*command, *to_argv(settings)],
        cwd=ROOT,
        env={**ENVIRONMENT, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    found, output = finish(process, seconds=900)
    assert found == code, output
    return output


def forget_the_end(run: Path) -> None:
    """Leave `run` as a kill after its last checkpoint but one would have."""
    steps = sorted((run / "checkpoints").glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
    last = read_json(run / "run.json")
    for path in (*steps[-1].iterdir(), run / "model.safetensors", run / "metrics.json"):
        path.unlink()
    steps[-1].rmdir()
    write_json(run / "run.json", {**last, "status": "running"})


def two_processes_of(recipe: str, *, wrapper: Sequence[str] = ()) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(WORLD)]
    return [*launcher, *wrapper, str(ROOT / "recipes" / f"{recipe}.py")]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["finetune_classifier", "pretrain_causal_lm"])
def test_a_recipe_under_fsdp_computes_what_it_does_without(
    recipe: str, checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    if recipe == "finetune_classifier":
        settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
        settings |= {"config_overrides": "hidden_dropout_prob=0.0", "gradient_accumulation_steps": 1}
    else:
        settings = tied_language_model(tmp_path)
    settings |= {"use_cpu": "true"}
    plain = two_processes_of(recipe)
    launch(plain, {**settings, "output_dir": tmp_path / "plain"}, {"ACCELERATE_MIXED_PRECISION": "no"})
    sharded = two_processes_of(recipe, wrapper=[str(HERE / "fsdp_process.py")])
    launch(sharded, {**settings, "output_dir": tmp_path / "sharded"}, FSDP)
    assert losses_of(tmp_path / "sharded") == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-5)
    check_goes_on(sharded, {**settings, "output_dir": tmp_path / "sharded"}, FSDP)


WITH_DEEPSPEED = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is an extra, not installed here"
)
ON_CPU = {"DS_ACCELERATOR": "cpu"}


def two_processes_under_zero(stage: int, recipe: str, folder: Path) -> list[str]:
    """Return the launch of a recipe; no parameter is small enough to be left whole by stage 3."""
    engine, file = folder / "engine.json", folder / "zero.yaml"
    sharding = {"stage": stage, "stage3_param_persistence_threshold": 0}
    own = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
    write_json(engine, {"zero_optimization": sharding, "bf16": {"enabled": "auto"}, **dict.fromkeys(own, "auto")})
    config = {"deepspeed_config_file": str(engine), "zero3_init_flag": False}
    fields = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "DEEPSPEED", "deepspeed_config": config}
    file.write_text(yaml.safe_dump({**fields, "num_processes": WORLD, "use_cpu": True}))
    return [*ACCELERATE, "--config_file", str(file), f"recipes/{recipe}.py"]


@pytest.mark.slow
@WITH_DEEPSPEED
@pytest.mark.parametrize(
    ("stage", "recipe"),
    [(1, "finetune_classifier"), (2, "finetune_classifier"), (3, "finetune_classifier"), (3, "pretrain_causal_lm")],
)
def test_a_recipe_under_zero_computes_what_it_does_without(
    stage: int, recipe: str, checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    if recipe == "finetune_classifier":
        settings = classifier_settings(reviews_csv(44), checkpoints("bert")) | {"num_train_epochs": 1}
        settings |= {"config_overrides": "hidden_dropout_prob=0.0"}
    else:
        settings = tied_language_model(tmp_path)
    launch(two_processes_of(recipe), {**settings, "use_cpu": "true", "output_dir": tmp_path / "plain"}, {})
    command = two_processes_under_zero(stage, recipe, tmp_path)
    sharded = {**settings, "output_dir": tmp_path / "sharded"}
    launch(command, sharded, ON_CPU)
    assert losses_of(tmp_path / "sharded") == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-5)
    counts = [read_json(tmp_path / name / "run.json")["parameters"] for name in ("plain", "sharded")]
    assert counts[0] == counts[1]
    check_goes_on(command, sharded, ON_CPU)
    names = [load_file(tmp_path / run / "model.safetensors").keys() for run in ("plain", "sharded")]
    assert names[0] == names[1]
    pickles = [path.name for path in tmp_path.rglob("*") if path.suffix in (".pt", ".pth", ".bin", ".pkl")]
    assert pickles == []


@pytest.mark.slow
@WITH_DEEPSPEED
def test_weights_kept_in_float32_beside_bfloat16_go_on_too(tmp_path: Path) -> None:
    settings = {**tied_language_model(tmp_path), "bf16": "true", "output_dir": tmp_path / "run"}
    command = two_processes_under_zero(3, "pretrain_causal_lm", tmp_path)
    launch(command, settings, ON_CPU)
    check_goes_on(command, settings, ON_CPU)


@pytest.mark.slow
@WITH_DEEPSPEED
@pytest.mark.parametrize("stage", [2, 3])
def test_a_loss_that_is_not_finite_stops_deepspeed_before_the_update(stage: int, tmp_path: Path) -> None:
    save_tiny_checkpoint("bert", tmp_path / "checkpoint")
    poison_token(tmp_path / "checkpoint", " number")
    csv, validation = tmp_path / "rows.csv", tmp_path / "validation.csv"
    lines = [f"good film {index},pos\nbad film {index},neg\n" for index in range(12)]
    validation.write_text("text,label\n" + "".join(lines[:2]))
    csv.write_text("text,label\n" + "".join([*lines[:7], "good film,pos\nthe number,neg\n", *lines[8:]]))
    settings = {
        "train_file": csv,
        "validation_file": validation,
        "model_name_or_path": tmp_path / "checkpoint",
        "output_dir": tmp_path / "run",
        "max_seq_length": 24,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 4,
        "bf16": "false",
        "disable_tqdm": "true",
    }
    output = launch(two_processes_under_zero(stage, "finetune_classifier", tmp_path), settings, ON_CPU, code=1)
    assert (
        f": rows {csv}:17: their loss is not finite; the update would have destroyed the weights and was not" in output
    )
    assert read_json(tmp_path / "run" / "run.json")["status"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("under", ["fsdp", pytest.param("zero_3", marks=WITH_DEEPSPEED)])
def test_an_adapter_is_trained_under_sharding_as_without(
    under: str,
    checkpoints: Callable[[str], Path],
    three_labels_csv: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    settings = {**lora_settings(three_labels_csv, checkpoints("modernbert")), "lora_dropout": 0.0}
    # steps as small as runs with an adapter make; far larger ones blow rounding up
    settings |= {"num_train_epochs": 1, "gradient_accumulation_steps": 1, "learning_rate": 1e-3}
    alone = {**settings, "per_device_train_batch_size": 8, "output_dir": tmp_path / "alone"}
    run_recipe_here("finetune_classifier", alone)
    settings |= {"output_dir": tmp_path / "sharded"}
    if under == "fsdp":
        command = two_processes_of("finetune_classifier", wrapper=[str(HERE / "fsdp_process.py")])
        settings, environment = settings | {"use_cpu": "true"}, FSDP
    else:
        command, environment = two_processes_under_zero(3, "finetune_classifier", tmp_path), ON_CPU
    launch(command, settings, environment)
    assert losses_of(tmp_path / "sharded") == pytest.approx(losses_of(tmp_path / "alone"), rel=1e-5)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        torch.testing.assert_close(*(load_file(tmp_path / run / name) for run in ("sharded", "alone")))
    check_goes_on(command, settings, environment)


def tied_language_model(folder: Path) -> dict[str, Any]:
    """Return the settings of a language model whose embeddings are tied, without dropout."""
    corpus = folder / "corpus.txt"
    corpus.write_text("".join(f"line {index} of a corpus of words, {index * index}\n" for index in range(40)))
    settings = {**language_model_settings(corpus), "logging_steps": 1, "save_strategy": "steps", "save_steps": 2}
    overrides = "hidden_size=32,intermediate_size=48,num_hidden_layers=2"
    return settings | {"per_device_train_batch_size": 2, "sample_prompts": "line", "config_overrides": overrides}


def check_goes_on(command: Sequence[str], settings: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Assert that a finished run, thrown back to its last checkpoint but one, ends in the same bits once more."""
    run = Path(settings["output_dir"])
    before = outcome(run)
    forget_the_end(run)
    launch(command, settings, environment)
    assert outcome(run) == before
    assert len(read_json(run / "run.json")["sessions"]) == 2
