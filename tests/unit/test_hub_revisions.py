"""Revisions of a run under every fault of the Hub: recorded once, the run goes on, and the end waits two seconds."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hub_runs import list_titles, save_run
from hub_server import WRITE_TOKEN, Fault, HubServer
from hub_spools import NAME, SAVES_AND_FINAL, full_for

from hfpipe.config import load_config
from hfpipe.errors import ConfigError
from hfpipe.hub.pushed import list_pushes
from hfpipe.hub.repository import Target
from hfpipe.records.sessions import add_facts
from hfpipe.training.push_opening import open_pusher
from hfpipe.training.pushing import SECONDS_OF_QUIET, RunPusher


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    saved = save_run(tmp_path / "reviews")
    (saved / "history.jsonl").unlink()  # drawing its curve takes a second
    return saved


@contextmanager
def pushing(run_dir: Path, **settings: Any) -> Iterator[RunPusher]:
    given = {"train_file": "x.csv", "model_name_or_path": "owner/model", "output_dir": run_dir, "push_to_hub": "true"}
    argv = [word for key, value in {**given, **settings}.items() for word in (f"--{key}", str(value))]
    pusher = RunPusher(load_config(argv, recipe="finetune_classifier"), Target(NAME))
    try:
        yield pusher
    finally:
        pusher.uploads.close()


def titles(pusher: RunPusher) -> list[str]:
    return [entry.title for entry in pusher.spool.list_pending()]


def wait_for_deliverer(pusher: RunPusher) -> None:
    end, lock = time.monotonic() + 30, pusher.spool.folder / "lock"
    while not (lock.is_file() and lock.read_text()) and time.monotonic() < end:
        time.sleep(0.05)


def wait_for_requests(hub: HubServer) -> None:
    end = time.monotonic() + 30
    while not hub.log and time.monotonic() < end:
        time.sleep(0.05)
    assert hub.log


FAULTS = {
    "hangs": Fault("*", "", seconds=60.0, times=999),
    "is away": None,
    "says 401": Fault("*", "", status=401, times=999),
    "says 403": Fault("POST", "", status=403, times=999),
    "says 429": Fault("POST", "", status=429, retry_after="60", times=999),
    "resets in mid-body": Fault("POST", "/commit/", cuts=True, times=999),
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_the_end_waits_two_seconds_and_everything_arrives_later(
    hub: HubServer, run_dir: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    fault = FAULTS[name]
    with pushing(run_dir, hub_strategy="every_save") as pusher:
        pusher.begin(0)
        wait_for_deliverer(pusher)  # a training takes longer than its start
        if fault is None:
            hub.stop()
        else:
            hub.faults.append(fault)
        pusher.push_save(2)
        began = time.monotonic()
        pusher.push_save(4)
        assert time.monotonic() - began < 0.5, "recording waits for nobody"
        began = time.monotonic()
        pusher.push_final()
        # what the machine itself needs to start and end a process is in it
        assert time.monotonic() - began < SECONDS_OF_QUIET + 2.0
        assert titles(pusher) == SAVES_AND_FINAL
    told = "not on the Hub yet: Finished model, step 4 and all before it (3 commits"
    assert told in caplog.text and f"deliver by: hfpipe push {run_dir} --pending" in caplog.text
    hub.faults.clear()
    if fault is None:
        hub.start()
    with pushing(run_dir, hub_strategy="every_save") as later:
        later.push_rest()
    assert list_titles(hub, NAME)[1:] == SAVES_AND_FINAL
    assert [(each["step"], each["is_final"]) for each in list_pushes(run_dir)] == [(2, False), (4, False), (4, True)]
    assert not later.spool.folder.exists()


def test_a_refusal_is_told_once_and_no_storm_follows(
    hub: HubServer, run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.faults.append(Fault("*", "", status=403, times=999))
    with pushing(run_dir, hub_strategy="every_save") as pusher:
        pusher.begin(0)
        pusher.push_save(2)
        wait_for_requests(hub)
        time.sleep(0.5)
        asked = len(hub.log)
        pusher.push_save(4)
        pusher.tell()
        time.sleep(2.0)
        assert len(hub.log) == asked <= 2
        assert caplog.text.count("the Hub answered 403") == 1
        assert "Step 2 is not on the Hub, the run goes on: " in caplog.text


def test_a_session_makes_up_for_what_a_kill_kept_from_the_spool(hub: HubServer, run_dir: Path) -> None:
    hub.stop()
    with pushing(run_dir, hub_strategy="every_save") as first:
        first.begin(2)
        assert titles(first) == [], "the run did not push before"
        first.push_save(2)
    with pushing(run_dir, hub_strategy="every_save") as second:
        second.begin(4)  # its checkpoint was there, and its entry was not
        second.push_save(4)
        second.push_save(2)
        assert titles(second) == ["Step 2", "Step 4"]
    add_facts(run_dir, {"pushes": [{"step": 2, "is_final": False, "tag": None, "repository": NAME}]})
    (first.spool.folder / "000001").rename(run_dir / "elsewhere")
    with pushing(run_dir, hub_strategy="every_save") as third:
        third.begin(2)
        assert titles(third) == ["Step 4"], "what is on the Hub is not due again"


def test_a_full_disk_in_the_spool_never_ends_the_run(
    hub: HubServer, run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.stop()
    with pushing(run_dir, hub_strategy="all_checkpoints") as pusher:
        pusher.begin(0)
        pusher.push_save(2)
        with full_for(""):
            pusher.push_save(4)
        assert titles(pusher) == ["Step 2"]
        assert "step 4 could not be recorded to be pushed, the run goes on: [Errno 28] No space left" in caplog.text
        pusher.push_final()
    told = "checkpoints that were not recorded to be pushed: 1; push them by:"
    assert f"{told} hfpipe push {run_dir} --checkpoint 4" in caplog.text


def test_a_run_that_goes_on_may_have_a_token_that_expired(
    hub: HubServer, run_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pushing(run_dir) as pusher:
        config = load_config(
            ["--train_file", "x.csv", "--model_name_or_path", "owner/model", "--push_to_hub", "true"],
            recipe="finetune_classifier",
        )
        assert pusher is not None
    with pytest.raises(ConfigError, match="the Hub answered 401"):
        open_pusher(config)
    assert open_pusher(config, goes_on=True) is not None
    assert "the run goes on, and what is to be pushed is kept until it can be" in caplog.text


def test_another_token_is_noticed_at_once(
    hub: HubServer, run_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("hf_expired")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN_PATH", str(token))
    with pushing(run_dir, hub_strategy="every_save") as pusher:
        pusher.begin(0)
        pusher.push_save(2)
        wait_for_requests(hub)
        token.write_text(WRITE_TOKEN)  # as `hf auth login` does
        pusher.uploads.wait(lambda: not pusher.spool.list_pending(), quiet=20.0, longest=30)
    assert list_titles(hub, NAME)[1:] == ["Step 2"]
