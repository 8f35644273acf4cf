"""Measures each size."""

import statistics
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.checkpoint_stall.parts import share_out, timed
from bench.checkpoint_stall.sides import Sides, build_sides
from bench.figures import spread
from bench.quiet import quiet_libraries
from bench.report import Report, Table

STEPS_BETWEEN_SAVES = 500
"""The default of save_steps."""
SAVES = 7


@dataclass(frozen=True)
class Stall:
    """Seconds of each save, and the mean share of each part of ours."""

    plain: Sequence[float]
    ours: Sequence[float]
    shares: dict[str, float]


def add_options(parser: ArgumentParser) -> None:
    """Add sizes and place."""
    parser.add_argument("--parameters", type=float, nargs="+", default=[2.0, 20.0, 85.0], help="millions of each size")
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary folder by default")


def run(options: Namespace) -> Report:
    """Return how long saves of each size take; rounds are saves of each side that count."""
    quiet_libraries()
    rows, found = [], []
    for millions in [0.5] if options.quick else options.parameters:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            sides = build_sides(Path(folder), millions=millions)
            stall = measure(sides, rounds=options.rounds or (2 if options.quick else SAVES))
        rows.append(_row(sides, stall))
        found.append({"parameters": sides.parameters, "seconds_a_step": sides.seconds_a_step, **asdict(stall)})
    of_a_run = f"of a run, a save each {STEPS_BETWEEN_SAVES}"
    columns = ["parameters", "checkpoint", "plain Trainer", "hfpipe", of_a_run, "parts"]
    return Report([Table("Seconds of a save", columns, rows)], {"sizes": found})


def measure(sides: Sides, *, rounds: int) -> Stall:
    """Save in turns, and the side that begins changes from round to round; the first round is not counted."""
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    parts: list[dict[str, float]] = []
    for number in range(rounds + 1):
        for name in ("plain", "ours") if number % 2 else ("ours", "plain"):
            with timed() as found:
                started = time.perf_counter()
                sides.save(sides.plain if name == "plain" else sides.ours)
                seconds[name].append(time.perf_counter() - started)
            if name == "ours":
                parts.append(share_out(found))
    total = sum(seconds["ours"][1:])
    shares = {part: sum(each[part] for each in parts[1:]) / total for part in parts[0]}
    return Stall(seconds["plain"][1:], seconds["ours"][1:], shares)


def _row(sides: Sides, stall: Stall) -> list[str]:
    share = statistics.median(stall.ours) / (STEPS_BETWEEN_SAVES * sides.seconds_a_step + statistics.median(stall.ours))
    parts = ", ".join(f"{part} {100 * value:.0f} %" for part, value in stall.shares.items())
    size = f"{3 * 4 * sides.parameters / 1e6:,.0f} MB"
    times = [spread(seconds).told(2, " s") for seconds in (stall.plain, stall.ours)]
    return [f"{sides.parameters / 1e6:.1f} M", size, *times, f"{100 * share:.2f} %", parts]
