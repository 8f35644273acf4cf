"""The command `hfpipe profile`: what a training step of a run is made of."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hfpipe.cli_options import Overrides, Overwrite, RunFile


def profile(
    file: RunFile,
    overrides: Overrides = None,
    warm_up: Annotated[int, typer.Option(min=1, metavar="N", help="Steps made before anything is measured.")] = 3,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Steps measured.")] = 5,
    trace: Annotated[
        Path | None, typer.Option(help="A .json file for Perfetto (ui.perfetto.dev) with every operation.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a few training steps and say where their time goes; the run's own directory is not touched."""
    from hfpipe.config.resolve import load_config
    from hfpipe.config.shipped import find_named_run
    from hfpipe.config.stepping import ProfileWindow
    from hfpipe.inference.tables import check_output

    config = load_config(["--config", str(find_named_run(file)), *(overrides or [])])
    if trace is not None:
        check_output(trace, suffixes=(".json",), option="--trace", overwrite=overwrite)
    # read when torch is imported: its profiler writes lines of its own to stderr
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from hfpipe.config.stopping import heeded_signals
    from hfpipe.training.profiling import profile_run

    with heeded_signals("nothing was kept"):
        found = profile_run(config, ProfileWindow(warm_up, steps), trace=trace)
    rows = list(found.rows())
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for kind, seconds, share in rows:
        print(f"{kind.ljust(widths[0])}  {seconds.rjust(widths[1])}  {share.rjust(widths[2])}")
    print()
    print("\n".join(found.lines()))
    if trace is not None:
        print(f"wrote {trace}: open it at ui.perfetto.dev or chrome://tracing", file=sys.stderr)
