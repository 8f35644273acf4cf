"""The state of a run beside its weights: optimizer, schedule, loss scaler and random numbers, without pickle.

`optimizer`, `scheduler`, `scaler` and `rng_state_N` (one a process) are written by `state_files`, so a checkpoint may
come from anywhere: reading it runs no code. Refuses what is missing, damaged or of another run; a run that is gone on
with makes the steps it would have made, or none.
"""

import logging
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from hfpipe.errors import CheckpointError, Problem
from hfpipe.pickles import find_state_problem
from hfpipe.training.gathering import is_sharded
from hfpipe.training.optimizer_state import collect_optimizer_state, restore_optimizer_state
from hfpipe.training.state_files import REMEDY, damaged, read_state, write_state
from hfpipe.training.zero_state import collect_zero_state, restore_zero_state

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

OPTIMIZER, SCHEDULER, SCALER = "optimizer", "scheduler", "scaler"


def save_optimizer_and_scheduler(trainer: "PlannedTrainer", folder: Path) -> None:
    """Write both; every process has to call it, for a sharded state is gathered.

    Raises:
        CheckpointError: If the optimizer or the schedule keeps something that cannot be stored.
    """
    writes, optimizer = trainer.args.should_save, cast("Any", trainer.optimizer)
    if trainer.is_deepspeed_enabled:
        state = collect_zero_state(trainer.network, optimizer.optimizer, keep=writes)
    elif writes or is_sharded(trainer.network):
        state = collect_optimizer_state(trainer.network, optimizer, keep=writes)
    if writes:
        write_state(folder, OPTIMIZER, state, owner=f"optimizer {state['optimizer']}")
        schedule = cast("Any", trainer.lr_scheduler)
        write_state(folder, SCHEDULER, schedule.state_dict(), owner=f"schedule {type(schedule).__name__}")


def load_optimizer_and_scheduler(trainer: "PlannedTrainer", folder: Path) -> None:
    """Put both back as they were.

    Raises:
        CheckpointError: If one is missing, damaged, of an earlier version or of another run.
    """
    refuse_pickled(folder)
    optimizer = cast("Any", trainer.optimizer)
    saved, place = read_state(folder, OPTIMIZER), folder / f"{OPTIMIZER}.json"
    if trainer.is_deepspeed_enabled:
        restore_zero_state(trainer.network, optimizer.optimizer, saved, place=place)
    else:
        restore_optimizer_state(trainer.network, optimizer, saved, place=place)
    restore_fields(trainer.lr_scheduler, read_state(folder, SCHEDULER), place=folder / f"{SCHEDULER}.json")


def save_scaler(trainer: "PlannedTrainer", folder: Path) -> None:
    """Write the loss scaler of fp16, where there is one."""
    scaler = trainer.accelerator.scaler
    if scaler is not None and trainer.args.should_save:
        write_state(folder, SCALER, scaler.state_dict(), owner="the loss scaler")


def load_scaler(trainer: "PlannedTrainer", folder: Path) -> None:
    """Put the loss scaler back.

    Raises:
        CheckpointError: If the checkpoint has one and the run has none, or the other way round.
    """
    scaler, path = trainer.accelerator.scaler, folder / f"{SCALER}.json"
    if scaler is None and path.exists():
        raise damaged(path, "a loss scaler, and this run has none")
    if scaler is not None:
        restore_fields(scaler, read_state(folder, SCALER), place=path)


def restore_fields(target: Any, saved: Any, *, place: Path) -> None:
    """Load `saved` into what has `state_dict` and `load_state_dict`, if it has the same fields of the same kinds.

    Raises:
        CheckpointError: If it has not.
    """
    _check_alike(saved, target.state_dict(), place, "")
    target.load_state_dict(saved)


def save_random_state(trainer: "PlannedTrainer", folder: Path) -> None:
    """Write the random state of this process."""
    state = {"world_size": trainer.args.world_size, **collect_random_state(trainer.args.device)}
    write_state(folder, _random_name(trainer.args.process_index), state, owner="the random numbers")


def load_random_state(trainer: "PlannedTrainer", folder: Path) -> None:
    """Put the random state of this process back; one that the checkpoint does not know is seeded by seed and step.

    Raises:
        CheckpointError: If it is missing or damaged.
    """
    args, first = trainer.args, read_state(folder, _random_name(0))
    if args.process_index == 0 and args.world_size > first["world_size"]:
        told = "%s of %s processes did not exist: seed and step decide the random numbers of their dropout"
        logger.info(told, f"{args.world_size - first['world_size']:,}", f"{args.world_size:,}")
    if args.process_index >= first["world_size"]:
        seed_process(args.seed, args.process_index, step=trainer.state.global_step)
        return
    name = _random_name(args.process_index)
    saved = read_state(folder, name) if args.process_index else first
    restore_random_state(saved, args.device, place=folder / f"{name}.json")


def seed_process(seed: int, process_index: int, *, step: int = 0) -> None:
    """Give each process its own dropout: with equal seeds all would drop the same units.

    One that joins at a `step` after the first draws other numbers than one that was there from the beginning.
    """
    own = seed + process_index
    if step:
        own = int(np.random.SeedSequence((seed, process_index, step)).generate_state(1)[0])
    random.seed(own)
    np.random.seed(own % 2**32)
    torch.manual_seed(own)


def collect_random_state(device: torch.device) -> dict[str, Any]:
    """Return the states of Python, NumPy, torch on the CPU and torch on `device`."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = cast("tuple[Any, ...]", np.random.get_state())
    return {
        "python": {"version": version, "numbers": torch.tensor(numbers), "gauss": gauss},
        "numpy": {
            "kind": kind,
            "keys": torch.from_numpy(keys.astype(np.int64)),
            "position": position,
            "has_gauss": has_gauss,
            "cached": cached,
        },
        "cpu": torch.get_rng_state(),
        "device": None if device.type == "cpu" else device.type,
        "on_device": None if device.type == "cpu" else torch.get_device_module(device.type).get_rng_state(),
    }


def restore_random_state(saved: Any, device: torch.device, *, place: Path) -> None:
    """Put back what `collect_random_state` returned.

    Raises:
        CheckpointError: If it is no such state.
    """
    try:
        python, legacy, kind = saved["python"], saved["numpy"], saved["device"]
        random.setstate((python["version"], tuple(python["numbers"].tolist()), python["gauss"]))
        keys = legacy["keys"].numpy().astype(np.uint32)
        np.random.set_state((legacy["kind"], keys, legacy["position"], legacy["has_gauss"], legacy["cached"]))
        torch.set_rng_state(saved["cpu"])
        if kind is not None and kind == device.type:
            torch.get_device_module(kind).set_rng_state(saved["on_device"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise damaged(place, "is not the state of the random numbers") from error
    if (kind or "cpu") != device.type:
        logger.warning("saved on %s, going on on %s: dropout draws other numbers", kind or "cpu", device.type)


def refuse_pickled(folder: Path) -> None:
    """Raise a CheckpointError for a checkpoint whose state is pickled: Trainer's, FSDP's or DeepSpeed's own."""
    problem = None if (folder / f"{OPTIMIZER}.json").exists() else find_state_problem(folder)
    if problem is not None:
        raise CheckpointError(problem)


def _random_name(process_index: int) -> str:
    return f"rng_state_{process_index}"


def _check_alike(saved: Any, own: Any, place: Path, where: str) -> None:
    if isinstance(own, dict) and isinstance(saved, dict):
        for name in sorted(saved.keys() ^ own.keys()):
            rule = "is missing" if name in own else "is no part of this run's"
            raise damaged(place, rule, f"{where}{name}")
        for name, value in saved.items():
            _check_alike(value, own[name], place, f"{where}{name}: ")
    elif isinstance(own, list | tuple) and isinstance(saved, list | tuple) and len(own) in (0, len(saved)):
        # what fills up as the run goes on is empty in a schedule that has just been made
        for each, other in zip(saved, own, strict=False):
            _check_alike(each, other, place, where)
    elif not _is_same_kind(saved, own):
        raise CheckpointError(Problem(str(place), f"{where}{saved}", f"this run's is {own}", REMEDY))


def _is_same_kind(saved: Any, own: Any) -> bool:
    numbers = int | float
    if saved is None or own is None or (isinstance(saved, numbers) and isinstance(own, numbers)):
        return True
    return type(saved) is type(own) and not isinstance(saved, list | tuple | dict)
