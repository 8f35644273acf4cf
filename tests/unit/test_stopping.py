"""How a process leaves: by one thread alone, with what it started, and without its forked processes' signals."""

import subprocess
import sys
import threading
from pathlib import Path

from hfpipe.config.stopping import SignalWatch, install

FORKED = """
import multiprocessing, time
from hfpipe.config.stopping import EntryWatch
context = multiprocessing.get_context("fork")
ours, its = context.Pipe()
def work():
    its.send("ready")
    time.sleep(20)
with EntryWatch() as watch:
    child = context.Process(target=work)
    child.start()
    ours.recv()
    child.terminate()
    child.join(10)
    time.sleep(0.2)
    print(child.exitcode, watch.received)
"""


def test_a_forked_process_is_ended_by_its_parent_without_ending_the_run() -> None:
    assert run(FORKED) == (0, "-15 0\n")


TWO_LEAVE = """
import threading, time
from hfpipe.config.stopping import SignalWatch
watch = SignalWatch()
watch.tell_others = lambda code, message: time.sleep(0.5)
threading.Thread(target=watch.leave, args=(3, "the first")).start()
time.sleep(0.2)
watch.leave(4, "the second")
print("went on", flush=True)
"""


def test_one_thread_leaves_and_the_other_does_nothing_more() -> None:
    assert run(TWO_LEAVE) == (3, "the first\n")


FAILS = """
from hfpipe.config.stopping import SignalWatch
watch = SignalWatch()
watch.tell_others = lambda code, message: 1 / 0
watch.leave(143, "stopped")
"""


def test_a_process_leaves_whatever_fails_meanwhile() -> None:
    assert run(FAILS) == (143, "")


SHARES = """
import multiprocessing
from hfpipe.config.stopping import SignalWatch
shared = multiprocessing.get_context("spawn").Semaphore()
print("/dev/shm/sem." + shared._semlock.name[1:], flush=True)
SignalWatch().leave(1, "lost")
"""


def test_memory_shared_with_spawned_workers_is_freed() -> None:
    # the output ends when the process that frees it does
    code, output = run(SHARES)
    name, message = output.splitlines()[:2]
    assert (code, message) == (1, "lost")
    assert name.startswith("/dev/shm/sem.") and not Path(name).exists()


def test_another_thread_than_the_main_one_takes_no_signals() -> None:
    taken: list[dict[int, object]] = []
    thread = threading.Thread(target=lambda: taken.append(install(SignalWatch())))
    thread.start()
    thread.join()
    assert taken == [{}]


def run(program: str) -> tuple[int, str]:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    return done.returncode, done.stdout


SAYS_WHAT_COMES = """
import os, signal
from hfpipe.config.stopping import heeded_signals
with heeded_signals("nothing was kept"):
    os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_command_says_what_comes_after_its_stop() -> None:
    assert run(SAYS_WHAT_COMES) == (130, "stopped by signal 2; nothing was kept\n")


UNWINDS = """
import os, signal, tempfile
from hfpipe.config.stopping import unwound_at_signals
with unwound_at_signals(), tempfile.TemporaryDirectory() as folder:
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("went on")
"""


def test_what_a_signal_ends_removes_what_it_has_begun() -> None:
    code, output = run(UNWINDS)
    folder, *told = output.splitlines()
    assert (code, told) == (143, ["", "stopped by signal 15; nothing was kept"])
    assert not Path(folder).exists()
