"""What a comparison found, and the table of all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.report import Table

Steps = Sequence[Mapping[str, float]]
"""Log events of the optimizer steps of a run, each with `loss` and `grad_norm`."""


@dataclass(frozen=True)
class Finding:
    """One row: what each side did, and how far each is from what is right, relative to it."""

    property: str
    plain: str
    ours: str
    plain_difference: float
    our_difference: float


def relative_difference(found: float, right: float) -> float:
    """Return how far `found` is from `right`, as a share of it; infinite where it is not a number."""
    difference = abs(found - right) / abs(right)
    return difference if difference == difference else float("inf")


def largest_difference(found: Steps, right: Steps) -> float:
    """Return the largest relative difference of loss and gradient norm over the steps of two runs.

    Raises:
        ValueError: If one run has more steps than the other.
    """
    pairs = zip(found, right, strict=True)
    return max(relative_difference(a[name], b[name]) for a, b in pairs for name in ("loss", "grad_norm"))


def first_loss_ratio(found: Steps, right: Steps) -> float:
    """Return the loss of the first step as a multiple of the right one."""
    return found[0]["loss"] / right[0]["loss"]


def tabulate(findings: Iterable[Finding]) -> Table:
    """Return the findings as a table."""
    columns = ["property", "plain Trainer", "hfpipe", "largest relative difference: plain, hfpipe"]
    rows = [
        [each.property, each.plain, each.ours, f"{_short(each.plain_difference)}, {_short(each.our_difference)}"]
        for each in findings
    ]
    return Table("What plain Trainer computes, and hfpipe", columns, rows)


def _short(difference: float) -> str:
    return "0" if difference == 0 else f"{difference:.2g}" if difference >= 1e-3 else f"{difference:.0e}"
