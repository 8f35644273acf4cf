"""A few steps of a run looked at: first with a clock alone, then under the profiler, which makes them slower.

The callback ends the run once it knows enough, by raising what it found; nothing behind the steps is wanted. Share of
the limit and operations are those of `models/compute.py`, and the limit is measured here and now, by large products.
"""

import gc
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.config.stepping import ProfileWindow
from hfpipe.models.compute import probe_limit
from hfpipe.models.hardware import has_bfloat16
from hfpipe.records.disk import show_bytes
from hfpipe.training.operator_kinds import sort_times
from hfpipe.training.throughput import Work, find_limit, measure_peak_memory

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

TRACE_FILE = "trace.json"
"""Where the trace lies in the run directory."""


@dataclass(frozen=True)
class StepProfile:
    """What a step of a run is made of; `limits` are operations a second by the name of a type, measured beside it.

    `limit` is that of the run's precision, 0 where it is not known; on a GPU it may be the maker's.
    """

    steps: int
    seconds_per_step: float
    first_step_seconds: float
    shares: Mapping[str, float]
    work_per_step: Work
    operations_per_step: float
    precision: str
    limit: float
    limits: Mapping[str, float]
    peak_memory: int

    @property
    def operations_per_second(self) -> float:
        """Floating-point operations of the model a second, by count, not as traced."""
        return self.operations_per_step / self.seconds_per_step

    @property
    def mfu(self) -> float | None:
        """The share of the machine's limit that goes into the model, None where the limit is not known."""
        return self.operations_per_second / self.limit if self.limit else None

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield kind of work, seconds a step and share, as a table has them."""
        yield "kind of work", "s a step", "share"
        for kind, share in self.shares.items():
            yield kind, f"{share * self.seconds_per_step:.4f}", f"{100 * share:.1f} %"
        yield "all", f"{self.seconds_per_step:.4f}", "100.0 %"

    def lines(self) -> Iterator[str]:
        """Yield what goes with the table, a fact a line."""
        tokens, padded = self.work_per_step.tokens, self.work_per_step.padded_tokens
        padding = f" ({padded / self.seconds_per_step:,.0f} with padding)" if padded > tokens else ""
        yield f"tokens per second: {tokens / self.seconds_per_step:,.0f}{padding}; {tokens:,.0f} tokens a step"
        limits = ", ".join(f"{name} {limit / 1e9:,.0f}" for name, limit in self.limits.items())
        share = "" if self.mfu is None else f"; MFU {100 * self.mfu:.1f} % of the limit in {self.precision}"
        yield f"operations: {self.operations_per_second / 1e9:,.1f} GFLOP/s{share}"
        yield f"limit of matrix products, measured: {limits} GFLOP/s"
        yield f"peak memory: {show_bytes(self.peak_memory)}"
        yield f"time to the end of the first step: {self.first_step_seconds:,.1f} s from the start of the process"
        yield f"{self.steps:,} steps by the clock; shares from further ones under the profiler"


class Profiled(Exception):
    """The steps are made and looked at: the run has nothing more to do."""

    def __init__(self, found: StepProfile) -> None:
        super().__init__("profiled")
        self.found = found


class ProfileSteps(TrainerCallback):
    """Watches the steps of a run that is there to be profiled, and ends it."""

    def __init__(self, trainer: "PlannedTrainer", window: ProfileWindow, trace: Path) -> None:
        self.trainer = trainer
        self.window = window
        self.trace = trace
        self._first = self._began = self._seconds = 0.0
        self._work = Work()
        on_gpu = trainer.args.device.type == "cuda"
        self._profiler = profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])], acc_events=True
        )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Begin and end each stretch after its step.

        Raises:
            Profiled: After the last one.
        """
        step, window = state.global_step, self.window
        if step == 1:
            self._first = _seconds_since_start()
        if step == window.warm_up:
            gc.collect()
            self.trainer.throughput.work = Work()
            self._began = _now(args.device)
        if step == window.warm_up + window.measured:
            self._seconds = (_now(args.device) - self._began) / window.measured
            self._work = self.trainer.throughput.work
            self._profiler.start()
            self._began = _now(args.device)
        if step == window.steps:
            traced = _now(args.device) - self._began
            self._profiler.stop()
            self._profiler.export_chrome_trace(str(self.trace))
            raise Profiled(self._sum_up(traced))

    def _sum_up(self, traced_seconds: float) -> StepProfile:
        trainer, device = self.trainer, self.trainer.args.device
        events = self._profiler.events()
        shares = sort_times(events or [], wall_microseconds=traced_seconds * 1e6, on_gpu=device.type == "cuda")
        work, steps = self._work, self.window.measured
        per_step = Work(work.tokens / steps, work.padded_tokens / steps, work.pairs / steps)
        peak_memory = round(measure_peak_memory(trainer))
        types = [torch.float32, *([torch.bfloat16] if has_bfloat16(use_cpu=device.type == "cpu") else [])]
        return StepProfile(
            steps=steps,
            seconds_per_step=self._seconds,
            first_step_seconds=self._first,
            shares=shares,
            work_per_step=per_step,
            operations_per_step=trainer.token_cost.of(per_step.tokens, per_step.pairs),
            precision="bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "float32",
            limit=find_limit(trainer),
            limits={str(dtype).removeprefix("torch."): probe_limit(device, dtype) for dtype in types},
            peak_memory=peak_memory,
        )


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _seconds_since_start() -> float:
    return time.time() - psutil.Process().create_time()
