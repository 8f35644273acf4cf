"""Under real launchers: signals that reach the launcher, killed processes, and runs that go on by themselves."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, to_argv
from test_launched import ACCELERATE, ENVIRONMENT, HFPIPE, write_yaml
from test_resume import classifier_settings, outcome
from trials import run_trial

from hfpipe.records.run_directory import read_history, read_json
from hfpipe.supervision import LAUNCHER_SETTINGS

RECIPE = "finetune_classifier"
SECONDS = 15.0
STEPS = 48


@pytest.fixture
def settings(checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path]) -> dict[str, object]:
    """A run on two processes, long enough to be met in the middle."""
    together = {"gradient_accumulation_steps": 1, "num_train_epochs": 8, "max_seq_length": 24}
    return {**classifier_settings(reviews_csv(44), checkpoints("bert")), **together}


@pytest.mark.slow
def test_a_run_that_lost_a_process_goes_on_by_itself_and_a_stopped_one_does_not(
    settings: dict[str, object], tmp_path: Path
) -> None:
    file = write_yaml(tmp_path / "run.yaml", RECIPE, {**settings, "output_dir": tmp_path / "run"})
    command = [*HFPIPE, "run", str(file), "--accelerate", "multi_cpu", "--max-restarts", "3"]
    with start(command) as process:
        first = wait_for_steps(tmp_path / "run", 5, process)
        os.kill(first[1], signal.SIGKILL)
        wait_for_steps(tmp_path / "run", 20, process, other_than=first)
        process.send_signal(signal.SIGUSR1)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    # the launcher may have asked for its end before the other one did, and the signal is forgotten then
    said = r"(was killed by signal 9|ended without a word) \(out of memory\?\); the same command goes on from step"
    assert re.search(rf"pid {first[1]}\) {said}", output), output
    record = read_json(tmp_path / "run" / "run.json")
    assert [session["status"] for session in record["sessions"]] == ["killed", "stopped"]
    assert run_trial(RECIPE, {**settings, "output_dir": tmp_path / "run"}, processes=2).codes == (0, 0)
    assert run_trial(RECIPE, {**settings, "output_dir": tmp_path / "straight"}, processes=2).codes == (0, 0)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "straight")


@pytest.mark.slow
def test_a_killed_process_ends_a_launched_run(settings: dict[str, object], tmp_path: Path) -> None:
    file = write_yaml(tmp_path / "run.yaml", RECIPE, {**settings, "output_dir": tmp_path / "run"})
    with start([*HFPIPE, "run", str(file), "--accelerate", "multi_cpu"]) as process:
        pids = wait_for_steps(tmp_path / "run", 5, process)
        os.kill(pids[0], signal.SIGKILL)
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1, output
    assert "process 0 of 2 (host " in output
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


@pytest.mark.slow
def test_nothing_goes_on_when_hfpipe_run_itself_is_killed(settings: dict[str, object], tmp_path: Path) -> None:
    file = write_yaml(tmp_path / "run.yaml", RECIPE, {**settings, "output_dir": tmp_path / "run"})
    with start([*HFPIPE, "run", str(file), "--accelerate", "multi_cpu"]) as process:
        pids = wait_for_steps(tmp_path / "run", 5, process)
        process.kill()
        process.communicate(timeout=SECONDS)  # until nobody holds its output any more
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert read_json(tmp_path / "run" / "run.json")["status"] == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_bare_launcher_passes_a_signal_on(number: int, settings: dict[str, object], tmp_path: Path) -> None:
    words = to_argv({**settings, "output_dir": tmp_path / "run"})
    launcher = [*ACCELERATE, "--config_file", "accelerate_configs/multi_cpu.yaml", f"recipes/{RECIPE}.py"]
    with start([*launcher, *words]) as process:
        wait_for_steps(tmp_path / "run", 5, process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert output.count(f"stopped by signal {number} at step") == 1
    assert read_json(tmp_path / "run" / "run.json")["status"] == "stopped"


@contextmanager
def start(command: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    """Start a launcher, and leave nothing of it behind."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**ENVIRONMENT, **LAUNCHER_SETTINGS},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()


def wait_for_steps(
    run: Path, steps: int, process: "subprocess.Popen[str]", *, other_than: Sequence[int] = ()
) -> list[int]:
    """Return the process ids of the run by rank, once it has made so many steps and is far from its end."""
    deadline = time.monotonic() + 90
    while True:
        assert process.poll() is None and time.monotonic() < deadline, "waited in vain"
        history = read_history(run / "history.jsonl")
        pids = find_processes(process.pid)
        if history and history[-1]["step"] >= steps and len(pids) == 2 and not set(pids) & set(other_than):
            assert history[-1]["step"] < STEPS - 5, "too late"
            return pids
        time.sleep(0.02)


def find_processes(launcher: int) -> list[int]:
    """Return the ids of the recipe's processes, by rank."""
    found = {}
    for process in psutil.Process(launcher).children(recursive=True):
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if "RANK" in environment:
            found[int(environment["RANK"])] = process.pid
    return [found[rank] for rank in sorted(found)]
