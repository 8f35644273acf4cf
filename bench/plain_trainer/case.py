"""Runs every comparison; what is being measured goes to stderr."""

import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from bench.plain_trainer.dangers import compare_dangers
from bench.plain_trainer.evaluations import BATCH_SIZES, compare_evaluations, run_evaluations, true_loss
from bench.plain_trainer.interruptions import MOVED_EPOCHS, compare_moved_run, compare_nan, compare_patience
from bench.plain_trainer.objectives import compare_class_weights, compare_smoothing
from bench.plain_trainer.processes import compare_rows, launch_two
from bench.plain_trainer.pushes import compare_pushes
from bench.plain_trainer.table import Finding, tabulate
from bench.plain_trainer.windows import CUTS, CUTS_ON_TWO, compare_cuts, run_cuts
from bench.plain_trainer.workshop import Workshop, furnish
from bench.quiet import quiet_libraries
from bench.report import Report

WINDOW_OF_EIGHT = "loss and grad_norm over 6 steps of 8, 8, 5 rows against 8x1"


def add_options(parser: ArgumentParser) -> None:
    """Add nothing: the comparisons are what they are, and tiny already."""


def run(options: Namespace) -> Report:
    """Return the table of all comparisons."""
    quiet_libraries()
    with tempfile.TemporaryDirectory() as folder:
        findings = list(compare_all(furnish(Path(folder))))
    return Report([tabulate(findings)], {"findings": [asdict(each) for each in findings]})


def compare_all(workshop: Workshop) -> Iterator[Finding]:
    """Yield the findings in the order of the table."""
    _tell("windows in one process")
    one = run_cuts(workshop, workshop.cases(), CUTS)
    _tell("two processes")
    two = launch_two(workshop)
    yield from compare_cuts(one, one, CUTS[1:], WINDOW_OF_EIGHT)
    yield from compare_cuts(two["windows"], one, CUTS_ON_TWO, f"{WINDOW_OF_EIGHT} on 1, now on 2 processes")
    _tell("evaluations")
    sizes = {str(size): size for size in BATCH_SIZES}
    cases = (
        (workshop.classifier("bert"), "classifier", "a classifier (bert)"),
        (workshop.causal_lm(), "causal_lm", "a causal LM"),
    )
    for case, key, title in cases:
        found = [run_evaluations(workshop, case, sizes), two[f"{key}_loss"]]
        yield compare_evaluations(found, true_loss(workshop, case), f"eval_loss of {title} by batch size")
    _tell("objectives")
    yield compare_smoothing(workshop)
    yield compare_class_weights(workshop)
    _tell("interruptions")
    yield compare_nan(workshop)
    for epochs_done in (2, MOVED_EPOCHS):
        yield compare_moved_run(workshop, epochs_done=epochs_done)
    yield compare_patience(workshop)
    yield compare_rows(two["plain_rows"], two["our_rows"])
    _tell("dangers")
    yield from compare_dangers(workshop)
    _tell("pushes")
    yield from compare_pushes(workshop)


def _tell(what: str) -> None:
    print(f"plain_trainer: {what}", file=sys.stderr)
