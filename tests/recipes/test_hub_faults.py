"""Every fault of the Hub at the start, in the middle and at the end of a run: the same bits, and all of it later.

How long a run waited for the Hub is what it says itself: on a loaded machine a clock beside it would count the start of
processes, and what arrived before the fault. `--log-file FILE --log-file-level INFO` keeps it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here
from hub_runs import list_titles
from hub_server import WRITE_TOKEN, Account, Fault, HubServer
from typer.testing import CliRunner

from hfpipe.cli import app
from hfpipe.hub.uploads import Waited
from hfpipe.records.run_directory import read_json
from hfpipe.training.pushing import SECONDS_OF_QUIET, WAITED

NAME = "tester/reviews"
NEW_TOKEN = "hf_new"
EVER = 999
DUE = ["Step 2", "Step 4", "Step 6", "Finished model, step 6"]
# a refusal before the first step ends a run that begins, so these strike what is pushed alone
PUSHING = "/api/repos|/api/models/[^/]+/[^/]+/|/large/|/objects/batch"
FAULTS: dict[str, Fault | None] = {
    "refused": None,
    "401": Fault("*", PUSHING, status=401, times=EVER),
    "403": Fault("*", PUSHING, status=403, times=EVER),
    "409": Fault("POST", "/commit/", status=409, times=EVER),
    "412": Fault("POST", "/commit/", status=412, times=EVER),
    "429": Fault("POST", PUSHING, status=429, retry_after="30", times=EVER),
    "500": Fault("*", PUSHING, status=500, times=EVER),
    "503": Fault("*", PUSHING, status=503, times=EVER),
    "reset in mid-body": Fault("POST", "/commit/", cuts=True, times=EVER),
    "stall": Fault("*", PUSHING, seconds=120.0, times=EVER),
    "expired token": Fault("*", PUSHING, status=401, times=EVER),
}
# so many commits are made before it strikes
PLACES = {"start": 0, "middle": 1, "end": 3}


# the pauses between the requests of a commit that arrives, and one late look, on a machine under load
SECONDS_OF_A_COMMIT = 0.5
# starting a process and drawing a curve are the run's own work; waiting again and again is not
SECONDS_IN_ALL = 30.0


def make_settings(checkpoint: Path, csv: Path, folder: Path) -> dict[str, Any]:
    """Return one epoch of 6 steps with dropout, a checkpoint every second step, the older ones removed."""
    return {
        "train_file": csv,
        "model_name_or_path": checkpoint,
        "config_overrides": "hidden_dropout_prob=0.2,attention_probs_dropout_prob=0.2",
        "max_seq_length": 24,
        "per_device_train_batch_size": 6,
        "num_train_epochs": 1,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_total_limit": 1,
        "validation_fraction": 0.25,
        "bf16": "false",
        "disable_tqdm": "true",
        "output_dir": folder,
    }


@pytest.fixture(scope="module")
def straight(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Return the digest of the model of the run that knows nothing of a Hub."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    run_recipe_here("finetune_classifier", make_settings(checkpoints("bert"), reviews_csv(44), folder))
    return digest(folder)


@pytest.fixture
def settings(checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path) -> dict[str, Any]:
    """The same run, pushed."""
    pushed = {"push_to_hub": "true", "hub_model_id": NAME, "hub_strategy": "checkpoint"}
    return {**make_settings(checkpoints("bert"), reviews_csv(44), tmp_path / "run"), **pushed}


@pytest.fixture
def waited(caplog: pytest.LogCaptureFixture) -> Callable[[], Waited]:
    """Return a function that tells how long the run said that it waited at its end."""
    caplog.set_level("INFO", logger="hfpipe")

    def read() -> Waited:
        (told,) = [record for record in caplog.records if record.msg == WAITED]
        return Waited(*told.args)  # type: ignore[misc]

    return read


def digest(run_dir: Path) -> str:
    return hashlib.sha256((run_dir / "model.safetensors").read_bytes()).hexdigest()


def strike(hub: HubServer, fault: Fault | None) -> None:
    if fault is None:
        hub.stop()
    else:
        hub.faults.append(replace(fault))


def mend(hub: HubServer, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.faults.clear()
    if FAULTS[name] is None:
        hub.start()
    if name == "expired token":
        hub.hub.accounts = {NEW_TOKEN: Account("tester", ("acme",))}
        monkeypatch.setenv("HF_TOKEN", NEW_TOKEN)


@pytest.mark.slow
@pytest.mark.parametrize("case", [f"{name}, {place}" for name in FAULTS for place in PLACES])
def test_no_fault_changes_a_run_and_everything_arrives_once_and_in_order(
    hub: HubServer,
    settings: dict[str, Any],
    straight: str,
    waited: Callable[[], Waited],
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    name, place = case.split(", ")
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    if PLACES[place]:
        trigger = Fault("POST", "/commit/", skips=PLACES[place] - 1, calls=lambda: strike(hub, FAULTS[name]))
        hub.faults.append(trigger)
    else:
        strike(hub, FAULTS[name])
    run_recipe_here("finetune_classifier", settings)
    run_dir = settings["output_dir"]
    assert read_json(run_dir / "run.json")["status"] == "done"
    assert digest(run_dir) == straight
    end = waited()
    assert end.silent < SECONDS_OF_QUIET + SECONDS_OF_A_COMMIT * (1 + PLACES[place])
    assert end.seconds < SECONDS_IN_ALL
    mend(hub, name, monkeypatch)
    result = CliRunner().invoke(app, ["push", str(run_dir), "--pending"])
    assert result.exit_code == 0, result.output
    assert list_titles(hub, NAME)[1:] == DUE
    assert not (run_dir / ".hub").exists()
