"""Recipes as launched processes: two of them compute what one does, stop and go on, and refuse readably.

A launch takes ten seconds of imports, so what a launched run is compared with goes through in this process, or in two
forks of a warm one (trials.py); that launched runs end in the same bits is then said of them too.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, run_recipe_here, to_argv
from safetensors.torch import load_file
from test_exact_losses import corpus  # noqa: F401
from test_resume import classifier_settings, language_model_settings, outcome
from trials import run_trial

from hfpipe.records.run_directory import read_history, read_json

HFPIPE = (str(Path(sys.executable).with_name("hfpipe")),)
ACCELERATE = (sys.executable, "-m", "accelerate.commands.launch")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(command: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process: "subprocess.Popen[str]", *, seconds: float = 240) -> tuple[int, str]:
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


def write_yaml(path: Path, recipe: str, settings: dict[str, Any]) -> Path:
    path.write_text(f"recipe: {recipe}\n" + "".join(f"{key}: {value}\n" for key, value in settings.items()))
    return path


def losses_of(output_dir: Path) -> list[float]:
    return [event["loss"] for event in read_history(output_dir / "history.jsonl") if "loss" in event]


def test_two_processes_compute_what_one_does_and_go_on_after_a_signal(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    # 33 rows for training in windows of 6: the last one has 3, which leaves one process a filler
    settings |= {"config_overrides": "hidden_dropout_prob=0.0", "num_train_epochs": 8, "max_grad_norm": 1.0}
    alone = settings | {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3}
    run_recipe_here("finetune_classifier", {**alone, "output_dir": tmp_path / "alone"})
    together = settings | {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 1}
    file = write_yaml(tmp_path / "together.yaml", "finetune_classifier", together)
    command = [*HFPIPE, "run", str(file), "--accelerate", "multi_cpu"]

    ending = run_trial("finetune_classifier", {**together, "output_dir": tmp_path / "straight"}, processes=2)
    assert ending.codes == (0, 0), ending.output
    assert losses_of(tmp_path / "straight") == pytest.approx(losses_of(tmp_path / "alone"), rel=1e-4)
    assert losses_of(tmp_path / "straight")[:6] == pytest.approx(losses_of(tmp_path / "alone")[:6], rel=1e-5)
    evaluations = [
        [event["eval_loss"] for event in read_history(tmp_path / name / "history.jsonl") if "eval_loss" in event]
        for name in ("straight", "alone")
    ]
    assert evaluations[0][:3] == pytest.approx(evaluations[1][:3], rel=1e-5)

    stopped = tmp_path / "stopped"
    process = start([*command, f"output_dir={stopped}"])
    deadline = time.monotonic() + 180
    while len(read_history(stopped / "history.jsonl")) < 7 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 130, output
    assert "Traceback" not in output
    assert 0 < read_json(stopped / "run.json")["sessions"][-1]["to_step"] < 48
    code, output = finish(start([*command, f"output_dir={stopped}"]))
    assert code == 0, output
    record = read_json(stopped / "run.json")
    assert (record["status"], record["world_size"], record["precision"]) == ("done", 2, "no")
    assert outcome(stopped) == outcome(tmp_path / "straight")


def test_accelerate_launches_a_recipe_and_two_processes_compute_what_one_does(
    corpus: Path,  # noqa: F811
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
) -> None:
    settings = pretraining_settings(corpus)
    run_recipe_here("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "here"})
    accelerate_launch("cpu", "pretrain_causal_lm", {**settings, "output_dir": tmp_path / "alone"})
    assert outcome(tmp_path / "alone") == outcome(tmp_path / "here")
    together = settings | {"per_device_train_batch_size": 2, "output_dir": tmp_path / "together"}
    ending = run_trial("pretrain_causal_lm", together, processes=2)
    assert ending.codes == (0, 0), ending.output
    assert losses_of(tmp_path / "together") == pytest.approx(losses_of(tmp_path / "here"), rel=1e-5)
    names = ("eval_loss", "eval_bits_per_byte")
    scores = [read_json(tmp_path / name / "metrics.json") for name in ("together", "here")]
    assert [scores[0][name] for name in names] == pytest.approx([scores[1][name] for name in names], rel=1e-5)

    # a mistake is said once; the launcher adds its own lines and turns our 2 into 1
    wrong = {"train_file": reviews_csv(28), "learning_rte": 1}
    output = accelerate_launch("cpu", "finetune_classifier", wrong, code=1)
    assert output.count("--learning_rte: no such setting; did you mean 'learning_rate'?") == 1
    assert output.count("model_name_or_path: ") == 1


@pytest.mark.slow
def test_accelerate_launches_both_recipes_as_they_run_without(
    corpus: Path,  # noqa: F811
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
) -> None:
    classifier = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "num_train_epochs": 1}
    run_recipe_here("finetune_classifier", {**classifier, "output_dir": tmp_path / "here"})
    accelerate_launch("cpu", "finetune_classifier", {**classifier, "output_dir": tmp_path / "launched"})
    assert outcome(tmp_path / "launched") == outcome(tmp_path / "here")
    together = pretraining_settings(corpus) | {"per_device_train_batch_size": 2}
    assert run_trial("pretrain_causal_lm", {**together, "output_dir": tmp_path / "two"}, processes=2).codes == (0, 0)
    launched = {**together, "output_dir": tmp_path / "launched_two", "num_processes": 2}
    accelerate_launch("multi_cpu", "pretrain_causal_lm", launched)
    assert outcome(tmp_path / "launched_two") == outcome(tmp_path / "two")


def pretraining_settings(corpus: Path) -> dict[str, Any]:  # noqa: F811
    settings = language_model_settings(corpus) | {"logging_steps": 1}
    return settings | {"config_overrides": "hidden_size=32,intermediate_size=48,num_hidden_layers=2"}


@pytest.mark.slow
def test_two_processes_train_an_adapter_as_one_does(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    # one epoch of 33 rows, 6 a step; the adapter of ModernBERT and its new head
    settings = classifier_settings(reviews_csv(44), checkpoints("modernbert")) | {"num_train_epochs": 1}
    settings |= {"config_overrides": "attention_dropout=0.0", "use_peft": "true", "lora_r": 4, "lora_dropout": 0.0}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "alone"})
    together = settings | {"gradient_accumulation_steps": 1, "output_dir": tmp_path / "together"}
    accelerate_launch("multi_cpu", "finetune_classifier", {**together, "num_processes": 2})
    assert len(losses_of(tmp_path / "alone")) == 6
    assert losses_of(tmp_path / "together") == pytest.approx(losses_of(tmp_path / "alone"), rel=1e-5)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        torch.testing.assert_close(*(load_file(tmp_path / run / name) for run in ("together", "alone")))


def accelerate_launch(file: str, recipe: str, settings: dict[str, Any], *, code: int = 0) -> str:
    """Run a recipe under `accelerate launch`, expect its exit code and return its output."""
    launcher = [*ACCELERATE, "--config_file", f"accelerate_configs/{file}.yaml", f"recipes/{recipe}.py"]
    found, output = finish(start([*launcher, *to_argv(settings)]))
    assert found == code, output
    return output
