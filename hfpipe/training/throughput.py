"""The pace of training in every log event: tokens a second, the share of the machine's limit, memory.

Tokens are those of texts, over all processes; `padded_tokens_per_second`, which is there where layers compute padding,
counts it too. The time is that of steps and of waiting for data: evaluations, saves and what follows them are left
out. `mfu` comes in once a session has trained for a minute, for on a CPU the limit has to be measured (0.3 s).

The decision worth knowing: these are facts of a session, not of the run. They never enter the state of a checkpoint,
and a run that goes on has others, so no promise of equal histories includes them.
"""

import resource
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.models.compute import TokenCost, find_gpu_limit, probe_limit

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

SECONDS_BEFORE_PROBE = 60.0
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Work:
    """Tokens of texts, tokens with the padding computed, and pairs that attend to each other, of one process."""

    tokens: float = 0.0
    padded_tokens: float = 0.0
    pairs: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """Return the work of both."""
        return Work(self.tokens + other.tokens, self.padded_tokens + other.padded_tokens, self.pairs + other.pairs)


def count_work(batches: Iterable[Mapping[str, torch.Tensor]], *, padding_free: bool = False) -> Work:
    """Return the work in micro-batches as they come from the loader; one without a mask has no padding.

    With `padding_free` layers leave padding out. What they may keep of it, a few positions a row, is not counted then.
    """
    work = Work()
    for batch in batches:
        ids, mask = batch["input_ids"], batch.get("attention_mask")
        lengths = mask.sum(dim=-1) if mask is not None and mask.ndim == 2 else torch.full(ids.shape[:1], ids.shape[-1])
        tokens = float(lengths.sum())
        work += Work(tokens, tokens if padding_free else float(ids.numel()), float((lengths.double() ** 2).sum()))
    return work


@dataclass(frozen=True)
class Pace:
    """What processes did together in so many seconds; `limit` is their operations a second, 0 where not known."""

    work: Work
    seconds: float
    limit: float
    peak_memory: float

    def describe(self, cost: TokenCost) -> dict[str, float]:
        """Return the values by name, those that are not known left out."""
        if not (self.work.tokens and self.seconds > 0):
            return {}
        told = {"tokens_per_second": round(self.work.tokens / self.seconds, 1)}
        if self.work.padded_tokens > self.work.tokens:
            told["padded_tokens_per_second"] = round(self.work.padded_tokens / self.seconds, 1)
        if self.limit:
            told["mfu"] = round(cost.of(self.work.tokens, self.work.pairs) / self.seconds / self.limit, 4)
        return {**told, "peak_memory_mb": round(self.peak_memory / MEGABYTE, 1)}


class Stopwatch:
    """Seconds of steps and of waiting for data: since the last log event, and in all."""

    def __init__(self) -> None:
        self.seconds = self.total = 0.0
        self._since = time.perf_counter()
        self._is_held = True

    def go_on(self) -> None:
        """Begin a step: what was held up to now is left out, a wait for its data is not."""
        if self._is_held:
            self._since = time.perf_counter()
        self._is_held = False

    def note(self) -> None:
        """End a step: its time counts."""
        now = time.perf_counter()
        self.seconds += now - self._since
        self.total += now - self._since
        self._since = now

    def hold(self) -> None:
        """Leave out everything until the next step begins."""
        self._is_held = True


class Throughput(TrainerCallback):
    """Puts the pace into log events of training; goes before callbacks that write them down."""

    def __init__(self, trainer: "PlannedTrainer") -> None:
        self.trainer = trainer
        self.padding_free = False  # whether layers leave padding out
        self.watch = Stopwatch()
        self.work = Work()
        self.all_work = Work()
        self._limit: float | None = None

    def count(self, batches: Iterable[Mapping[str, torch.Tensor]]) -> None:
        """Count the micro-batches of the step that begins."""
        self.work += count_work(batches, padding_free=self.padding_free)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin to count; the wait for the first batch is part of the start."""
        self.watch, self.work, self.all_work = Stopwatch(), Work(), Work()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let the clock go on."""
        self.watch.go_on()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count the time of the step."""
        if args.device.type == "cuda" and control.should_log:
            torch.cuda.synchronize()
        self.watch.note()

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave the evaluation out, and what others do after it."""
        self.watch.hold()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave the save out."""
        self.watch.hold()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add the pace since the last event, in every process alike."""
        if logs is None or "loss" not in logs:
            return
        logs |= self._gather(self.work, self.watch.seconds).describe(self.trainer.token_cost)
        self.all_work += self.work
        self.work, self.watch.seconds = Work(), 0.0

    def summarise(self) -> dict[str, float]:
        """Return the pace of the whole session under Trainer's prefix; all processes have to call this."""
        self.all_work += self.work
        self.work = Work()
        told = self._gather(self.all_work, self.watch.total).describe(self.trainer.token_cost)
        return {f"train_{name}": value for name, value in told.items()}

    def _gather(self, work: Work, seconds: float) -> Pace:
        """Return what all processes did; the slowest says how long it took, the fullest how much it needs."""
        own = [
            work.tokens,
            work.padded_tokens,
            work.pairs,
            seconds,
            self._find_limit(),
            measure_peak_memory(self.trainer),
        ]
        row = torch.tensor([own], dtype=torch.float64, device=_gathering_device(self.trainer))
        table = self.trainer.accelerator.gather(row).double().cpu()
        *counts, _, limit, _ = table.sum(dim=0).tolist()
        *_, slowest, _, fullest = table.max(dim=0).values.tolist()
        everywhere = bool((table[:, -2] > 0).all())
        return Pace(Work(*counts), slowest, limit if everywhere else 0.0, fullest)

    def _find_limit(self) -> float:
        if self._limit is None and self.watch.total >= SECONDS_BEFORE_PROBE:
            self._limit = find_limit(self.trainer)
            self.watch.hold()
        return self._limit or 0.0


def find_limit(trainer: "PlannedTrainer") -> float:
    """Return the operations a second this process could compute at most in the run's precision, 0 where not known."""
    args = trainer.args
    dtype = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else torch.float32
    if args.device.type == "cuda":
        return find_gpu_limit(torch.cuda.get_device_name(args.device), dtype) or 0.0
    return probe_limit(args.device, dtype) if args.device.type == "cpu" else 0.0


def _gathering_device(trainer: "PlannedTrainer") -> torch.device:
    return trainer.accelerator.device if trainer.args.world_size > 1 else torch.device("cpu")


def measure_peak_memory(trainer: "PlannedTrainer") -> float:
    """Return the most bytes this process has held: of its GPU what tensors took, else of the machine."""
    if trainer.args.device.type == "cuda":
        return float(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
