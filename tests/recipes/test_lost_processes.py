"""A process of a run dies: the others end within seconds, say which it was, leave nothing behind, and it goes on."""

import multiprocessing
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from moments import fail_in_worker, hold_a_line, signal_at, tell_threads
from test_resume import classifier_settings, outcome
from trials import KILLED, run_trial

RECIPE = "finetune_classifier"
SECONDS = 15.0


@pytest.fixture
def settings(checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path) -> dict[str, Any]:
    """Six steps on two processes, an evaluation and a checkpoint after every second one."""
    run = {"num_train_epochs": 1, "gradient_accumulation_steps": 1, "output_dir": tmp_path / "run"}
    return classifier_settings(reviews_csv(44), checkpoints("bert")) | run


@pytest.fixture(scope="module")
def straight(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The outcome of the run that lost nobody."""
    run = {"num_train_epochs": 1, "gradient_accumulation_steps": 1, "output_dir": tmp_path_factory.mktemp("straight")}
    settings = classifier_settings(reviews_csv(44), checkpoints("bert")) | run
    assert run_trial(RECIPE, settings, processes=2).codes == (0, 0)
    return outcome(settings["output_dir"])


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Expect that a test leaves no data workers behind."""
    before = set(find_workers())
    yield
    deadline = time.monotonic() + SECONDS
    while set(find_workers()) - before:
        assert time.monotonic() < deadline, "data workers are left"
        time.sleep(0.1)


def find_workers() -> list[int]:
    return [process.pid for process in psutil.process_iter(["name"]) if process.info["name"] == "pt_data_worker"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_others_and_the_run_goes_on(
    rank: int, settings: Mapping[str, Any], straight: Any, tmp_path: Path
) -> None:
    # as the third step begins, which the other one waits for
    killed = ("get_batch_samples", [signal.SIGKILL], rank, 3)
    ending = run_trial(RECIPE, settings, processes=2, prepare=signal_at, prepare_arguments=killed, timeout_s=60)
    assert ending.codes == ((KILLED, 1) if rank == 0 else (1, KILLED)), ending.output
    assert not ending.traceback
    message = ending.output.splitlines()[-1]
    # its parent may have asked for its end before the other one did, and the signal is forgotten then
    said = r"(was killed by signal 9|ended without a word) \(out of memory\?\); the same command goes on from step 2"
    assert re.fullmatch(rf"process {rank} of 2 \(host \S+, pid \d+\) {said}", message), message
    assert not (tmp_path / "run" / "checkpoints" / "checkpoint-3").exists()
    if rank == 0:  # what the other one leaves is the same
        assert run_trial(RECIPE, settings, processes=2).codes == (0, 0)
        assert outcome(tmp_path / "run") == straight


@pytest.mark.parametrize("wrong", [{}, {"text_column_names": "none_such"}])
def test_no_thread_of_a_collective_outlives_the_run(settings: Mapping[str, Any], wrong: Mapping[str, Any]) -> None:
    # One that gives a tensor back while the interpreter ends aborts the process: 7 of 80 plain processes that end
    # behind 50 collectives, and none of 120 that leave their group first (2026-11-23).
    ending = run_trial(
        RECIPE, {**settings, **wrong}, processes=2, prepare=tell_threads, prepare_arguments=("_leave_group",)
    )
    assert ending.codes == ((2, 2) if wrong else (0, 0)), ending.output
    told = [line for line in ending.output.splitlines() if line.startswith("at ")]
    # at a mistake the one that hears of it from the other leaves without an end
    assert len([line for line in told if line.startswith("at the end")]) in ((1, 2) if wrong else (2,))
    assert all(("gloo" in line) == line.startswith("at _leave_group") for line in told), told


# once the others have found it, and once they are one group
@pytest.mark.parametrize("function", ["_new_process_group_helper", "listen"])
def test_a_process_that_ends_before_they_have_met_is_told_of(settings: Mapping[str, Any], function: str) -> None:
    killed = (function, [signal.SIGKILL], 0, 1)
    ending = run_trial(RECIPE, settings, processes=2, prepare=signal_at, prepare_arguments=killed, timeout_s=60)
    assert ending.codes == (KILLED, 1), ending.output
    assert not ending.traceback
    message = "process 1 of 2: another one ended before they had met; the same command begins anew"
    assert ending.output.splitlines()[-1] == message


def test_the_workers_of_a_killed_process_do_not_keep_its_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        # they would end by themselves only after the batch they are at
        context = multiprocessing.get_context("forkserver")
        member = context.Process(target=hold_a_line, args=(server.getsockname()[1], SECONDS + 5))
        member.start()
        with server.accept()[0] as connection:
            connection.settimeout(SECONDS)
            assert connection.recv(4096).startswith(b'7 {"rank": 1, ')
            assert connection.recv(4096) == b""
        member.join()


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("is_killed", [True, False])
def test_a_lost_data_worker_ends_all_processes_and_its_rows_are_named(
    is_killed: bool, settings: Mapping[str, Any], straight: Any, tmp_path: Path
) -> None:
    mine = {**settings, "dataloader_num_workers": 1, "dataloader_multiprocessing_context": "fork"}
    lost = ("collate_texts", 1, is_killed)
    ending = run_trial(RECIPE, mine, processes=2, prepare=fail_in_worker, prepare_arguments=lost, timeout_s=60)
    assert ending.codes == (1, 1), ending.output
    assert ending.output.count("reviews_44.csv:") == 1 + 3, "the file itself, and the rows of a micro-batch"
    assert ending.traceback is not is_killed
    if is_killed:
        assert run_trial(RECIPE, mine, processes=2).codes == (0, 0)
        assert outcome(tmp_path / "run") == straight
        assert "of process 1 was ended by a signal (Killed; out of memory?) while it loaded " in ending.output
    else:
        assert "process 1: data worker 0 of process 1 failed while it loaded " in ending.output
        assert ending.output.count("Traceback (most recent call last)") == 2, "the worker's, and where it came out"
        assert "process 1 ended with ValueError: Caught ValueError in DataLoader worker process 0." in ending.output
