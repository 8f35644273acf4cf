"""Uploads beside a training: what is handed over returns at once, and nothing that the Hub does holds the run up."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_runs import save_run
from hub_server import WRITE_TOKEN, Fault, HubServer

from hfpipe.hub import uploads as module
from hfpipe.hub.prepare import Naming, prepare_checkpoint, prepare_final
from hfpipe.hub.repository import Target
from hfpipe.hub.uploads import Job, Uploads

NAME = "tester/reviews"
NAMING = Naming("reviews")


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Uploads]:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    made = Uploads(Target(NAME))
    yield made
    made.close()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    saved = save_run(tmp_path / "reviews")
    (saved / "history.jsonl").unlink()  # drawing its curve takes a second
    return saved


def final(run_dir: Path, name: str = "final") -> Job:
    return Job(prepare_final(run_dir, run_dir / ".hub" / name, naming=NAMING), is_final=True)


def save(run_dir: Path, step: int, *, gives_way: bool) -> Job:
    return Job(prepare_checkpoint(run_dir, step, run_dir / ".hub" / str(step), naming=NAMING), gives_way=gives_way)


def test_commits_arrive_in_order_and_leave_nothing_behind(hub: HubServer, uploads: Uploads, run_dir: Path) -> None:
    uploads.put(save(run_dir, 2, gives_way=False))
    uploads.put(save(run_dir, 4, gives_way=False))
    uploads.put(final(run_dir))
    assert uploads.wait(60)
    outcomes = uploads.take_outcomes()
    assert [(each.step, each.is_final) for each in outcomes] == [(2, False), (4, False), (4, True)]
    commits = [each.pushed.commit for each in outcomes if each.pushed]
    assert hub.repository(NAME).head.id == commits[-1]
    assert [hub.repository(NAME).commits[commit].title for commit in commits] == [
        "Step 2",
        "Step 4",
        "Finished model, step 4",
    ]
    assert list((run_dir / ".hub").iterdir()) == []
    assert uploads.count_bytes() == 0


def test_what_is_handed_over_outlives_its_checkpoint(hub: HubServer, uploads: Uploads, run_dir: Path) -> None:
    job = save(run_dir, 2, gives_way=False)
    weights = (run_dir / "checkpoints" / "checkpoint-2" / "model.safetensors").read_bytes()
    shutil.rmtree(run_dir / "checkpoints" / "checkpoint-2")
    uploads.put(job)
    assert uploads.wait(60)
    assert hub.read(NAME, "model.safetensors") == weights


def test_a_newer_save_takes_the_place_of_one_that_waits(hub: HubServer, uploads: Uploads, run_dir: Path) -> None:
    hub.faults.append(Fault("POST", "/repos/create", seconds=2.0))
    uploads.put(save(run_dir, 2, gives_way=False))
    uploads.put(save(run_dir, 4, gives_way=True))
    uploads.put(final(run_dir))
    assert uploads.wait(60)
    assert [each.is_final for each in uploads.take_outcomes()] == [False, True]


def _is_at_work() -> bool:
    return any(thread.name == "hub uploads" for thread in threading.enumerate())


def test_failures_are_told_and_the_next_commit_is_tried(
    hub: HubServer, uploads: Uploads, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_ATTEMPTS", 0.01)
    faults = {
        "the Hub answered 403": Fault("POST", "/repos/create", status=403, times=9),
        # an answer in which the client looks for the address of the repository
        "the Hub's answer has no 'url'": Fault("POST", "/repos/create", status=409, times=9),
        "the Hub cannot be reached (Server disconnected": Fault("POST", "/repos/create", drops=True, times=9),
        "the Hub answered 401": Fault("POST", "/commit/", status=401, times=9),
        "the Hub answered 500": Fault("POST", "/commit/", status=500, times=9),
    }
    for told, fault in faults.items():
        hub.faults[:] = [fault]
        uploads.put(save(run_dir, 2, gives_way=False))
        assert uploads.wait(60)
        (failed,) = uploads.take_outcomes()
        assert failed.pushed is None
        assert told in failed.problems[0]
    # once it fails only in passing; and two runs that push to one repository come across one another
    for status in (500, 412):
        hub.faults[:] = [Fault("POST", "/commit/", status=status, times=1)]
        uploads.put(final(run_dir))
        assert uploads.wait(60)
        (arrived,) = uploads.take_outcomes()
        assert arrived.pushed is not None


def test_a_hub_that_hangs_holds_nobody_up(hub: HubServer, uploads: Uploads, run_dir: Path) -> None:
    hub.faults.append(Fault("*", "", seconds=120.0, times=99))
    began = time.monotonic()
    uploads.put(save(run_dir, 2, gives_way=False))
    uploads.put(final(run_dir))
    assert time.monotonic() - began < 1.0
    assert not uploads.wait(1.0)
    uploads.close()
    assert time.monotonic() - began < 10.0
    outcomes = uploads.take_outcomes()
    assert {(each.step, each.is_final, each.problems[0]) for each in outcomes} == {
        (2, False, "there was no answer in time"),
        (4, True, "there was no time for it"),
    }
    assert not _is_at_work()
    assert list((run_dir / ".hub").iterdir()) == []
