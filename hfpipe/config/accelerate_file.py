"""What hfpipe reads of an accelerate file, and where this machine stands among those of a launch.

Refuses files that are none, ZeRO-3 that cuts a model up while it is loaded, and what accelerate accepts and then does
otherwise without a word: FSDP on the CPU, and a machine whose rank nobody told. accelerate takes rank 0 for it, and two
of rank 0 wait for each other for ever.
What the file needs and this machine lacks (GPUs, DeepSpeed) is refused before anything is launched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import yaml

from hfpipe.errors import ConfigError, Problem

# Environment variables that say what differs from machine to machine and from job to job, by accelerate's own words.
NUM_MACHINES = "NUM_MACHINES"
MACHINE_RANK = "MACHINE_RANK"
MAIN_PROCESS_IP = "MAIN_PROCESS_IP"
MAIN_PROCESS_PORT = "MAIN_PROCESS_PORT"

_WRITE_ONE = "write one with 'accelerate config --config_file <file>'"
_SMALLEST = {"num_processes": 1, "num_machines": 1, "machine_rank": 0, "main_process_port": 0}
# accelerate reads a file without a number as one process only where nothing is distributed.
_SINGLE = "NO"
ZERO3_INIT_RULE = "the model would be cut up while it is loaded, and its new parts and sizes not be seen whole"
ZERO3_INIT_REMEDY = "set zero3_init_flag: false in deepspeed_config; each process then cuts it up once it is loaded"


@dataclass(frozen=True)
class AccelerateFile:
    """The keys of an accelerate file that decide what a launch starts; None where the file has none."""

    path: Path
    distributed_type: str
    num_processes: int | None
    num_machines: int = 1
    use_cpu: bool = False
    machine_rank: int | None = None
    main_process_ip: str | None = None
    main_process_port: int | None = None


@dataclass(frozen=True)
class Machines:
    """The machines of a launch and this one's rank among them; `address` and `port` are where rank 0 is met."""

    count: int = 1
    rank: int = 0
    address: str = ""
    port: int = 0

    @property
    def options(self) -> list[str]:
        """The options of `accelerate launch` that say the same; none for one machine, which needs none."""
        if self.count == 1:
            return []
        here = ["--num_machines", str(self.count), "--machine_rank", str(self.rank)]
        return [*here, "--main_process_ip", self.address, "--main_process_port", str(self.port)]


def read_accelerate_file(path: Path) -> AccelerateFile:
    """Return what `path` says about processes and machines.

    Raises:
        ConfigError: If it is no YAML mapping, a number is none, or it asks for FSDP on the CPU.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(Problem(str(path), rule="is not YAML", remedy=_WRITE_ONE)) from error
    if not isinstance(values, dict):
        raise ConfigError(Problem(str(path), rule="is not an accelerate file", remedy=_WRITE_ONE))
    problems = [problem for key, least in _SMALLEST.items() for problem in _check_number(path, values, key, least)]
    kind, use_cpu = str(values.get("distributed_type", _SINGLE)), values.get("use_cpu") is True
    if kind == "FSDP" and use_cpu:
        rule = "has no effect on the CPU: accelerate would train by DDP and say nothing"
        problems.append(Problem(f"{path}: distributed_type", kind, rule, "use multi_cpu, or GPUs (use_cpu: false)"))
    problems += _check_engine(path, values.get("deepspeed_config")) if kind == "DEEPSPEED" else []
    if problems:
        raise ConfigError(problems)
    return AccelerateFile(
        path=path,
        distributed_type=kind,
        num_processes=values.get("num_processes") or (1 if kind == _SINGLE else None),
        num_machines=values.get("num_machines") or 1,
        use_cpu=use_cpu,
        machine_rank=values.get("machine_rank"),
        main_process_ip=values.get("main_process_ip"),
        main_process_port=values.get("main_process_port"),
    )


def place_machine(file: AccelerateFile, environ: Mapping[str, str]) -> Machines:
    """Return where this machine stands: environment variables over what the file says.

    Raises:
        ConfigError: If there are several machines, and this one's rank or the address of rank 0 is not known.
    """
    problems: list[Problem] = []
    count = _number(environ, NUM_MACHINES, problems, least=1) or file.num_machines
    if count == 1 and not problems:
        return Machines()
    rank = _number(environ, MACHINE_RANK, problems, least=0)
    rank = file.machine_rank if rank is None else rank
    port = _number(environ, MAIN_PROCESS_PORT, problems, least=1) or file.main_process_port
    address = environ.get(MAIN_PROCESS_IP) or file.main_process_ip
    known = {MACHINE_RANK: rank is not None, MAIN_PROCESS_IP: bool(address), MAIN_PROCESS_PORT: bool(port)}
    refused = {problem.place for problem in problems}
    problems += [_missing(name, file, count) for name in known if not known[name] and name not in refused]
    if rank is not None and rank >= count:
        problems.append(Problem(MACHINE_RANK, f"{rank:,}", f"there are {count:,} machines", f"0 to {count - 1:,}"))
    if problems:
        raise ConfigError(problems)
    return Machines(count, rank or 0, address or "", port or 0)


def check_installed(file: AccelerateFile) -> None:
    """Raise a ConfigError where the file asks for DeepSpeed and it is not installed."""
    if file.distributed_type == "DEEPSPEED" and find_spec("deepspeed") is None:
        place = f"{file.path}: distributed_type"
        raise ConfigError(Problem(place, "DEEPSPEED", "is not installed", "pip install 'hfpipe[deepspeed]'"))


def check_devices(file: AccelerateFile, processes_here: int, *, devices: int) -> None:
    """Raise a ConfigError where a file for GPUs meets a machine with no `devices`, or fewer than processes."""
    if not devices:
        remedy = "add --accelerate multi_cpu (or cpu), or write use_cpu: true into a file of your own"
        raise ConfigError(Problem(str(file.path), "", "is for GPUs, and this machine has none", remedy))
    if processes_here > devices:
        rule = f"{processes_here:,} processes on this machine, which has {devices:,} GPUs"
        raise ConfigError(Problem(str(file.path), "", rule, f"add num_processes={devices}, or as many on each machine"))


_HOW_TO_SET = {
    MACHINE_RANK: "set it to 0 on one machine, to 1 on the next",
    MAIN_PROCESS_IP: "set it to the address of the machine of rank 0, on all machines alike",
    MAIN_PROCESS_PORT: "set it to a port that is free on the machine of rank 0, on all machines alike",
}


def _missing(name: str, file: AccelerateFile, count: int) -> Problem:
    remedy = f"{_HOW_TO_SET[name]}; under Slurm multi_node.sbatch does so"
    return Problem(name, "", f"is not set, and {file.path.name} is launched on {count:,} machines", remedy)


def _number(environ: Mapping[str, str], name: str, problems: list[Problem], *, least: int) -> int | None:
    """Return the number in an environment variable, None where it is not set or, with a problem added, none."""
    text = environ.get(name)
    if not text:
        return None
    if text.isdecimal() and int(text) >= least:
        return int(text)
    problems.append(Problem(name, text, f"is not a whole number from {least}", "set it, or unset it"))
    return None


def _check_engine(path: Path, engine: object) -> list[Problem]:
    """Return a problem where DeepSpeed is asked for ZeRO-3 from the start, as it is where nothing is said."""
    if not isinstance(engine, dict) or engine.get("zero_stage") != 3 or engine.get("zero3_init_flag") is False:
        return []
    value = str(engine.get("zero3_init_flag", "")).lower()
    return [Problem(f"{path}: zero3_init_flag", value, ZERO3_INIT_RULE, ZERO3_INIT_REMEDY)]


def _check_number(path: Path, values: Mapping[str, object], key: str, least: int) -> list[Problem]:
    value = values.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= least):
        return []
    return [Problem(f"{path}: {key}", str(value), f"is not a whole number from {least}", _WRITE_ONE)]
