"""Stand-ins for the commands of Slurm that multi_node.sbatch calls, and what Slurm sets for a job.

`srun` starts one task a node on this machine and ends with the highest exit code; at SIGTERM it kills its tasks, as
that of Slurm does ("forcing job termination"). `scancel` has a signal sent to every process of the tasks. `scontrol`
knows the names of the nodes and notes which job was queued again.
"""

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

SCRIPT = ROOT / "accelerate_configs" / "multi_node.sbatch"

SRUN = """
import os, signal, subprocess, sys
import psutil
words = sys.argv[1:]
while words[0].startswith("--"):
    words.pop(0)
nodes = range(int(os.environ["SLURM_JOB_NUM_NODES"]))
tasks = [psutil.Popen(words, env={**os.environ, "SLURM_NODEID": str(node)}) for node in nodes]
def send(number):
    for task in tasks:
        for process in [*task.children(recursive=True), task] if task.is_running() else []:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
signal.signal(signal.SIGTERM, lambda number, frame: send(signal.SIGKILL))
signal.signal(signal.SIGUSR2, lambda number, frame: send(signal.SIGTERM))
with open("srun.pid", "w") as file:
    file.write(str(os.getpid()))
codes = [task.wait() for task in tasks]
sys.exit(max(128 - code if code < 0 else code for code in codes))
"""

SCANCEL = """
import os, signal, sys
if sys.argv[1:] != ["--signal=TERM", os.environ["SLURM_JOB_ID"] + ".0"]:
    sys.exit("what is signalled is the step of the run, by SIGTERM")
with open("srun.pid") as file:
    os.kill(int(file.read()), signal.SIGUSR2)
"""

SCONTROL = """
import os, sys
if sys.argv[1:3] == ["show", "hostnames"]:
    print("127.0.0.1", "127.0.0.2", sep="\\n")
else:
    with open(os.environ["SCONTROL_LOG"], "a") as log:
        print(*sys.argv[1:], file=log)
"""


def write_command(folder: Path, name: str, code: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
    path.chmod(0o755)


def start_job(folder: Path, *arguments: str, nodes: int, **settings: str) -> "subprocess.Popen[str]":
    """Start the batch script as Slurm starts it; commands in `folder`/bin are found first."""
    commands = folder / "bin"
    write_command(commands, "srun", SRUN)
    write_command(commands, "scancel", SCANCEL)
    write_command(commands, "scontrol", SCONTROL)
    job = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": str(nodes)}
    path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **job, "PATH": path, "SCONTROL_LOG": str(folder / "scontrol.log"), **settings}
    return subprocess.Popen(
        ["bash", str(SCRIPT), *arguments],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def requeued(folder: Path) -> list[str]:
    """Return what `scontrol` was told beside showing names."""
    log = folder / "scontrol.log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []
