"""Measures each size and prints the table; what is being measured goes to stderr."""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

from bench.checkpoint_stall.parts import share_out, timed
from bench.checkpoint_stall.sides import Sides, build_sides

STEPS_BETWEEN_SAVES = 500
"""The default of save_steps."""


@dataclass(frozen=True)
class Stall:
    """Seconds of each save, and the mean share of each part of ours."""

    plain: Sequence[float]
    ours: Sequence[float]
    shares: dict[str, float]


def main() -> None:
    """Print the table of all sizes."""
    options = _read_options()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(f"| parameters | checkpoint | plain Trainer | hfpipe | of a run, a save each {STEPS_BETWEEN_SAVES} | parts |")
    print("| --- | --- | --- | --- | --- | --- |")
    for millions in options.parameters:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            sides = build_sides(Path(folder), millions=millions)
            print(_row(sides, measure(sides, rounds=options.rounds)), flush=True)
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    print(f"checkpoint_stall: {versions}, threads {torch.get_num_threads()}", file=sys.stderr)


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


def _row(sides: Sides, stall: Stall) -> str:
    share = statistics.median(stall.ours) / (STEPS_BETWEEN_SAVES * sides.seconds_a_step + statistics.median(stall.ours))
    parts = ", ".join(f"{part} {100 * value:.0f} %" for part, value in stall.shares.items())
    size = f"{3 * 4 * sides.parameters / 1e6:,.0f} MB"
    cells = (f"{sides.parameters / 1e6:.1f} M", size, _spread(stall.plain), _spread(stall.ours), f"{100 * share:.2f} %")
    return f"| {' | '.join((*cells, parts))} |"


def _spread(seconds: Sequence[float]) -> str:
    """Return median, smallest and largest, and how many there are."""
    middle = statistics.median(seconds)
    return f"{middle:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} saves)"


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.checkpoint_stall")
    parser.add_argument("--parameters", type=float, nargs="+", default=[2.0, 20.0, 85.0], help="millions of each size")
    parser.add_argument("--rounds", type=int, default=7, help="saves of each side that count")
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary folder by default")
    return parser.parse_args()


if __name__ == "__main__":
    main()
