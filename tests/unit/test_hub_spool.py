"""The spool: an entry is there whole or not at all, in order, and one process delivers at a time."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hub_runs import save_run
from hub_spools import NAME, SAVES_AND_FINAL, full_for, record_all, record_final, record_save

from hfpipe.errors import HfpipeError, HubError, Problem
from hfpipe.hub.answers import HubUnreachable, read_retry_after
from hfpipe.hub.delivery import SECONDS_AFTER_REFUSAL, SECONDS_AT_MOST, find_rest, settle
from hfpipe.hub.pushed import Pushed, list_pushes
from hfpipe.hub.spool import Spool, Trouble, count_bytes


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(save_run(tmp_path / "reviews"))


def titles(spool: Spool) -> list[str]:
    return [entry.title for entry in spool.list_pending()]


def pushed_of(step: int, *, is_final: bool = False) -> Pushed:
    return Pushed(step, f"{step:040d}", NAME, f"https://hub/{NAME}", True, "main", None, is_final)


def test_entries_come_back_as_they_were_recorded(spool: Spool) -> None:
    made = record_save(spool, 2, tag="step-2", revision="night/run")
    record_final(spool)
    saved, final = spool.list_entries()
    assert saved == made
    assert (saved.step, saved.is_final, saved.target.revision) == (2, False, "night/run")
    assert (saved.prepared.upload.tag, final.prepared.upload.tag) == ("step-2", None)
    assert "reviews" in saved.prepared.private_card
    assert saved.prepared.upload.id != final.prepared.upload.id
    assert count_bytes([saved]) == sum(file.stat().st_size for file in saved.prepared.upload.folder.rglob("*"))


def test_an_entry_follows_those_that_are_there_delivered_or_not(spool: Spool) -> None:
    record_all(spool)
    first, second, _ = spool.list_entries()
    spool.note_delivered(first, pushed_of(2))
    assert titles(spool) == SAVES_AND_FINAL[1:]
    spool.remove(second)
    assert record_save(spool, 2).folder.name == "000004"
    assert titles(spool) == ["Finished model, step 4", "Step 2"]


@pytest.mark.parametrize("ending", ["", "config.json", "model.safetensors"])
def test_a_full_disk_leaves_the_spool_as_it_was(spool: Spool, ending: str) -> None:
    record_save(spool, 2)
    before = sorted(path for path in spool.folder.rglob("*"))
    with full_for(ending), pytest.raises((OSError, HfpipeError)):
        record_save(spool, 4)
    spool.discard_preparing()
    assert sorted(path for path in spool.folder.rglob("*")) == before


def test_what_a_kill_left_unfinished_is_removed(spool: Spool) -> None:
    assert not spool.open()
    record_save(spool, 2)
    for name in (".preparing", ".removing"):
        shutil.copytree(spool.folder / "000001", spool.folder / name)
    assert titles(spool) == ["Step 2"]
    assert spool.open()
    assert sorted(path.name for path in spool.folder.iterdir()) == ["000001"]


def test_what_is_settled_is_recorded_once_whatever_is_killed_in_between(spool: Spool) -> None:
    record_all(spool)
    first, *_ = spool.list_entries()
    spool.note_delivered(first, pushed_of(2))
    copy = shutil.copytree(first.folder, spool.run_dir / "copy")
    assert settle(spool) == [pushed_of(2)]
    copy.rename(first.folder)  # as if it had been killed between the record and the removal
    settle(spool)
    assert [(each["step"], each["is_final"]) for each in list_pushes(spool.run_dir)] == [(2, False)]
    assert titles(spool) == SAVES_AND_FINAL[1:]


def test_the_oldest_give_way_to_the_run_where_they_alone_hold_space(spool: Spool) -> None:
    record_all(spool)
    assert spool.make_room(10**18) == [], "links free nothing"
    for step in (2, 4):
        shutil.rmtree(spool.run_dir / "checkpoints" / f"checkpoint-{step}")
    assert not any(entry.holds_weights_alone() for entry in spool.list_pending()[2:])
    assert all(entry.holds_weights_alone() for entry in spool.list_pending()[:2])
    assert spool.make_room(0) == []
    assert [entry.title for entry in spool.make_room(10**18)] == ["Step 4"]
    assert titles(spool) == ["Step 2", "Finished model, step 4"], "the first may be on its way, the last is the model"
    (spool.run_dir / "model.safetensors").unlink()
    assert spool.list_pending()[1].holds_weights_alone()
    assert spool.make_room(10**18) == [], "the finished model is kept at any price"


HOLD = """
import sys, time
from pathlib import Path
from hfpipe.hub.spool import Spool
with Spool(Path(sys.argv[1])).hold():
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_delivers_at_a_time_and_a_dead_one_holds_nothing(spool: Spool) -> None:
    record_final(spool)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(spool.run_dir)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(HubError) as error, spool.hold():
            pytest.fail("two hold it")
        told = f"{spool.run_dir}: process {other.pid} is delivering what is pending; let it finish, or end it"
        assert str(error.value.problems[0]) == told
        os.kill(other.pid, signal.SIGKILL)
    with spool.hold():
        assert (spool.folder / "lock").read_text() == str(os.getpid())
        descriptor = os.open(spool.folder / "lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def test_trouble_is_known_until_something_arrives(spool: Spool) -> None:
    record_all(spool)
    assert spool.read_trouble() is None
    trouble = Trouble("Step 2", ("the Hub answered 401",), is_refusal=True)
    spool.note_trouble(trouble)
    assert spool.read_trouble() == trouble
    spool.note_delivered(spool.list_pending()[0], pushed_of(2))
    assert spool.read_trouble() is None


def test_the_hub_is_left_alone_longer_from_failure_to_failure() -> None:
    away = HubUnreachable(Problem("reviews", rule="is away"))
    for failures, longest in (
        (1, 1.0),
        (2, 2.0),
        (5, 16.0),
        (9, 256.0),
        (10, SECONDS_AT_MOST),
        (10_000, SECONDS_AT_MOST),
    ):
        rests = [find_rest(away, failures).own for _ in range(50)]
        assert longest / 2 <= min(rests) < max(rests) <= longest
    asked = find_rest(HubUnreachable(Problem("reviews", rule="is busy"), retry_after=90.0), 1)
    assert asked.asked == 90.0 and asked.own <= 1.0
    refused = find_rest(HubError(Problem("reviews", rule="says no")), 1)
    assert (refused.asked, refused.own) == (0.0, SECONDS_AFTER_REFUSAL)


def test_what_the_hub_asks_for_is_read_in_each_of_its_forms() -> None:
    assert read_retry_after({}) == 0.0
    assert read_retry_after({"retry-after": " 120 "}) == 120.0
    assert read_retry_after({"retry-after": "soon"}) == 0.0
    assert read_retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert read_retry_after({"retry-after": "Wed, 21 Oct 2115 07:28:00 GMT"}) > 1e9
    assert read_retry_after({"ratelimit": '"api";r=0;t=55'}) == 55.0
    assert read_retry_after({"ratelimit": '"api";r=12;t=55'}) == 0.0
