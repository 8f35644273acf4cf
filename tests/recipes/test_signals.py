"""Signals at every kind of moment: all processes leave with the code of the signal, and the same command goes on."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from moments import signal_at, signal_group_at
from test_resume import classifier_settings, outcome
from trials import Trial, run_trial, start_trial

from hfpipe.records.run_directory import read_json

RECIPE = "finetune_classifier"
SEED = 20
RANDOM_SIGNALS = 100
TERM, INT, USR1, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP


@pytest.fixture
def settings(checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path]) -> dict[str, Any]:
    """Six steps, an evaluation and a checkpoint after every second one."""
    return classifier_settings(reviews_csv(44), checkpoints("bert")) | {"num_train_epochs": 1}


@pytest.fixture(scope="session")
def straight(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Any]:
    """Return a function that gives the outcome of the run that nobody stopped, on so many processes."""
    folder = tmp_path_factory.mktemp("straight")
    settings = classifier_settings(reviews_csv(44), checkpoints("bert")) | {"num_train_epochs": 1}

    def run(processes: int) -> Any:
        output = folder / str(processes)
        if not output.exists():
            shared = {"gradient_accumulation_steps": 2 // processes, "output_dir": output}
            assert run_trial(RECIPE, settings | shared, processes=processes).codes == (0,) * processes
        return outcome(output)

    return run


@pytest.mark.parametrize(
    ("function", "numbers", "code", "to_step"),
    [
        ("load_labelled", [TERM], 143, None),
        ("_gather_sums", [USR1], 143, 3),  # the evaluation after step 2
        ("save_random_state", [TERM, INT, HUP], 143, 3),  # the save after step 2
        ("export_model", [INT], 130, None),
    ],
)
def test_a_signal_at_any_moment_ends_the_run_and_the_same_command_goes_on(
    function: str,
    numbers: list[int],
    code: int,
    to_step: int | None,
    settings: Mapping[str, Any],
    straight: Callable[[int], Any],
    tmp_path: Path,
) -> None:
    mine = {**settings, "output_dir": tmp_path / "run"}
    ending = run_trial(RECIPE, mine, prepare=signal_at, prepare_arguments=(function, numbers))
    assert ending.codes == (code,), ending.output
    assert not ending.traceback
    assert ending.output.splitlines()[-1].startswith(f"stopped by signal {int(numbers[0])}")
    assert find_steps(tmp_path / "run") == to_step
    if function == "load_labelled":
        assert not list((tmp_path / "run" / "checkpoints").glob("*")), "the same command has nothing to go on from"
        return
    ending = run_trial(RECIPE, mine)
    assert ending.codes == (0,), ending.output
    assert outcome(tmp_path / "run") == straight(1)


@pytest.mark.parametrize(("function", "to_step"), [("training_step", 1), ("compute_outputs", None)])
def test_a_signal_that_one_process_received_ends_all(
    function: str, to_step: int | None, settings: Mapping[str, Any], straight: Callable[[int], Any], tmp_path: Path
) -> None:
    # the first process alone exports, and the other waits for it meanwhile
    mine = {**settings, "gradient_accumulation_steps": 1, "output_dir": tmp_path / "run"}
    rank = 1 if function == "training_step" else 0
    ending = run_trial(
        RECIPE, mine, processes=2, prepare=signal_at, prepare_arguments=(function, [USR1], rank), timeout_s=60
    )
    assert ending.codes == (143, 143), ending.output
    assert not ending.traceback
    assert ending.output.count("stopped by signal 10") == 1
    assert find_steps(tmp_path / "run") == to_step
    if to_step is not None:
        ending = run_trial(RECIPE, mine, processes=2)
        assert ending.codes == (0, 0), ending.output
        assert outcome(tmp_path / "run") == straight(2)


def test_data_workers_take_no_notice_of_what_the_whole_group_is_sent(
    settings: Mapping[str, Any], straight: Callable[[int], Any], tmp_path: Path
) -> None:
    # the step needs rows that they are to load
    mine = {**settings, "dataloader_num_workers": 2, "dataloader_multiprocessing_context": "fork"}
    mine |= {"dataloader_prefetch_factor": 1, "output_dir": tmp_path / "run"}
    at = ("get_batch_samples", [INT, TERM, USR1, HUP], 2)
    ending = run_trial(RECIPE, mine, prepare=signal_group_at, prepare_arguments=at, timeout_s=60)
    assert ending.codes == (130,), ending.output
    assert not ending.traceback
    assert "KeyboardInterrupt" not in ending.output
    assert find_steps(tmp_path / "run") == 2
    assert run_trial(RECIPE, mine).codes == (0,)
    assert outcome(tmp_path / "run") == straight(1)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_signals_at_random_moments(
    processes: int, settings: Mapping[str, Any], straight: Callable[[int], Any], tmp_path: Path
) -> None:
    draw = random.Random(SEED + processes)
    wanted = straight(processes)
    mine = {**settings, "gradient_accumulation_steps": 2 // processes}
    began = time.monotonic()
    assert run_trial(RECIPE, {**mine, "output_dir": tmp_path / "timed"}, processes=processes).codes == (0,) * processes
    seconds = time.monotonic() - began
    for trial in range(RANDOM_SIGNALS // 2):
        run = {**mine, "output_dir": tmp_path / str(trial)}
        number = draw.choice([TERM, INT, USR1])
        ranks = draw.choice([[rank] for rank in range(processes)] + [list(range(processes))])
        with start_trial(RECIPE, run, processes=processes, timeout_s=60) as started:
            wait_for_handlers(started)
            time.sleep(draw.uniform(0, seconds))
            for _ in range(draw.choice([1, 2, 3])):
                send(started, ranks, number)
            end_others(started)
            ending = started.wait()
        # a process that had done its part, or never met the others and was ended by the launcher, has another code
        code = 130 if number == INT else 143
        assert set(ending.codes) <= {0, code, 143}, f"{trial}: {ending}"
        assert not ending.traceback, f"{trial}: {ending}"
        ending = run_trial(RECIPE, run, processes=processes)
        assert ending.codes == (0,) * processes, f"{trial}: {ending}"
        assert outcome(tmp_path / str(trial)) == wanted, trial


def find_steps(run: Path) -> int | None:
    """Return the step at which the session was stopped, None where it left at once."""
    if not (run / "run.json").exists():
        return None
    session = read_json(run / "run.json")["sessions"][-1]
    assert session["status"] == ("running" if session["to_step"] is None else "stopped")
    return int(session["to_step"]) if session["to_step"] is not None else None


def wait_for_handlers(trial: Trial) -> None:
    """Return when every process listens to SIGTERM: what comes before is the start of Python."""
    for pid in trial.pids:
        while not catches_sigterm(pid):
            time.sleep(0.005)


def catches_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(caught >> (TERM - 1) & 1)


def send(trial: Trial, ranks: list[int], number: int) -> None:
    for rank in ranks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(trial.pids[rank], number)


def end_others(trial: Trial) -> None:
    """Do as a launcher: once a process has ended, send the others SIGTERM."""
    while all(is_running(pid) for pid in trial.pids):
        time.sleep(0.01)
    time.sleep(0.2)
    send(trial, list(range(len(trial.pids))), TERM)


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended is a zombie until the fork server has asked for it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
