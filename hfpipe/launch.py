"""Start a recipe as a process of its own: plainly, or as many processes under `accelerate launch`.

Refuses what is wrong with the configuration or the data before anything is launched. Plainly, the recipe replaces
this process, so its signals and exit code are the user's own. Under accelerate they pass through a launcher that turns
every exit code into 1 and kills its processes 30 s after a signal: signals therefore go to the recipe's processes
themselves, and the recipe leaves its exit code in a file (`EXIT_CODE_FILE`).
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import psutil

from hfpipe.config import (
    RunConfig,
    change_of,
    find_accelerate_config,
    find_named_run,
    find_recipe_module,
    load_config,
)
from hfpipe.config.accelerate_file import (
    AccelerateFile,
    Machines,
    check_devices,
    check_installed,
    place_machine,
    read_accelerate_file,
)
from hfpipe.config.entry import EXIT_CODE_FILE
from hfpipe.config.sections import FINETUNE
from hfpipe.errors import ConfigError, Problem
from hfpipe.records.environment import usable_cores
from hfpipe.records.opening import open_run

# A terminal that is closed ends the run as `kill` does: saved at the end of the step.
FORWARDED = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}

POLL_SECONDS = 0.1
# Processes that leave together do so within a second or two; one that failed alone is waited for in vain.
GRACE_SECONDS = 15.0


@dataclass(frozen=True)
class Launch:
    """A command that is ready to start: `recipe` is what so many `processes` run, `environment` is added to ours."""

    command: tuple[str, ...]
    recipe: Path
    under_accelerate: bool = False
    processes: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The command as a user would type it."""
        words = shlex.join(self.command).replace(shlex.quote(sys.executable), "python", 1)
        settings = "".join(f"{name}={value} " for name, value in self.environment.items())
        return settings + words.replace("python -m accelerate.commands.launch", "accelerate launch", 1)


def prepare_launch(run: str, overrides: Sequence[str] = (), *, accelerate: str | None = None) -> Launch:
    """Return the launch of a named run or YAML file, its configuration and data checked.

    `overrides` are settings as typed (`key=value`, `--key value`); `accelerate` names an accelerate file, or its path.

    Raises:
        ConfigError: If the configuration, the run's name or the accelerate file is wrong.
        CheckpointError: If the run directory holds something else than this run.
        DataError: If the data cannot be used as it stands.
    """
    arguments = ("--config", str(find_named_run(run)), *overrides)
    config = load_config(arguments)
    recipe = find_recipe_module(config.recipe)
    if accelerate is None:
        _check_single(config)
        launch = Launch((sys.executable, str(recipe), *arguments), recipe)
    else:
        launch = _under_accelerate(config, recipe, arguments, accelerate_file=find_accelerate_config(accelerate))
    if config.training.fresh_start or not _is_done(config):
        if config.hub.push_to_hub:
            from hfpipe.hub.access import check_token  # the Hub's client, which most runs do not need

            check_token(config)
        check_data(config, processes=launch.processes)
    return launch


def check_data(config: RunConfig, *, processes: int = 1) -> None:
    """Read the data as the recipe will in so many processes.

    Raises:
        DataError: If it cannot be used as it stands.
    """
    # numpy and pyarrow come with this module, and a mistake in the configuration needs neither
    from hfpipe.data import corpora

    if config.recipe == FINETUNE:
        corpora.load_labelled(config)
    else:
        corpora.load_corpus(config, processes=processes)


def start(launch: Launch) -> int:
    """Run `launch` and return its exit code: 0, 2 for a user's mistake, 130 or 143 for a run that was stopped.

    Without accelerate it does not return: the recipe takes the place of this process.
    """
    if not launch.under_accelerate:
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(launch.command[0], launch.command, {**os.environ, **launch.environment})
    return _supervise(launch)


def _is_done(config: RunConfig) -> bool:
    """Tell whether the run directory holds this run, finished: the recipe then reads no data.

    The recipe opens it once more. Here its refusals cost no start of torch, and no other process waits for the one
    that refuses.
    """
    wanted = config.flat()
    opening = open_run(config.output_dir, wanted, fresh_start=False, change_of=change_of, place_of=config.place)
    return opening.kind == "done"


def _check_single(config: RunConfig) -> None:
    wanted = config.training.num_processes
    if wanted is not None and wanted > 1:
        rule = "one process would be started"
        remedy = "add --accelerate multi_cpu, or an accelerate file of your own"
        raise ConfigError(Problem(config.place("num_processes"), f"{wanted:,}", rule, remedy))


def _under_accelerate(config: RunConfig, recipe: Path, arguments: Sequence[str], *, accelerate_file: Path) -> Launch:
    file = read_accelerate_file(accelerate_file)
    machines = place_machine(file, os.environ)
    wanted = config.training.num_processes
    processes = _check_processes(config, file, machines)
    check_installed(file)
    if not file.use_cpu:
        check_devices(file, processes // machines.count, devices=_count_devices())
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(accelerate_file)]
    launcher += machines.options
    if wanted is not None:
        launcher += ["--num_processes", str(wanted)]
    else:
        # the recipe cannot see how many were asked for, and accelerate may start fewer without a word
        arguments = [*arguments, "--num_processes", str(processes)]
    environment = _thread_environment(processes // machines.count)
    if file.use_cpu:
        # under several processes accelerate forgets use_cpu, and takes the GPUs where there are any
        environment["CUDA_VISIBLE_DEVICES"] = ""
    command = (*launcher, str(recipe), *arguments)
    return Launch(command, recipe, under_accelerate=True, processes=processes, environment=environment)


def _check_processes(config: RunConfig, file: AccelerateFile, machines: Machines) -> int:
    """Return how many processes are asked for, over all machines."""
    wanted = config.training.num_processes
    processes = wanted or file.num_processes
    place = config.place("num_processes") if wanted else f"{file.path}: num_processes"
    if processes is None:
        raise ConfigError(Problem(place, "", "is not given", "add num_processes=2, or write it into the file"))
    if processes % machines.count:
        rule = f"cannot be shared out evenly among {machines.count:,} machines"
        raise ConfigError(Problem(place, f"{processes:,}", rule, "name the processes of all machines together"))
    return processes


def _count_devices() -> int:
    # seconds of import, and only where GPUs are asked for
    import torch

    return torch.accelerator.device_count() if torch.accelerator.is_available() else 0


def _thread_environment(processes_here: int) -> dict[str, str]:
    """Return `OMP_NUM_THREADS` unless the user set it.

    accelerate sets it to 1 for several processes and to the number of cores for one; the cores shared out make a run
    equally fast, and its sums equally ordered, under every file with the same number of processes.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, usable_cores() // processes_here))}


def _supervise(launch: Launch) -> int:
    with tempfile.TemporaryDirectory(prefix="hfpipe-") as folder:
        exit_code_file = Path(folder) / "exit_code"
        environment = {**os.environ, **launch.environment, EXIT_CODE_FILE: str(exit_code_file)}
        # A session of its own: Ctrl-C at a terminal reaches the whole foreground group, and the launcher must not
        # hear it before the recipe has saved.
        launcher = subprocess.Popen(launch.command, env=environment, start_new_session=True)
        with _forwarded_signals(launcher.pid, launch.recipe) as forwarded:
            _wait(launcher, exit_code_file)
            _await_all(forwarded.processes)
        return _exit_code(launcher.returncode, exit_code_file, forwarded.signals)


def _wait(launcher: "subprocess.Popen[bytes]", exit_code_file: Path) -> None:
    """Wait for the launcher's end; it is told to end when one process left long ago and others still wait for it."""
    left_at: float | None = None
    is_told = False
    while launcher.poll() is None:
        if left_at is None and exit_code_file.exists():
            left_at = time.monotonic()
        elif left_at is not None and not is_told and time.monotonic() - left_at > GRACE_SECONDS:
            # once: a second signal would end it before it has killed the processes that wait
            launcher.terminate()
            is_told = True
        time.sleep(POLL_SECONDS)


@dataclass
class _Forwarded:
    """What was sent on, and to whom, in order; filled by the signal handler."""

    signals: list[int] = field(default_factory=list)
    processes: list[psutil.Process] = field(default_factory=list)


@contextmanager
def _forwarded_signals(launcher_pid: int, recipe: Path) -> Iterator[_Forwarded]:
    forwarded = _Forwarded()

    def forward(signal_number: int, frame: FrameType | None) -> None:
        sent = FORWARDED[signal.Signals(signal_number)]
        forwarded.signals.append(sent)
        forwarded.processes += _send(sent, launcher_pid, recipe)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield forwarded
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(signal_number: int, launcher_pid: int, recipe: Path) -> list[psutil.Process]:
    """Signal the recipe's processes and return them; the launcher itself while it has started none."""
    sent = []
    for process in _recipe_processes(launcher_pid, recipe):
        try:
            process.send_signal(signal_number)
        except psutil.NoSuchProcess:  # it ended just now
            continue
        sent.append(process)
    if not sent and psutil.pid_exists(launcher_pid):
        os.killpg(launcher_pid, signal_number)
    return sent


def _recipe_processes(launcher_pid: int, recipe: Path) -> list[psutil.Process]:
    """Return the launcher's children that run `recipe`. Their own children, such as data workers, are theirs."""
    try:
        children = psutil.Process(launcher_pid).children()
    except psutil.NoSuchProcess:
        return []
    return [child for child in children if str(recipe) in _command_line(child)]


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # ended, or not ours to look at
        return []


def _await_all(processes: Sequence[psutil.Process]) -> None:
    """Wait for processes that were left saving, where something else ended the launcher before them."""
    while any(_is_alive(process) for process in processes):
        time.sleep(POLL_SECONDS)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _exit_code(launcher_code: int, exit_code_file: Path, signals: Sequence[int]) -> int:
    """Return the recipe's own exit code where it left one, else what is known from the launcher's."""
    if exit_code_file.exists():
        return int(exit_code_file.read_text(encoding="utf-8"))
    if launcher_code != 0 and signals:
        return 128 + signals[-1]
    return 128 - launcher_code if launcher_code < 0 else launcher_code
