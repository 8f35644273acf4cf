"""The trials themselves: exit codes as a user sees them, and nothing of a trial outlives it."""

import os
import signal
from pathlib import Path

import pytest
from trials import KILLED, run_trial, start_trial


def sleep_as(rank: str) -> None:
    os.write(1, f"rank {os.environ['RANK']} is here\n".encode())
    if os.environ["RANK"] == rank:
        signal.pause()
    raise SystemExit(3)


NOTHING: dict[str, str] = {}


def tell_environment() -> None:
    os.write(1, f"{os.environ['HFPIPE_TRIAL']}\n".encode())


@pytest.mark.parametrize("processes", [1, 2])
def test_a_mistake_ends_a_trial_with_its_message(processes: int, tmp_path: Path) -> None:
    settings = {"train_file": tmp_path / "none.csv", "model_name_or_path": "x", "learning_rte": 1}
    ending = run_trial("finetune_classifier", settings, processes=processes)
    assert ending.codes == (2,) * processes
    assert "--learning_rte: no such setting; did you mean 'learning_rate'?" in ending.output
    assert not ending.traceback


def test_a_trial_takes_the_environment_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFPIPE_TRIAL", "3")
    ending = run_trial("finetune_classifier", {"help": ""}, prepare=tell_environment)
    assert ending.codes == (0,)
    assert ending.output.startswith("3\n")


def test_a_process_left_alone_is_ended_as_by_a_launcher() -> None:
    options = {"processes": 2, "prepare": sleep_as, "prepare_arguments": ("1",), "others_after_s": 0.2}
    ending = run_trial("finetune_classifier", NOTHING, **options)
    assert ending.codes == (3, KILLED)
    assert sorted(ending.output.split("\n")) == ["", "rank 0 is here", "rank 1 is here"]


def test_a_trial_that_hangs_is_killed_and_its_output_told() -> None:
    trial = start_trial(
        "finetune_classifier", NOTHING, processes=2, prepare=sleep_as, prepare_arguments=("0",), timeout_s=1.5
    )
    with pytest.raises(TimeoutError, match=r"not ended after 1\.5 s; killed[^$]*rank 0 is here"), trial:
        trial.wait()
    for pid in trial.pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
