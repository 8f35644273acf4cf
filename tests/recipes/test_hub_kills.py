"""kill -9 of a training process at every change of its spool: the same command brings everything to the Hub, once."""

import hashlib
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hub_runs import list_titles
from hub_server import WRITE_TOKEN, Fault, HubServer
from spool_kills import kill_before, log_changes, reach_hub_with_patience
from trials import KILLED, Trial, run_trial, start_trial

from hfpipe.hub.spool import Spool
from hfpipe.records.run_directory import read_json

SEED = 20261122
POINTS, MORE_POINTS = 1, 40
NAME = "tester/reviews"
DUE = ["Step 2", "Step 4", "Step 6", "Finished model, step 6"]
PATIENCE_S = 30.0
RECIPE = "finetune_classifier"


@pytest.fixture
def settings(
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """One epoch of 6 steps with dropout, a checkpoint every second step, the older ones removed, all pushed."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    return {
        "train_file": reviews_csv(44),
        "model_name_or_path": checkpoints("bert"),
        "config_overrides": "hidden_dropout_prob=0.2,attention_probs_dropout_prob=0.2",
        "max_seq_length": 24,
        "per_device_train_batch_size": 6,
        "num_train_epochs": 1,
        "save_strategy": "steps",
        "save_steps": 2,
        "save_total_limit": 1,
        "validation_fraction": 0.25,
        "bf16": "false",
        "disable_tqdm": "true",
        "push_to_hub": "true",
        "hub_model_id": NAME,
        "hub_strategy": "checkpoint",
        "output_dir": tmp_path / "run",
    }


def go_on(hub: HubServer, settings: Mapping[str, Any]) -> str:
    """Give the command again, see that everything is on the Hub then, and return the digest of the model."""
    run_dir = settings["output_dir"]
    ending = run_trial(RECIPE, settings, prepare=reach_hub_with_patience)
    assert ending.codes == (0,), ending.output
    assert list_titles(hub, NAME)[1:] == DUE
    assert [(each["step"], each["is_final"]) for each in read_json(run_dir / "run.json")["pushes"]] == [
        *((step, False) for step in (2, 4, 6)),
        (6, True),
    ]
    assert not (run_dir / ".hub").exists()
    return digest(run_dir)


def digest(run_dir: Path) -> str:
    return hashlib.sha256((run_dir / "model.safetensors").read_bytes()).hexdigest()


def count_changes(hub: HubServer, settings: Mapping[str, Any], folder: Path) -> tuple[list[str], str]:
    """Return the changes of a run that goes straight through, and the digest of its model."""
    log, straight = folder / "changes.log", {**settings, "output_dir": folder / "straight"}
    ending = run_trial(RECIPE, straight, prepare=log_changes, prepare_arguments=(log,))
    assert ending.codes == (0,), ending.output
    return log.read_text(encoding="utf-8").splitlines(), digest(straight["output_dir"])


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def find_deliverer(run_dir: Path) -> int:
    """Return the process that delivers, once there is one."""
    lock = run_dir / ".hub" / "lock"
    wait_until(lambda: lock.is_file() and lock.read_text() != "")
    return int(lock.read_text())


def is_running(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rpartition(") ")[2][0] not in "ZX"


def check_points(hub: HubServer, settings: dict[str, Any], folder: Path, *, count: int, seed: int) -> None:
    """Kill runs at so many drawn points, and see each end as the one that went straight through."""
    changes, wanted = count_changes(hub, settings, folder)
    assert any("000004" in change for change in changes), "the finished model is recorded"
    points = random.Random(seed).sample(range(1, len(changes) + 1), count)
    for point in points:
        hub.hub.storage.repositories.clear()
        run = {**settings, "output_dir": folder / f"killed_{point}"}
        killed = run_trial(RECIPE, run, prepare=kill_before, prepare_arguments=(point,))
        # what is removed when it has arrived depends on how fast it does: such a change may come later, or never
        assert killed.codes in ((KILLED,), (0,)), killed.output
        assert go_on(hub, run) == wanted, f"{point}: {changes[point - 1]}"


def test_a_training_killed_while_it_records_loses_and_doubles_nothing(
    hub: HubServer, settings: dict[str, Any], tmp_path: Path
) -> None:
    check_points(hub, settings, tmp_path, count=POINTS, seed=SEED)


@pytest.mark.slow
def test_wherever_a_training_is_killed_nothing_is_lost_or_doubled(
    hub: HubServer, settings: dict[str, Any], tmp_path: Path
) -> None:
    check_points(hub, settings, tmp_path, count=MORE_POINTS, seed=SEED + 1)


def start_hanging(hub: HubServer, settings: Mapping[str, Any]) -> Trial:
    """Start a run whose pushing hangs, so that it waits for the Hub at its end."""
    hub.faults.append(Fault("*", "/api/repos", seconds=120.0, times=99))
    return start_trial(RECIPE, settings, prepare=reach_hub_with_patience)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_waiting_of_a_run_that_is_done_and_nothing_else(
    hub: HubServer, settings: dict[str, Any], number: signal.Signals
) -> None:
    with start_hanging(hub, {**settings, "hub_strategy": "end"}) as trial:
        wait_until(lambda: "pushing to tester/reviews" in trial.output)
        deliverer = find_deliverer(settings["output_dir"])
        os.kill(trial.pids[0], number)
        ending = trial.wait()
    assert ending.codes == (0,), ending.output
    assert "interrupted: no longer waiting for the Hub" in ending.output
    assert "not on the Hub yet: Finished model, step 6 and all before it (1 commit" in ending.output
    assert "try next: hfpipe predict" in ending.output, "what it came to is told"
    assert not is_running(deliverer)
    assert read_json(settings["output_dir"] / "run.json")["status"] == "done"
    assert [entry.title for entry in Spool(settings["output_dir"]).list_pending()] == ["Finished model, step 6"]


def test_a_deliverer_ends_with_a_training_that_is_killed(hub: HubServer, settings: dict[str, Any]) -> None:
    with start_hanging(hub, settings) as trial:
        deliverer = find_deliverer(settings["output_dir"])
        os.kill(trial.pids[0], signal.SIGKILL)
        assert trial.wait().codes == (KILLED,)
        wait_until(lambda: not is_running(deliverer))
