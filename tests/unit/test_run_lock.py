"""One launch at a time in a run directory: refused by name, freed by death, nothing left that looks like content."""

import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hfpipe.config import change_of
from hfpipe.errors import CheckpointError
from hfpipe.launch import prepare_launch
from hfpipe.records import run_lock
from hfpipe.records.identity import Terms
from hfpipe.records.opening import open_run
from hfpipe.records.run_directory import LOCK_FILE
from hfpipe.records.run_lock import RunLock, check_free
from hfpipe.records.sessions import begin_session

HOLD = """
import sys, time, os
from pathlib import Path
from hfpipe.records.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.hold()
worker = os.fork() if sys.argv[2:] else 0
if worker or not sys.argv[2:]:
    print(worker, flush=True)
time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory with a record; nobody waits for the dead."""
    monkeypatch.setattr(run_lock, "SECONDS_FOR_THE_DEAD", 0.0)
    begin_session(tmp_path / "run", {"config": {}}, from_step=0)
    return tmp_path / "run"


@contextmanager
def holder(run: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that holds the lock of `run`, and the one it has forked, where it is to."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(run), *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_launch_is_refused_by_process_and_host(run: Path) -> None:
    with holder(run) as (other, _), pytest.raises(CheckpointError) as refused:
        RunLock(run).hold()
    assert str(refused.value) == (
        f"the run directory has 1 problem:\n  - {run}: process {other.pid} on {socket.gethostname()} is at work in this"
        f" run; wait until it ends, stop it (kill {other.pid}: it saves its state), or choose another output_dir"
    )


def test_hfpipe_run_is_refused_before_the_data_is_read(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text("recipe: finetune_classifier\ntrain_file: nowhere.csv\nfresh_start: true\n")
    with holder(run), pytest.raises(CheckpointError, match="is at work in this run"):
        prepare_launch("run.yaml", [f"output_dir={run}", "model_name_or_path=demo:minilm"])


def test_kill_frees_it_also_where_a_forked_worker_lives_on(run: Path) -> None:
    with holder(run, "fork") as (other, worker):
        with pytest.raises(CheckpointError):
            check_free(run)
        other.kill()
        other.wait()
        os.kill(worker, 0)
        RunLock(run).hold()
        os.kill(worker, signal.SIGKILL)


def test_a_start_waits_for_one_that_is_just_dying(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "SECONDS_FOR_THE_DEAD", 30.0)
    with holder(run) as (other, _):
        monkeypatch.setattr(run_lock.time, "sleep", lambda seconds: other.kill())
        RunLock(run).hold()


def test_a_lock_lives_as_long_as_what_holds_it(run: Path) -> None:
    lock = RunLock(run)
    lock.hold()
    assert find_holder(run) == os.getpid()
    lock.hold()
    lock.release()
    assert find_holder(run) is None
    lock.hold()
    del lock
    assert find_holder(run) is None


def find_holder(run: Path) -> int | None:
    """Return the process that another one finds refusing it the lock."""
    code = (
        "import sys; from pathlib import Path; from hfpipe.records import run_lock; run_lock.SECONDS_FOR_THE_DEAD = 0"
    )
    code += "\nrun_lock.check_free(Path(sys.argv[1]))"
    ending = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=False)
    return int(ending.stderr.rpartition("process ")[2].split()[0]) if ending.returncode else None


def test_a_copy_of_a_run_at_work_is_free(run: Path, tmp_path: Path) -> None:
    with holder(run):
        shutil.copytree(run, tmp_path / "copy")
        RunLock(tmp_path / "copy").hold()


def test_where_there_is_no_run_nothing_is_written(tmp_path: Path) -> None:
    RunLock(tmp_path).hold()
    RunLock(tmp_path / "missing").hold()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_without_a_record_is_no_content(tmp_path: Path) -> None:
    RunLock(tmp_path / "run").hold_new()
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK_FILE]
    terms = Terms(change_of, place_of=str)
    assert open_run(tmp_path / "run", {}, fresh_start=False, terms=terms).kind == "new"


def test_a_run_begun_meanwhile_is_not_begun_again(run: Path) -> None:
    with pytest.raises(CheckpointError) as refused:
        RunLock(run).hold_new()
    assert str(refused.value) == (
        f"the run directory has 1 problem:\n  - {run}: a run was begun here meanwhile; choose another output_dir, or "
        "give the same command again to go on with that run"
    )
    assert find_holder(run) is None


def test_a_file_system_without_locks_is_told_and_gone_on_with(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    RunLock(run).hold()
    told = f"{run}: its file system has no locks (No locks available): do not start it twice"
    assert caplog.messages == [told]
