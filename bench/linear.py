"""Does the cost stay linear in the work? The first and last tenth of a run, and two processes against one.

    python -m bench linear --steps 200 --steps-a-round 60 --rounds 4

A long run must not slow down as it goes: the machine's own limit is measured in the same turns, since a shared machine
may. And two processes with a thread each should do nearly what one process with two threads does, on the same rows a
step; they meet over gloo, on the CPU, started by torchrun. What they exchange grows with the model, what they compute
with model and tokens, so it is the tokens of a step that count: 4,096, as in `pretrain`.
"""

import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.command import limit_threads
from bench.figures import Spread, paired_ratio, rate, significant, spread
from bench.made_up import Shape
from bench.paced import TOKENS
from bench.pretrain import Job, play_ours, prepare
from bench.probe import limit_players
from bench.report import Report, Table
from bench.turns import Player, Sample, do_apart, take_turns

SMALL = Shape(4, 256, 4, 8_192, rows=8, length=512)
TINY = Shape(2, 64, 2, 512, rows=4, length=32)
WARM_UP = 3
LIMIT_SECONDS = 1_200.0
PROCESSES = (1, 2)
"""With two threads and with one each."""
RESAMPLES = 2_000


@dataclass(frozen=True)
class Tenths:
    """Work a second in the first and last tenth of a run, and how many times the first one the last one is.

    The ends of the ratio are those of 95 of 100 ratios of resampled steps.
    """

    first: float
    last: float
    ratio: Spread


def add_options(parser: ArgumentParser) -> None:
    """Add lengths."""
    parser.add_argument("--steps", type=int, default=200, help="steps of the run whose tenths are compared")
    parser.add_argument("--steps-a-round", type=int, default=60, help="steps of each run of one or two processes")


def run(options: Namespace) -> Report:
    """Measure both; rounds are those of one and two processes."""
    steps = 20 if options.quick else max(options.steps, 10)
    rounds = options.rounds or (2 if options.quick else 4)
    steps_a_round = 5 if options.quick else options.steps_a_round
    shape = TINY if options.quick else SMALL
    with tempfile.TemporaryDirectory() as name:
        job = Job(Path(name), shape, WARM_UP + max(steps, steps_a_round))
        do_apart(partial(prepare, job))
        tenths, tenths_data = compare_tenths(job, steps)
        processes, processes_data = compare_processes(job, steps_a_round, rounds)
    batch = f"{shape.rows}x{shape.length} tokens a step"
    note = f"GPT-2 {shape.layers}x{shape.width}, vocabulary {shape.vocabulary:,}, {batch}"
    return Report([tenths, processes], {"tenths": tenths_data, "processes": processes_data}, [note])


def compare_tenths(job: Job, steps: int) -> tuple[Table, dict[str, Any]]:
    """Return work a second in the first and last tenth of a run of so many steps that count."""
    job = Job(job.folder, job.shape, WARM_UP + steps)
    players = [Player("hfpipe", partial(play_ours, job)), *limit_players(job.steps, names=["limit bfloat16"])]
    rows, data = [], {}
    for record in take_turns(players, warm_up=WARM_UP):
        what, scale = (f"{TOKENS}/s", 1.0) if record.name == "hfpipe" else ("GFLOP/s", 1e9)
        found = {clock: find_tenths(record.counted, clock) for clock in ("wall", "cpu")}
        data[record.name] = {
            **{clock: asdict(each) for clock, each in found.items()},
            "samples": [[one.wall, one.cpu, one.work] for one in record.samples],
        }
        numbers = [significant(value / scale, 4) for each in found.values() for value in (each.first, each.last)]
        rows.append([f"{record.name}, {what}", *numbers, *(each.ratio.told(unit="x") for each in found.values())])
    columns = ["", "first tenth, wall", "last tenth", "first tenth, CPU", "last tenth", "last by first, wall", "by CPU"]
    return Table(f"A run of {steps} steps, by its tenths", columns, rows), data


def find_tenths(samples: Sequence[Sample], clock: str) -> Tenths:
    """Return the tenths of a run's turns by the 'wall' or the 'cpu' clock."""
    size = max(1, len(samples) // 10)
    parts = samples[:size], samples[-size:]
    seconds = [[one.wall if clock == "wall" else one.cpu for one in part] for part in parts]
    first, last = (rate([one.work for one in part], spent) for part, spent in zip(parts, seconds, strict=True))
    draws = np.random.default_rng(0)
    firsts, lasts = (np.median(draws.choice(spent, size=(RESAMPLES, size)), axis=1) for spent in seconds)
    low, high = np.quantile(firsts / lasts, [0.025, 0.975]).tolist()
    return Tenths(first, last, Spread(last / first, low, high, size))


def compare_processes(job: Job, steps: int, rounds: int) -> tuple[Table, dict[str, Any]]:
    """Return tokens a second of one process with two threads and of two with one each, in turns."""
    found: dict[int, list[float]] = {processes: [] for processes in PROCESSES}
    for number in range(rounds):
        for processes in PROCESSES if number % 2 == 0 else PROCESSES[::-1]:
            seconds = _launch(job, processes, WARM_UP + steps, name=f"run-{number}-{processes}")[WARM_UP:]
            work = [float(job.shape.rows * job.shape.length)] * len(seconds)
            found[processes].append(rate(work, seconds))
    one, two = (found[processes] for processes in PROCESSES)
    ratio = paired_ratio(two, one)
    rows = [
        ["one process, two threads", _tell(spread(one)), "1"],
        ["two processes, a thread each", _tell(spread(two)), ratio.told(unit="x")],
    ]
    columns = ["", f"{TOKENS}/s: median (lowest to highest)", "times one process (quartiles)"]
    table = Table(f"Two processes against one, {rounds} rounds of {steps} steps", columns, rows)
    return table, {**{str(processes): rates for processes, rates in found.items()}, "ratio": asdict(ratio)}


def _launch(job: Job, processes: int, steps: int, *, name: str) -> list[float]:
    """Run so many steps in so many processes and return the seconds of each step."""
    out = job.folder / f"{name}.json"
    shape = job.shape
    told = {
        "folder": str(job.folder),
        "shape": [shape.layers, shape.width, shape.heads, shape.vocabulary, shape.rows // processes, shape.length],
        "steps": steps,
        "name": name,
    }
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    words = [sys.executable, *(torchrun if processes > 1 else []), "-m", "bench.linear_worker", json.dumps(told)]
    root = str(Path(__file__).parents[1])
    environment = {
        **os.environ,
        **limit_threads(PROCESSES[-1] // processes),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    if done.returncode or not out.exists():
        raise SystemExit(f"{processes} processes: ended with {done.returncode}:\n{done.stderr[-3000:]}")
    seconds: list[float] = json.loads(out.read_text())
    return seconds


def _tell(found: Spread) -> str:
    return found.told(digits=4)
