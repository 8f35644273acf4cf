"""Deliveries beside a training: recorded at once, in order, once, and nothing that the Hub does holds the run up."""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hub_runs import list_titles, save_run
from hub_server import WRITE_TOKEN, Account, Fault, HubServer
from hub_spools import NAME, SAVES_AND_FINAL, kill_deliverer, record_all, record_final, record_save

from hfpipe.hub.delivery import settle
from hfpipe.hub.spool import Spool
from hfpipe.hub.uploads import Uploads
from hfpipe.hub.worker import NOW

KILLS, KILLS_SEED = 100, 4


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    saved = save_run(tmp_path / "reviews")
    (saved / "history.jsonl").unlink()  # drawing its curve takes a second
    return saved


@pytest.fixture
def spool(run_dir: Path) -> Spool:
    return Spool(run_dir)


@pytest.fixture
def uploads(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Uploads]:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    made = Uploads(run_dir)
    yield made
    made.close()


def has_none_left(spool: Spool) -> Callable[[], bool]:
    return lambda: not spool.list_pending()


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait without a word to the process that delivers."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def deliver(uploads: Uploads, spool: Spool, *, quiet: float = 20.0) -> None:
    uploads.wake()
    uploads.wait(has_none_left(spool), quiet=quiet, longest=60)


def test_commits_arrive_in_order_and_leave_nothing_behind(hub: HubServer, uploads: Uploads, spool: Spool) -> None:
    record_all(spool)
    deliver(uploads, spool)
    settled = settle(spool)
    assert [(each.step, each.is_final, each.on_top_of) for each in settled] == [
        (2, False, None),
        (4, False, None),
        (4, True, None),
    ]
    repository = hub.repository(NAME)
    assert [repository.commits[each.commit].title for each in settled] == SAVES_AND_FINAL
    assert repository.head.id == settled[-1].commit
    uploads.close()
    spool.close()
    assert not spool.folder.exists()


def test_what_is_recorded_outlives_its_checkpoint(hub: HubServer, uploads: Uploads, spool: Spool) -> None:
    record_save(spool, 2)
    checkpoint = spool.run_dir / "checkpoints" / "checkpoint-2"
    weights = (checkpoint / "model.safetensors").read_bytes()
    shutil.rmtree(checkpoint)
    deliver(uploads, spool)
    assert hub.read(NAME, "model.safetensors") == weights


# each strikes once; what the Hub answers passes, and nothing is made twice
PASSING = {
    "412": Fault("POST", "/commit/", status=412, skips=1),
    "reset in mid-body": Fault("POST", "/commit/", cuts=True, skips=1),
    "the answer to a commit is lost": Fault("POST", "/commit/", loses=True, skips=1),
}
FURTHER = {
    "503": Fault("POST", "/commit/", status=503),
    "the answer to a tag is lost": Fault("POST", "/tag/", loses=True),
    "500": Fault("POST", "/commit/", status=500, skips=2),
    "409": Fault("POST", "/commit/", status=409),
    "503 to creating": Fault("POST", "/repos/create", status=503),
    "reset before anything is done": Fault("POST", "/commit/", drops=True),
    "reset in the body of a large file": Fault("PUT", "/large/", cuts=True, skips=1),
    "reset of the list of large files": Fault("POST", "/objects/batch", drops=True, skips=1),
    "the answer to the last commit is lost": Fault("POST", "/commit/", loses=True, skips=2),
    "the answer to creating is lost": Fault("POST", "/repos/create", loses=True),
}


def check_passing(hub: HubServer, uploads: Uploads, spool: Spool, *, fault: Fault) -> None:
    hub.faults.append(fault)
    record_save(spool, 2, tag="step-2")
    record_save(spool, 4)
    record_final(spool)
    deliver(uploads, spool)
    assert list_titles(hub, NAME) == ["initial commit", *SAVES_AND_FINAL]
    assert fault.times == 0, "it did not strike"
    tagged = hub.repository(NAME).find("step-2")
    assert tagged is not None and tagged.title == "Step 2"


@pytest.mark.parametrize("name", list(PASSING))
def test_what_fails_in_passing_arrives_once_and_in_order(
    hub: HubServer, uploads: Uploads, spool: Spool, name: str
) -> None:
    check_passing(hub, uploads, spool, fault=replace(PASSING[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FURTHER))
def test_wherever_it_fails_it_arrives_once_and_in_order(
    hub: HubServer, uploads: Uploads, spool: Spool, name: str
) -> None:
    check_passing(hub, uploads, spool, fault=replace(FURTHER[name]))


def test_the_hub_is_left_alone_for_as_long_as_it_asks(hub: HubServer, uploads: Uploads, spool: Spool) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=429, retry_after="3"))
    record_final(spool)
    uploads.wake()
    uploads.wait(lambda: bool(hub.requests("POST", "/commit/")), quiet=20.0, longest=60)
    uploads.wake(NOW)  # urged, and waiting all the same
    deliver(uploads, spool)
    refused, made = hub.requests("POST", "/commit/")
    assert (refused.status, made.status) == (429, 200)
    assert 3.0 < made.time - refused.time < 6.0


KILLED = {
    "before it is asked for": Fault("POST", "/commit/", drops=True, skips=1),
    "when it is made": Fault("POST", "/commit/", loses=True, skips=1),
    "before its tag": Fault("POST", "/tag/", drops=True),
}


@pytest.mark.parametrize("moment", list(KILLED))
def test_a_deliverer_that_is_killed_leaves_a_commit_or_none(
    hub: HubServer, uploads: Uploads, spool: Spool, moment: str
) -> None:
    hub.faults.append(replace(KILLED[moment], calls=lambda: kill_deliverer(spool)))
    record_save(spool, 2)
    record_save(spool, 4, tag="step-4")
    record_final(spool)
    uploads.wake()
    uploads.wait(lambda: False, quiet=20.0, longest=60)  # until it has ended
    made = 2 if "before it is" not in moment else 1
    assert list_titles(hub, NAME)[1:] == SAVES_AND_FINAL[:made]
    assert [entry.title for entry in spool.list_pending()] == SAVES_AND_FINAL[1:]
    deliver(uploads, spool)
    assert list_titles(hub, NAME)[1:] == SAVES_AND_FINAL
    tagged = hub.repository(NAME).find("step-4")
    assert tagged is not None and tagged.title == "Step 4"


@pytest.mark.slow
def test_kills_at_random_moments_leave_each_commit_once(hub: HubServer, uploads: Uploads, spool: Spool) -> None:
    draw, count = random.Random(KILLS_SEED), 0
    while count < KILLS:
        if not spool.list_pending():
            settle(spool)
            hub.hub.storage.repositories.clear()
            record_all(spool)
        uploads.wake()
        uploads.wait(has_none_left(spool), quiet=20.0, longest=draw.uniform(0.8, 2.0))
        uploads.close()
        count += 1
        titles = list_titles(hub, NAME)[1:] if ("model", NAME) in hub.hub.storage.repositories else []
        assert titles == SAVES_AND_FINAL[: len(titles)], f"kill {count}"
    deliver(uploads, spool)
    assert list_titles(hub, NAME)[1:] == SAVES_AND_FINAL


def test_an_entry_that_must_not_travel_holds_up_no_other_and_is_told(
    hub: HubServer, uploads: Uploads, spool: Spool
) -> None:
    record_all(spool)
    weights = spool.folder / "000001" / "files" / "model.safetensors"
    weights.unlink()
    weights.write_bytes(b"\x80\x04cos\nsystem\n")
    deliver(uploads, spool)
    assert list_titles(hub, NAME)[1:] == SAVES_AND_FINAL[1:]
    ((place, trouble),) = spool.list_unfit()
    assert (place.name, trouble.title) == ("unfit-000001", "Step 2")
    assert trouble.problems[0].startswith("model.safetensors")


def test_another_token_is_noticed_when_the_first_has_expired(
    hub: HubServer, uploads: Uploads, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    token = Path(os.environ["HF_HOME"]) / "token"
    token.write_text(WRITE_TOKEN)
    record_save(spool, 2)
    deliver(uploads, spool)
    hub.hub.accounts = {"hf_new": Account("tester", ())}
    record_final(spool)
    uploads.wake()
    wait_until(lambda: spool.read_trouble() is not None)
    token.write_text("hf_new")  # as by `hf auth login`
    wait_until(has_none_left(spool))
    assert list_titles(hub, NAME)[1:] == ["Step 2", "Finished model, step 4"]


def test_a_hub_that_hangs_holds_nobody_up(hub: HubServer, uploads: Uploads, spool: Spool) -> None:
    hub.faults.append(Fault("*", "", seconds=120.0, times=99))
    uploads.wake()
    time.sleep(3.0)  # it has started, and hangs
    began = time.monotonic()
    record_all(spool)
    uploads.wake()
    assert time.monotonic() - began < 0.5
    uploads.wait(has_none_left(spool), quiet=1.0, longest=60)
    uploads.close()
    assert time.monotonic() - began < 3.0
    assert [entry.title for entry in spool.list_pending()] == SAVES_AND_FINAL
