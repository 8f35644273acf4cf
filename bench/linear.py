"""Does the cost stay linear in the work? The first and last tenth of a run, and two processes against one.

    python -m bench linear --steps 200

A long run must not slow down as it goes: the machine's own limit is measured in the same turns, since a shared machine
may. And two processes with a thread each should do nearly what one process with two threads does, on the same rows a
step; they meet over gloo, on the CPU, started by torchrun.
"""

import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.figures import Spread, rate, significant, spread
from bench.made_up import Shape
from bench.paced import TOKENS
from bench.pretrain import Job, play_ours, prepare
from bench.probe import limit_players
from bench.report import Report, Table
from bench.turns import Player, Record, Sample, do_apart, take_turns

SMALL = Shape(4, 256, 4, 8_192, rows=8, length=256)
TINY = Shape(2, 64, 2, 512, rows=4, length=32)
WARM_UP = 3
LIMIT_SECONDS = 600.0
PROCESSES = (1, 2)
"""With two threads and with one each."""


def add_options(parser: ArgumentParser) -> None:
    """Add lengths."""
    parser.add_argument("--steps", type=int, default=100, help="steps of the run whose tenths are compared")
    parser.add_argument("--steps-a-round", type=int, default=20, help="steps of each run of one or two processes")


def run(options: Namespace) -> Report:
    """Measure both."""
    steps = 20 if options.quick else max(options.steps, 10)
    rounds = options.rounds or (2 if options.quick else 4)
    steps_a_round = 5 if options.quick else options.steps_a_round
    shape = TINY if options.quick else SMALL
    with tempfile.TemporaryDirectory() as name:
        job = Job(Path(name), shape, WARM_UP + max(steps, steps_a_round))
        do_apart(partial(prepare, job))
        tenths, tenths_data = compare_tenths(job, WARM_UP + steps)
        processes, processes_data = compare_processes(job, WARM_UP + steps_a_round, rounds)
    return Report([tenths, processes], {"tenths": tenths_data, "processes": processes_data})


def compare_tenths(job: Job, steps: int) -> tuple[Table, dict[str, dict[str, float]]]:
    """Return tokens a second in the first and last tenth of a run."""
    players = [Player("hfpipe", partial(play_ours, job)), *limit_players(steps, names=["limit bfloat16"])]
    rows, data = [], {}
    for record in take_turns(players, warm_up=WARM_UP):
        found = tenths_of(record)
        what = f"{TOKENS}/s" if record.name == "hfpipe" else "FLOP/s"
        data[record.name] = found
        numbers = [significant(found[name], 4) for name in ("first", "last", "first_cpu", "last_cpu")]
        ratios = [f"{found[f'last{clock}'] / found[f'first{clock}']:.3f}" for clock in ("", "_cpu")]
        rows.append([f"{record.name}, {what}", *numbers, *ratios])
    columns = ["", "first tenth, wall", "last tenth", "first tenth, CPU", "last tenth", "last by first, wall", "by CPU"]
    return Table(f"A run of {steps - WARM_UP} steps, by its tenths", columns, rows), data


def tenths_of(record: Record) -> dict[str, float]:
    """Return work a second in the first and in the last tenth of the turns that count, by wall and by CPU."""
    size = max(1, len(record.counted) // 10)
    first, last = record.counted[:size], record.counted[-size:]

    def rate_of(samples: Sequence[Sample], clock: str) -> float:
        seconds = [one.wall if clock == "wall" else one.cpu for one in samples]
        return rate([one.work for one in samples], seconds)

    return {
        "first": rate_of(first, "wall"),
        "last": rate_of(last, "wall"),
        "first_cpu": rate_of(first, "cpu"),
        "last_cpu": rate_of(last, "cpu"),
    }


def compare_processes(job: Job, steps: int, rounds: int) -> tuple[Table, dict[str, list[float]]]:
    """Return tokens a second of one process with two threads and of two with one each, in turns."""
    found: dict[int, list[float]] = {processes: [] for processes in PROCESSES}
    for number in range(rounds):
        for processes in PROCESSES if number % 2 == 0 else PROCESSES[::-1]:
            seconds = _launch(job, processes, steps, name=f"run-{number}-{processes}")[WARM_UP:]
            work = [float(job.shape.rows * job.shape.length)] * len(seconds)
            found[processes].append(rate(work, seconds))
    one, two = (found[processes] for processes in PROCESSES)
    ratio = spread([b / a for a, b in zip(one, two, strict=True)])
    rows = [
        ["one process, two threads", _tell(spread(one)), "1"],
        ["two processes, a thread each", _tell(spread(two)), ratio.told(unit="x")],
    ]
    columns = ["", f"{TOKENS}/s: median (lowest to highest)", "times one process"]
    table = Table(f"Two processes against one, {rounds} rounds of {steps - WARM_UP} steps", columns, rows)
    return table, {str(processes): rates for processes, rates in found.items()}


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
        "OMP_NUM_THREADS": str(PROCESSES[-1] // processes),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    if not out.exists():
        raise SystemExit(f"{processes} processes: no steps:\n{done.stderr[-3000:]}")
    seconds: list[float] = json.loads(out.read_text())
    return seconds


def _tell(found: Spread) -> str:
    return found.told(digits=4)
