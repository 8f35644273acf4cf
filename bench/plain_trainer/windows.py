"""Losses and gradients of a window of eight rows, cut into micro-batches and dealt out to processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.plain_trainer import ours
from bench.plain_trainer.plain import build_plain, plain_arguments, train_plain
from bench.plain_trainer.table import Finding, Steps, first_loss_ratio, largest_difference
from bench.plain_trainer.workshop import Case, Workshop, feed


@dataclass(frozen=True)
class Cut:
    """How the eight rows of a step come together."""

    rows: int
    micro_batches: int
    processes: int = 1

    @property
    def name(self) -> str:
        """As in '2x4', or '2x2 on 2' processes."""
        return f"{self.rows}x{self.micro_batches}" + (f" on {self.processes}" if self.processes > 1 else "")


WHOLE = Cut(8, 1)
CUTS = (WHOLE, Cut(4, 2), Cut(2, 4))
CUTS_ON_TWO = (Cut(4, 1, 2), Cut(2, 2, 2))

StepsByCut = Mapping[str, Steps]
Runs = Mapping[str, Mapping[str, StepsByCut]]
"""Steps by side ('plain', 'ours'), name of the case and name of the cut."""


def run_cuts(workshop: Workshop, cases: Sequence[Case], cuts: Sequence[Cut]) -> Runs:
    """Return the steps of every case and cut on both sides, in the processes there are."""
    plain, our = {}, {}
    for case in cases:
        plain[case.name] = _run_plain(workshop, case, cuts)
        our[case.name] = {cut.name: _run_ours(case, cut, _directory(workshop, "ours", case, cut)) for cut in cuts}
    return {"plain": plain, "ours": our}


def compare_cuts(runs: Runs, right: Runs, cuts: Sequence[Cut], what: str) -> list[Finding]:
    """Return one finding for the classifiers and one for the language model; right is 8x1 of `right`."""
    names = list(runs["plain"])
    groups = {
        f"classifiers ({', '.join(names[:-1])})": names[:-1],
        names[-1]: names[-1:],
    }
    return [_finding(f"{title}: {what}", members, runs, right, cuts) for title, members in groups.items()]


def _finding(title: str, members: Sequence[str], runs: Runs, right: Runs, cuts: Sequence[Cut]) -> Finding:
    told: dict[str, str] = {}
    largest: dict[str, float] = {}
    for side in ("plain", "ours"):
        pairs = [
            (cut.name, runs[side][name][cut.name], right[side][name][WHOLE.name]) for name in members for cut in cuts
        ]
        largest[side] = max(largest_difference(found, whole) for _, found, whole in pairs)
        ratios = {
            cut.name: [first_loss_ratio(found, whole) for name, found, whole in pairs if name == cut.name]
            for cut in cuts
        }
        told[side] = "first loss " + ", ".join(f"{_range(each)} at {name}" for name, each in ratios.items())
    return Finding(title, told["plain"], told["ours"], largest["plain"], largest["ours"])


def _range(ratios: Sequence[float]) -> str:
    low, high = f"{min(ratios):.3f}", f"{max(ratios):.3f}"
    return f"x {low}" if low == high else f"x {low} to {high}"


def _run_plain(workshop: Workshop, case: Case, cuts: Sequence[Cut]) -> StepsByCut:
    data = feed(workshop, case, f"feed-{cuts[-1].name}")
    found = {}
    for cut in cuts:
        args = plain_arguments(
            _directory(workshop, "plain", case, cut),
            per_device_train_batch_size=cut.rows,
            gradient_accumulation_steps=cut.micro_batches,
        )
        found[cut.name] = train_plain(build_plain(case.model(), args, data.tokenizer, train=data.train))
    return found


def _run_ours(case: Case, cut: Cut, output_dir: Path) -> Steps:
    return ours.run_whole(
        case.config(
            output_dir,
            per_device_train_batch_size=cut.rows,
            gradient_accumulation_steps=cut.micro_batches,
            **ours.STEPS_ONLY,
        )
    )


def _directory(workshop: Workshop, side: str, case: Case, cut: Cut) -> Path:
    return workshop.run(f"{side}-{case.name}-{cut.name}".replace(" ", "-"))
