"""Start a recipe as a process of its own: plainly, or as many processes under `accelerate launch`.

Refuses what is wrong with the configuration or the data before anything is launched. Plainly, the recipe replaces
this process, so its signals and exit code are the user's own; under accelerate `supervision` follows the launcher.
"""

import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
from hfpipe.config.exit_codes import FINISHED, stop_code
from hfpipe.config.sections import FINETUNE
from hfpipe.config.stopping import STOPPING
from hfpipe.errors import ConfigError, Problem
from hfpipe.records.environment import usable_cores
from hfpipe.records.identity import Terms
from hfpipe.records.launches import begins_anew
from hfpipe.records.opening import Opening, open_run
from hfpipe.records.run_lock import check_free
from hfpipe.supervision import LAUNCHER_SETTINGS, RESTART_SETTINGS, follow, supervise


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


def prepare_launch(
    run: str,
    overrides: Sequence[str] = (),
    *,
    accelerate: str | None = None,
    max_restarts: int = 0,
    reads_data: bool = True,
) -> Launch:
    """Return the launch of a named run or YAML file, its configuration and data checked.

    `overrides` are settings as typed (`key=value`, `--key value`); `accelerate` names an accelerate file, or its path.
    The launcher starts all processes again, at most `max_restarts` times, when one of them was lost. `reads_data` is
    false where the same data were checked already.

    Raises:
        ConfigError: If the configuration, the run's name or the accelerate file is wrong.
        CheckpointError: If the run directory holds something else than this run.
        DataError: If the data cannot be used as it stands.
    """
    arguments = ("--config", str(find_named_run(run)), *overrides)
    config = load_config(arguments)
    recipe = find_recipe_module(config.recipe)
    if accelerate is None:
        _check_single(config, max_restarts)
        launch = Launch((sys.executable, str(recipe), *arguments), recipe)
    else:
        launch = _under_accelerate(
            config, recipe, arguments, accelerate_file=find_accelerate_config(accelerate), max_restarts=max_restarts
        )
    is_new = begins_anew(config.output_dir, fresh_start=config.training.fresh_start)
    if is_new or find_opening(config).kind != "done":
        check_free(config.output_dir)
        if config.hub.push_to_hub:
            from hfpipe.hub.access import check_token  # the Hub's client, which most runs do not need

            check_token(config)
        if reads_data:
            check_data(config, processes=launch.processes)
    return launch


def check_data(config: RunConfig, *, processes: int = 1) -> None:
    """Read the data as the recipe will in so many processes.

    Raises:
        DataError: If it cannot be used as it stands.
        ConfigError: If a setting does not fit the labels that are found.
    """
    # numpy and pyarrow come with these modules, and a mistake in the configuration needs neither
    from hfpipe.data import corpora
    from hfpipe.evaluation.thresholds import check_thresholds

    if config.recipe == FINETUNE:
        check_thresholds(config, corpora.load_labelled(config))
    else:
        corpora.load_corpus(config, processes=processes)


def start(launch: Launch) -> int:
    """Run `launch` and return its exit code: 0, 2 for a user's mistake, 130 or 143 for a run that was stopped, else 1.

    Without accelerate it does not return: the recipe takes the place of this process.
    """
    if not launch.under_accelerate:
        sys.stdout.flush()
        sys.stderr.flush()
        # until the recipe has its handlers, which lets them through
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        os.execve(launch.command[0], launch.command, {**os.environ, **launch.environment})
    return supervise(launch.command, launch.environment, recipe=launch.recipe).code


def run_to_end(launch: Launch) -> int:
    """Run `launch`, under accelerate or not, as a process of its own, and return its exit code.

    What stops this process stops the run. A signal that came too late for that is told all the same: who asked for an
    end expects nothing more to begin.
    """
    if launch.under_accelerate:
        ended = supervise(launch.command, launch.environment, recipe=launch.recipe)
    else:
        ended = follow(launch.command, launch.environment)
    return stop_code(ended.signal) if ended.code == FINISHED and ended.signal else ended.code


def find_opening(config: RunConfig) -> Opening:
    """Return what the run directory holds of this run; of one that is done the recipe reads no data.

    The recipe opens it once more. Here its refusals cost no start of torch, and no other process waits for the one
    that refuses.

    Raises:
        CheckpointError: If the run directory holds something else than this run.
    """
    terms = Terms(change_of, config.place, config.default_of)
    return open_run(config.output_dir, config.flat(), fresh_start=False, terms=terms)


def _check_single(config: RunConfig, max_restarts: int) -> None:
    if max_restarts:
        rule, remedy = (
            "no launcher starts it again",
            "add --accelerate, or leave it to what starts this command",
        )
        raise ConfigError(Problem("--max-restarts", f"{max_restarts:,}", rule, remedy))
    wanted = config.training.num_processes
    if wanted is not None and wanted > 1:
        rule = "one process would be started"
        remedy = "add --accelerate multi_cpu, or an accelerate file of your own"
        raise ConfigError(Problem(config.place("num_processes"), f"{wanted:,}", rule, remedy))


def _under_accelerate(
    config: RunConfig, recipe: Path, arguments: Sequence[str], *, accelerate_file: Path, max_restarts: int
) -> Launch:
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
    settings = {name: value for name, value in LAUNCHER_SETTINGS.items() if name not in os.environ}
    environment = {**_thread_environment(processes // machines.count), **settings}
    if max_restarts:
        _check_one_machine(max_restarts, machines)
        launcher += ["--max_restarts", str(max_restarts)]
        environment |= RESTART_SETTINGS
    if file.use_cpu:
        # under several processes accelerate forgets use_cpu, and takes the GPUs where there are any
        environment["CUDA_VISIBLE_DEVICES"] = ""
    command = (*launcher, str(recipe), *arguments)
    return Launch(command, recipe, under_accelerate=True, processes=processes, environment=environment)


def _check_one_machine(max_restarts: int, machines: Machines) -> None:
    if machines.count > 1:
        rule = f"the launchers of {machines.count:,} machines do not start again together"
        remedy = "leave it out, and let the queue start the job again (docs/multi_node.md)"
        raise ConfigError(Problem("--max-restarts", f"{max_restarts:,}", rule, remedy))


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
