"""The command `hfpipe report`: draws the report of a run anew, or compares several runs."""

from pathlib import Path
from typing import Annotated

import typer

from hfpipe.cli_options import Overwrite

STDOUT = Path("-")
COMPARISON_FILE = Path("comparison.html")


def report(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="The output_dir of one run or more.")],
    output: Annotated[
        Path | None,
        typer.Option(help="A .html file; without it report.html of the one run, or comparison.html here."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw the report of a run anew from its files, without the model; of several runs, compare them."""
    from hfpipe.inference.tables import check_output
    from hfpipe.records.durable import write_whole
    from hfpipe.records.run_directory import RUN_FILE, read_json

    for run_dir in run_dirs:
        read_json(run_dir / RUN_FILE)  # before what takes long is imported
    is_own = output is None and len(run_dirs) == 1
    if not is_own:
        check_output(output or COMPARISON_FILE, suffixes=(".html",), overwrite=overwrite)
    from hfpipe.records.run_directory import REPORT_FILE
    from hfpipe.report.page import build_report

    page = build_report(run_dirs)
    if output == STDOUT:
        print(page)
        return
    written = run_dirs[0] / REPORT_FILE if is_own else output or COMPARISON_FILE
    write_whole(written, page)
    print(f"wrote {written}")
