"""Times training steps with and without pushing, in turns, and returns the medians over the rounds.

    python -m bench hub_stall [--rounds 5]

The steps are real ones of a small model; every tenth is followed by a save that is recorded to be pushed, with weights
of 20 MB. The Hub is the one of the tests, in a thread of this process.
"""

import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from hub_runs import save_run
from hub_server import Fault, HubServer
from offline import HUB_PORT
from safetensors.numpy import save_file

from bench.report import Report, Table
from hfpipe.config import load_config
from hfpipe.hub.repository import Target
from hfpipe.training.pushing import RunPusher

STEPS, STEPS_BETWEEN_SAVES, WARM_UP = 60, 10, 5
WEIGHTS = 5_000_000
HUBS = ("none", "answers", "hangs")
ROUNDS = 5


def add_options(parser: ArgumentParser) -> None:
    """Add nothing: rounds are enough."""


def run(options: Namespace) -> Report:
    """Return the median step and the longest call that records a save, by what the Hub does."""
    rounds = options.rounds or (2 if options.quick else ROUNDS)
    times: dict[str, list[float]] = {hub: [] for hub in HUBS}
    calls: dict[str, list[float]] = {hub: [] for hub in HUBS}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for hub in HUBS:
            with tempfile.TemporaryDirectory() as folder, _pushing(Path(folder) / "run", hub) as pusher:
                steps, saves = _train(pusher, Path(folder) / "run")
            times[hub].append(statistics.median(steps))
            calls[hub] += saves
    columns = ["Hub", "median step", "against none", "a save recorded: median, longest"]
    rows = [_row(hub, times, calls[hub]) for hub in HUBS]
    return Report([Table("Training steps beside a Hub", columns, rows)], {"steps": times, "saves": calls})


def _row(hub: str, times: dict[str, list[float]], calls: list[float]) -> list[str]:
    step, none = statistics.median(times[hub]), statistics.median(times["none"])
    saves = [1e3 * seconds for seconds in calls] or [0.0]
    told = f"{statistics.median(saves):.0f} ms, {max(saves):.0f} ms"
    return [hub, f"{1e3 * step:.1f} ms", f"{step / none - 1:+.1%}", told]


@contextmanager
def _pushing(run_dir: Path, hub: str) -> Iterator[RunPusher | None]:
    save_run(run_dir)
    (run_dir / "history.jsonl").unlink()
    if hub == "none":
        yield None
        return
    with HubServer(HUB_PORT) as server:
        if hub == "hangs":
            server.faults.append(Fault("*", "", seconds=600.0, times=999))
        words = ["--train_file", "x.csv", "--model_name_or_path", "owner/model", "--output_dir", str(run_dir)]
        config = load_config(
            [*words, "--push_to_hub", "true", "--hub_strategy", "every_save"], recipe="finetune_classifier"
        )
        pusher = RunPusher(config, Target("tester/reviews"))
        pusher.begin(0)
        time.sleep(3.0)  # the start of the delivering process, once a run, is not what is measured
        yield pusher
        pusher.uploads.close()


def _train(pusher: RunPusher | None, run_dir: Path) -> tuple[list[float], list[float]]:
    """Return the seconds of each step, and of each save being recorded."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(1024, 1024) for _ in range(8)))
    optimizer = torch.optim.AdamW(model.parameters())
    rows = torch.randn(64, 1024)
    steps, saves = [], []
    for step in range(1, STEPS + WARM_UP + 1):
        began = time.perf_counter()
        model(rows).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        steps.append(time.perf_counter() - began)
        if step % STEPS_BETWEEN_SAVES == 0:
            _save(run_dir, step)
            began = time.perf_counter()
            if pusher is not None:
                pusher.push_save(step)
                saves.append(time.perf_counter() - began)
    return steps[WARM_UP:], saves


def _save(run_dir: Path, step: int) -> None:
    folder = run_dir / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir()
    save_file({"weight": np.full(WEIGHTS, step, np.float32)}, folder / "model.safetensors")
    (folder / "trainer_state.json").write_text("{}")
    (folder / "config.json").write_text("{}")
