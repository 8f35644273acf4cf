"""What a run needs of disk and memory against what there is.

Disk: a checkpoint must fit beside the one before it, since that is removed only afterwards. Memory: what the step
needs by `estimate`, and this process as it stands, which has loaded the same libraries and data as the run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from hfpipe.errors import Problem
from hfpipe.records.disk import free_bytes, show_bytes
from hfpipe.records.run_directory import CHECKPOINTS

CLOSE = 0.85
"""From this share of the memory there is on, a need is worth a word: the estimate is good to about 30 %."""

ALLOCATOR_ON_CPU = 1.25
"""Blocks that glibc cannot reuse: a step took 1.15 to 1.4 times its live tensors (bert and llama, 2026-11)."""

CUDA_CONTEXT_BYTES = 600_000_000


@dataclass(frozen=True)
class DiskNeed:
    """Bytes a run writes: a checkpoint is weights that are trained and optimizer states, the `model` all weights."""

    model: int
    weights: int
    optimizer: int
    checkpoints: int
    kept_at_most: int | None
    keeps_best: bool = False

    @property
    def checkpoint(self) -> int:
        """Bytes of one checkpoint."""
        return self.weights + self.optimizer

    @property
    def at_once(self) -> int:
        """Checkpoints that lie on disk together: those kept, the best and the newest always, and the one written."""
        if self.kept_at_most is None:
            return self.checkpoints
        return min(self.checkpoints, max(self.kept_at_most, 1 + self.keeps_best) + 1)

    @property
    def least(self) -> int:
        """Bytes without which the run cannot end: two checkpoints, where it writes as many, and the model."""
        return min(self.checkpoints, 2) * self.checkpoint + self.model

    @property
    def most(self) -> int:
        """Bytes at the fullest moment."""
        return self.at_once * self.checkpoint + self.model

    def line(self, room: "Room") -> str:
        """Return need and supply in a line."""
        parts = f"weights {show_bytes(self.weights)} + optimizer {show_bytes(self.optimizer)}"
        one = f"a checkpoint {show_bytes(self.checkpoint)} = {parts}"
        written = f"{self.checkpoints:,} written, at most {self.at_once:,} on disk at once"
        model = f"with the finished model {show_bytes(self.most)}"
        return f"disk: {one}; {written}, {model}; {show_bytes(room.total)} free"


@dataclass(frozen=True)
class Room:
    """Bytes free for a run, and those of its own published checkpoints, which it replaces, with their number."""

    free: int
    replaceable: int = 0
    published: int = 0

    @property
    def total(self) -> int:
        """Bytes the run can fill."""
        return self.free + self.replaceable


@dataclass(frozen=True)
class MemoryNeed:
    """Peak bytes of one process: `training` and `evaluation` hold weights, gradients and activations."""

    program: int
    weights: int
    gradients: int
    optimizer: int
    training: int
    evaluation: int
    processes: int

    def on(self, device: torch.device) -> int:
        """Return the bytes that `device` must have: a GPU for one process, the machine's memory for all."""
        if device.type == "cpu":
            return self.processes * (self.program + self.step(device))
        return CUDA_CONTEXT_BYTES + self.step(device)

    def step(self, device: torch.device) -> int:
        """Return the peak of a process in training, evaluation and update, allocator and buckets of DDP included."""
        factor = ALLOCATOR_ON_CPU if device.type == "cpu" else 1.0
        buckets = self.gradients if self.processes > 1 else 0
        update = self.weights + self.gradients
        passing = max(self.training, self.evaluation) - self.weights
        return self.optimizer + buckets + max(update, self.weights + round(factor * passing))

    def lines(self, device: torch.device, *, shape: str) -> Iterator[str]:
        """Yield what the peak consists of; `shape` says what micro-batch it is of."""
        fixed = f"weights {show_bytes(self.weights)} + optimizer {show_bytes(self.optimizer)}"
        passing = self.step(device) - self.weights - self.optimizer
        yield f"memory of a step: {show_bytes(self.step(device))} = {fixed} + activations and gradients " + (
            f"{show_bytes(passing)} ({shape}; gradients alone {show_bytes(self.gradients)})"
        )
        computed = "counted on a step without numbers: every tensor from its creation until nothing refers to it"
        extra = (
            f", and {100 * (ALLOCATOR_ON_CPU - 1):.0f} % for blocks that are not reused" if device.type == "cpu" else ""
        )
        yield f"memory is {computed}{extra}"
        if device.type == "cpu":
            yield f"memory of program and data: {show_bytes(self.program)} a process, processes: {self.processes:,}"


def check_disk(need: DiskNeed, room: Room, *, folder: Path) -> tuple[list[str], list[Problem]]:
    """Return lines on the disk and what stands against the run in `folder`."""
    lines = [need.line(room)]
    remedy = "free some, choose another output_dir, or save_strategy: no"
    if need.least > room.total:
        rule = f"{show_bytes(need.least)} needed for {min(need.checkpoints, 2):,} checkpoints and the finished model"
        return lines, [Problem(f"output_dir {folder}", f"{show_bytes(room.total)} free", rule, remedy)]
    # what is there is removed only when the next one is whole
    if room.published and need.checkpoints and need.checkpoint > room.free:
        rule = f"{show_bytes(need.checkpoint)} needed for the next checkpoint beside the {room.published:,} there"
        return lines, [Problem(f"output_dir {folder}", f"{show_bytes(room.free)} free", rule, remedy)]
    if need.most > room.total:
        lines.append(f"warning: {need.at_once:,} checkpoints do not fit at once: lower save_total_limit")
    return lines, []


def check_memory(
    need: MemoryNeed,
    available: int,
    *,
    device: torch.device,
    shape: str,
    batch_key: str = "per_device_train_batch_size",
) -> tuple[list[str], list[Problem]]:
    """Return lines on the memory and what stands against the run; `batch_key` is the setting that says how large."""
    needed = need.on(device)
    told = f"{show_bytes(needed)} needed, {show_bytes(available)} there"
    lines = [*need.lines(device, shape=shape), f"memory of {device.type}: {told}"]
    if needed > available:
        remedy = f"lower {batch_key} and raise gradient_accumulation_steps, or set gradient_checkpointing: true"
        return lines, [Problem(batch_key, shape, f"does not fit in memory: {told}", remedy)]
    if needed > CLOSE * available:
        lines.append(f"warning: memory is tight: {told}; the estimate is good to about 30 %")
    return lines, []


def find_room(folder: Path) -> Room:
    """Return the room for a run in `folder`, which may not exist yet.

    A run that goes on replaces its checkpoints one by one: they count as room, but for what is written beside them.
    """
    checkpoints = folder / CHECKPOINTS
    published = [each for each in checkpoints.glob("checkpoint-*") if each.is_dir()]
    return Room(free_bytes(folder), sum(_size(each) for each in published), len(published))


def find_available_memory(device: torch.device) -> int:
    """Return the bytes a run could have on `device`: on a CPU what is unused, and what this process holds."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    own = psutil.Process().memory_info().rss
    return min(psutil.virtual_memory().available, _left_in_container()) + own


def _left_in_container(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Return what a container's limit leaves; the file cache is given up when memory runs short."""
    limit, used = group / "memory.max", group / "memory.current"
    if not (limit.is_file() and used.is_file()) or limit.read_text().strip() == "max":
        return psutil.virtual_memory().total
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int(limit.read_text()) - int(used.read_text()) + int(stat["inactive_file"])


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
