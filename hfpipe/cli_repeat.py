"""The command `hfpipe repeat`: one run of a file for each of several seeds."""

import sys
from typing import Annotated

import typer

from hfpipe.cli_options import Accelerate, MaxRestarts, Overrides, RunFile


def repeat(
    file: RunFile,
    seeds: Annotated[str, typer.Option(metavar="1,2,3", help="The seeds, a run each.")],
    overrides: Overrides = None,
    accelerate: Accelerate = None,
    max_restarts: MaxRestarts = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and list the runs, and stop.")] = False,
) -> None:
    """Train once a seed on the same rows: mean and spread; the best on validation is kept, and its test part scored."""
    from hfpipe.config.stopping import heeded_signals
    from hfpipe.studies.plan import Launching, check_runs, plan_repeat
    from hfpipe.studies.repeat import Surroundings, open_study, run_study
    from hfpipe.studies.tables import describe_plan, describe_study

    with heeded_signals():
        study = plan_repeat(file, overrides or [], seeds=seeds, launching=Launching(accelerate, max_restarts))
        open_study(study)
        check_runs(study)
        if dry_run:
            print("\n".join(describe_plan(study)))
            return
        code = run_study(study, Surroundings(lambda line: print(line, file=sys.stderr, flush=True)))
        if code == 0:
            print("\n".join(describe_study(study)))
        raise typer.Exit(code)
