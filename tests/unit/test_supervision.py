"""How the signals of a launched run and its exit code pass by its launcher."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hfpipe import supervision
from hfpipe.config.exit_codes import read_code
from hfpipe.config.stopping import STOPPING
from hfpipe.launch import Launch, start
from hfpipe.supervision import Followed, find_exit_code, wait

LAUNCHER = """
import os, signal, subprocess, sys
worker = subprocess.Popen([sys.executable, *sys.argv[1:]])
signal.signal(signal.SIGTERM, signal.SIG_DFL)
sys.exit(1 if worker.wait() else 0)
"""

RECIPE = """
import os, signal, sys, time
from pathlib import Path
os.kill(int(os.environ["TOLD"]), int(os.environ["SIGNAL"]))
time.sleep(0.3)  # no handlers yet: what comes now would end it
got = []
for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, frame: got.append(number))
while not got:
    time.sleep(0.01)
if os.environ["KILL_LAUNCHER"]:
    os.kill(os.getppid(), signal.SIGKILL)
time.sleep(0.3)
Path(os.environ["SAVED"]).write_text(f"{got}")
if os.environ["LEAVES_CODE"]:
    Path(os.environ["HFPIPE_EXIT_CODE_FILE"]).write_text(os.environ["LEAVES_CODE"])
sys.exit(0 if os.environ["LEAVES_CODE"] else 7)
"""


@pytest.mark.parametrize(
    ("number", "leaves_code", "kill_launcher", "expected"),
    [
        (signal.SIGTERM, "143", "", 143),
        (signal.SIGINT, "130", "", 130),
        (signal.SIGHUP, "", "", 143),  # the launcher said 1
        (signal.SIGTERM, "143", "1", 143),  # the recipe outlives its launcher
    ],
)
def test_a_launched_run_hears_each_signal_once_and_its_exit_code_comes_back(
    number: signal.Signals, leaves_code: str, kill_launcher: str, expected: int, tmp_path: Path
) -> None:
    launcher, recipe, saved = tmp_path / "launcher.py", tmp_path / "recipe.py", tmp_path / "saved"
    launcher.write_text(LAUNCHER)
    recipe.write_text(RECIPE)
    command = (sys.executable, str(launcher), str(recipe))
    before = signal.getsignal(signal.SIGTERM)
    settings = {"TOLD": str(os.getpid()), "SIGNAL": str(int(number)), "SAVED": str(saved)}
    environment = {**settings, "LEAVES_CODE": leaves_code, "KILL_LAUNCHER": kill_launcher}
    code = start(Launch(command, recipe, under_accelerate=True, environment=environment))
    heard = signal.SIGTERM if number == signal.SIGHUP else number
    assert (code, saved.read_text()) == (expected, f"[{int(heard)}]")
    assert signal.getsignal(signal.SIGTERM) is before


IMPATIENT = "import os, signal, time; os.kill(os.getppid(), signal.SIGHUP); time.sleep(0.5)"


def test_a_closed_terminal_does_not_stop_a_launched_run_under_nohup(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    launch = Launch((sys.executable, "-S", "-c", IMPATIENT), tmp_path / "recipe.py", under_accelerate=True)
    code = start(launch)
    assert (code, signal.signal(signal.SIGHUP, before)) == (0, signal.SIG_IGN)


STUBBORN = """
import signal, sys, time
heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
print("ready", flush=True)
while not heard:
    time.sleep(0.01)
time.sleep(0.4)
sys.exit(len(heard))
"""


def test_a_launcher_whose_processes_wait_in_vain_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # torch's launcher, told again while it shuts down, leaves without having killed them
    monkeypatch.setattr(supervision, "GRACE_SECONDS", 0.1)
    left = tmp_path / "exit_code"
    left.write_text("2")
    with subprocess.Popen([sys.executable, "-S", "-c", STUBBORN], stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None and launcher.stdout.readline() == b"ready\n"
        wait(Followed(launcher, tmp_path / "recipe.py", []), left)
    assert launcher.returncode == 1


def test_the_exit_code_is_the_recipes_where_it_left_one(tmp_path: Path) -> None:
    left, term = tmp_path / "exit_code", [signal.SIGTERM]
    assert find_exit_code(0, left, [], is_told=False) == 0
    assert find_exit_code(1, left, [], is_told=False) == 1
    assert find_exit_code(-9, left, [], is_told=False) == 137
    assert find_exit_code(1, left, term, is_told=False) == 143
    assert find_exit_code(1, left, [signal.SIGINT, signal.SIGTERM], is_told=False) == 130
    left.write_text("2")
    assert find_exit_code(1, left, [], is_told=False) == 2
    left.write_text("143")
    assert find_exit_code(0, left, [], is_told=False) == 143  # one process was signalled, and all stopped
    assert find_exit_code(1, left, [], is_told=True) == 143  # it stopped before it had met the others
    # a process was killed before it had met the others, and the launcher stopped these
    assert find_exit_code(1, left, [], is_told=False) == 1
    (tmp_path / "exit_code.1").write_text("1")
    assert find_exit_code(1, left, term, is_told=False) == 1
    # listed, and removed before it is read
    (tmp_path / "exit_code.2").symlink_to(tmp_path / "removed")
    assert read_code(left) == 1


# The main thread is in code that does not return, and hears nothing.
BUSY = """
import ctypes, os, signal, sys
from hfpipe.config.stopping import EntryWatch, STOPPING
with EntryWatch() as watch:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    if "steps" in sys.argv:
        watch.put_off()
    print("ready", flush=True)
    ctypes.CDLL(None).sleep(1 if "steps" in sys.argv else 30)
    print(watch.received, flush=True)
    watch.take_up()
"""


@pytest.mark.parametrize("number", STOPPING)
def test_a_process_that_cannot_answer_leaves_at_a_signal(number: signal.Signals) -> None:
    with start_busy() as process:
        process.send_signal(number)
        output, _ = process.communicate(timeout=5)
    expected = f"stopped by signal {int(number)}; the same command goes on from the newest checkpoint, if there is one"
    assert process.returncode == (130 if number == signal.SIGINT else 143)
    assert output == expected + "\n"


def test_while_steps_are_made_a_signal_is_noted_and_a_second_one_is_not() -> None:
    with start_busy("steps") as process:
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
            time.sleep(0.1)
        output, _ = process.communicate(timeout=10)
    assert (process.returncode, output.split("\n")[0]) == (143, "10")


STARTER = """
import fcntl, os, subprocess, sys
path = sys.argv[1]
lock = open(path, "w")
fcntl.flock(lock, fcntl.LOCK_EX)
busy = subprocess.Popen([sys.executable, "-c", sys.argv[2]], env={**os.environ, **eval(sys.argv[3])})
busy.wait()
"""


@pytest.mark.parametrize("variable", ["HFPIPE_SUPERVISOR_FILE", "TORCHELASTIC_RUN_ID"])
def test_a_run_whose_supervisor_or_launcher_was_killed_stops(variable: str, tmp_path: Path) -> None:
    path = tmp_path / "supervisor"
    command = [sys.executable, "-c", STARTER, str(path), BUSY, repr({variable: str(path)})]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as starter:
        assert starter.stdout is not None and starter.stdout.readline() == "ready\n"
        time.sleep(1.5)
        assert starter.poll() is None
        starter.kill()
        # ends when nobody holds the other end any more
        assert starter.stdout.read().startswith("stopped by signal 15; the same command goes on")


def start_busy(*words: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process
