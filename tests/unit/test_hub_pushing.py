"""What is asked of the Hub before a run that is to push, and what the card quotes of its data."""

import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_runs import save_run
from hub_server import WRITE_TOKEN, Fault, HubServer
from hub_spools import record_save

from hfpipe.config import RunConfig, load_config
from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.data.accounting import DataSummary
from hfpipe.data.parts import LabelledPart, LabelledParts
from hfpipe.data.places import Places
from hfpipe.hub.push import find_final_tag
from hfpipe.hub.spool import Spool
from hfpipe.records.sessions import add_facts
from hfpipe.training import pushing
from hfpipe.training.push_opening import open_pusher
from hfpipe.training.pushing import RunPusher
from hfpipe.training.quotes import LONGEST, quote_labels


def make_config(tmp_path: Path, **settings: Any) -> RunConfig:
    given = {"train_file": "x.csv", "model_name_or_path": "owner/model", "output_dir": tmp_path / "reviews", **settings}
    return load_config(
        [word for key, value in given.items() for word in (f"--{key}", str(value))], recipe="finetune_classifier"
    )


def opened(config: RunConfig) -> RunPusher:
    pusher = open_pusher(config)
    assert pusher is not None
    return pusher


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    return caplog


def test_the_owner_of_the_token_is_that_of_the_repository(
    hub: HubServer, warnings: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert open_pusher(make_config(tmp_path)) is None
    assert opened(make_config(tmp_path, push_to_hub="true")).target.name == "tester/reviews"
    named = opened(make_config(tmp_path, push_to_hub="true", hub_model_id="acme/x", hub_private_repo="false"))
    assert (named.target.name, named.target.private) == ("acme/x", False)
    assert warnings.text == ""
    assert not [seen for seen in hub.log if seen.method != "GET"], "nothing is made before there is something to push"


def test_a_public_repository_is_said_before_training(
    hub: HubServer, warnings: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    hub.hub.storage.create("model", "tester/reviews", private=False)
    opened(make_config(tmp_path, push_to_hub="true"))
    assert "tester/reviews exists and is public: everybody can read what is pushed there" in warnings.text
    warnings.clear()
    opened(make_config(tmp_path, push_to_hub="true", hub_private_repo="false"))
    assert warnings.text == ""


def test_somebody_elses_repository_is_said_before_training(
    hub: HubServer, warnings: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    opened(make_config(tmp_path, push_to_hub="true", hub_model_id="acme/reviews"))
    assert warnings.text == ""
    opened(make_config(tmp_path, push_to_hub="true", hub_model_id="stranger/reviews"))
    told = "the access token is that of tester, who is not known to belong to stranger: the Hub may refuse the push"
    assert f"--hub_model_id stranger/reviews: {told}" in warnings.text


def test_a_hub_that_is_away_is_no_reason_not_to_train(
    hub: HubServer, warnings: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    hub.stop()
    assert opened(make_config(tmp_path, push_to_hub="true", hub_model_id="reviews")).target.name == "reviews"
    assert "training begins, and what is to be pushed is kept until it can be" in warnings.text


def test_ctrl_c_ends_the_waiting_for_a_finished_run_and_the_command_is_told(
    hub: HubServer, warnings: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = save_run(tmp_path / "reviews")
    pusher = opened(make_config(tmp_path, push_to_hub="true"))
    hub.faults.append(Fault("POST", "", seconds=60.0, times=99))
    monkeypatch.setattr(pushing, "SECONDS_OF_QUIET", 60.0)
    pressed = threading.Timer(1.0, signal.raise_signal, (signal.SIGINT,))
    began = time.monotonic()
    pressed.start()
    pusher.push_final()
    assert time.monotonic() - began < 20
    assert "interrupted: no longer waiting for the Hub" in warnings.text
    told = "not on the Hub yet: Finished model, step 4 and all before it (1 commit, 0.0 MB); deliver by:"
    assert f"{told} hfpipe push {run_dir} --pending" in warnings.text


def test_an_entry_that_cannot_be_read_does_not_end_a_run(
    hub: HubServer, warnings: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    run_dir = save_run(tmp_path / "reviews")
    pusher = opened(make_config(tmp_path, push_to_hub="true", hub_strategy="every_save", hub_tag_steps="true"))
    pusher.begin(0)
    pusher.push_save(2)
    pusher.uploads.close()
    entry = run_dir / ".hub" / "000001" / "entry.json"
    entry.write_bytes(bytes(80))
    pusher.begin(2)
    pusher.push_save(4)
    pusher.push_final()
    assert f"pushing is disturbed, the run goes on: {entry}" in warnings.text


def test_a_save_is_recorded_once_and_one_that_a_kill_left_out_when_the_run_goes_on(
    hub: HubServer, warnings: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    run_dir = save_run(tmp_path / "reviews")
    config = make_config(tmp_path, push_to_hub="true", hub_strategy="every_save")
    pusher = opened(config)
    hub.stop()
    pusher.begin(0)
    for _ in range(2):
        pusher.push_save(2)
    pusher.uploads.close()  # killed between the checkpoint of step 4 and its entry
    again = RunPusher(config, pusher.target)
    again.begin(4)
    again.uploads.close()
    assert [entry.title for entry in Spool(run_dir).list_pending()] == ["Step 2", "Step 4"]


def test_a_run_that_needs_the_disk_gives_up_what_waits(
    hub: HubServer, warnings: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    run_dir = save_run(tmp_path / "reviews")
    pusher = opened(make_config(tmp_path, push_to_hub="true", hub_strategy="every_save"))
    hub.stop()
    pusher.begin(0)
    for step in (2, 4):
        pusher.push_save(step)
    checkpoints = run_dir / "checkpoints"
    (checkpoints / "checkpoint-4").rename(checkpoints / "checkpoint-6")
    shutil.copyfile(run_dir / "model.safetensors", checkpoints / "another")
    (checkpoints / "another").replace(checkpoints / "checkpoint-6" / "model.safetensors")
    with (checkpoints / "checkpoint-6" / "huge.bin").open("wb") as file:
        file.truncate(2**42)  # it takes no space itself, and no disk of a test holds two
    pusher.push_save(6)
    pusher.uploads.close()
    assert "Step 4 is given up: the disk is nearly full, and the run itself needs it" in warnings.text
    assert [entry.title for entry in Spool(run_dir).list_pending()] == ["Step 2", "Step 6"]


def test_an_entry_that_must_not_travel_is_told_by_the_run(
    hub: HubServer, warnings: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    run_dir = save_run(tmp_path / "reviews")
    pusher = opened(make_config(tmp_path, push_to_hub="true", hub_strategy="every_save"))
    spool = Spool(run_dir)
    spool.open()
    entry = record_save(spool, 2)
    place = spool.set_unfit_aside(entry, ["model.safetensors: is pickle"])
    pusher.tell()
    pusher.tell()
    assert warnings.text.count(f"Step 2 must not travel and now lies in {place}: model.safetensors: is pickle") == 1


def test_the_tag_of_a_step_stays_with_the_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "reviews")
    assert find_final_tag(run_dir, "reviews") == "step-4"
    assert find_final_tag(run_dir, "reviews", steps={4}) is None
    saved = {"step": 4, "commit": "ab" * 20, "repository": "tester/reviews", "revision": "main", "tag": "step-4"}
    add_facts(run_dir, {"pushes": [{**saved, "is_final": False}]})
    assert find_final_tag(run_dir, "reviews") is None
    assert find_final_tag(run_dir, "elsewhere") == "step-4"
    add_facts(run_dir, {"pushes": [{**saved, "is_final": True}]})
    assert find_final_tag(run_dir, "reviews") == "step-4"


def make_parts(targets: np.ndarray, problem_type: str, *, pairs: bool = False) -> LabelledParts:
    texts = ["short", "a text of some length about the first", "another one of them that is long " * 20]
    part = LabelledPart(texts, ["b"] * 3 if pairs else None, targets, Places((), np.empty(0), np.empty(0)))
    return LabelledParts(part, part, None, problem_type, ("one", "two"), {}, DataSummary({}, (), None))


def test_labels_are_quoted_by_a_text_that_shows_something() -> None:
    quoted = quote_labels(make_parts(np.array([0, 0, 1]), SINGLE_LABEL))
    assert quoted[0] == ("one", "a text of some length about the first")
    assert quoted[1][0] == "two" and len(quoted[1][1]) == LONGEST
    several = quote_labels(make_parts(np.array([[0, 1], [1, 1], [0, 0]], np.float32), MULTI_LABEL, pairs=True))
    assert several == [
        ("one", "a text of some length about the first / b"),
        ("two", "a text of some length about the first / b"),
    ]
    assert quote_labels(make_parts(np.array([0.5, 1, 2], np.float32), REGRESSION)) == []
    assert [label for label, _ in quote_labels(make_parts(np.array([1, 1, 1]), SINGLE_LABEL))] == ["two"]
