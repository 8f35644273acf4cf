"""Sharded models: their state gathered by name and dealt out again, under `fully_shard`, accelerate's FSDP2 and ZeRO.

All on CPU processes. The launches take minutes and are slow tests; the first DeepSpeed run compiles an extension.
"""

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, to_argv
from safetensors.torch import load_file
from sharded_process import STEPS, compute_loss, make_model, make_optimizer, take_step
from test_launched import ACCELERATE, ENVIRONMENT, finish, losses_of
from test_resume import classifier_settings, language_model_settings, outcome

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
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(str(each) for each in (ROOT / "tests" / "unit", ROOT))}
    command = [sys.executable, "-W", "ignore", str(HERE / "sharded_process.py")]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(WORLD), str(folder)],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(WORLD)
    ]
    ends = [finish(process) for process in processes]
    assert [code for code, _ in ends] == [0, 0], "\n".join(output for _, output in ends)
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


def launch(command: Sequence[str], settings: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    process = subprocess.Popen(
        [*command, *to_argv(settings)],
        cwd=ROOT,
        env={**ENVIRONMENT, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    code, output = finish(process, seconds=900)
    assert code == 0, output


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
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("".join(f"line {index} of a corpus of words, {index * index}\n" for index in range(40)))
        settings = {**language_model_settings(corpus), "logging_steps": 1, "save_strategy": "steps", "save_steps": 2}
        settings |= {"per_device_train_batch_size": 2, "sample_prompts": "line"}
    settings |= {"use_cpu": "true"}
    plain = two_processes_of(recipe)
    launch(plain, {**settings, "output_dir": tmp_path / "plain"}, {"ACCELERATE_MIXED_PRECISION": "no"})
    sharded = two_processes_of(recipe, wrapper=[str(HERE / "fsdp_process.py")])
    launch(sharded, {**settings, "output_dir": tmp_path / "sharded"}, FSDP)
    assert losses_of(tmp_path / "sharded") == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-5)
    before = outcome(tmp_path / "sharded")
    forget_the_end(tmp_path / "sharded")
    launch(sharded, {**settings, "output_dir": tmp_path / "sharded"}, FSDP)
    assert outcome(tmp_path / "sharded") == before
    assert len(read_json(tmp_path / "sharded" / "run.json")["sessions"]) == 2


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is an extra, not installed here")
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_recipe_under_zero_computes_what_it_does_without(
    stage: int, checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    file = tmp_path / "zero.yaml"
    engine = {"zero_stage": stage, "offload_optimizer_device": "none", "offload_param_device": "none", "zero3_init_flag": False}
    fields = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "DEEPSPEED", "deepspeed_config": engine}
    file.write_text(yaml.safe_dump({**fields, "mixed_precision": "no", "num_processes": WORLD, "use_cpu": True}))
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    settings |= {"config_overrides": "hidden_dropout_prob=0.0", "num_train_epochs": 1}
    plain = two_processes_of("finetune_classifier")
    launch(plain, {**settings, "use_cpu": "true", "output_dir": tmp_path / "plain"}, {})
    command = [*ACCELERATE, "--config_file", str(file), "recipes/finetune_classifier.py"]
    sharded = {**settings, "output_dir": tmp_path / "sharded"}
    launch(command, sharded, {"DS_ACCELERATOR": "cpu"})
    assert losses_of(tmp_path / "sharded") == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-5)
    before = outcome(tmp_path / "sharded")
    forget_the_end(tmp_path / "sharded")
    launch(command, sharded, {"DS_ACCELERATOR": "cpu"})
    assert outcome(tmp_path / "sharded") == before
    pickles = [path.name for path in tmp_path.rglob("*") if path.suffix in (".pt", ".pth", ".bin", ".pkl")]
    assert pickles == []
