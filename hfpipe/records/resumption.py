"""Which checkpoint a run goes on from: the newest that is whole, as its manifest tells.

One that is damaged is passed over, and so is one whose best weights, which the end of the run needs, are not there
whole. Where none is left the run is refused, never begun anew: the user decides what becomes of it. Finding changes
nothing; `leave_behind` does, when the run goes on.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hfpipe.errors import CheckpointError, Problem
from hfpipe.pickles import find_state_problem
from hfpipe.records.manifest import MANIFEST_FILE, find_damage
from hfpipe.records.publication import list_sealed, set_aside
from hfpipe.records.run_directory import checkpoint_folder, read_json, step_of

logger = logging.getLogger(__name__)

STATE_FILE = "trainer_state.json"
_PUT_BACK = "put the files back as they were saved"
_BEGIN_ANEW = "begin anew with fresh_start: true or another output_dir"


@dataclass(frozen=True)
class Resumption:
    """The checkpoint to go on from, None for the beginning, and those passed over with what is wrong with each."""

    folder: Path | None
    passed_over: Mapping[Path, tuple[Problem, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the checkpoint to go on from, '' for the beginning; one that is sealed gets it at the start."""
        return _name(self.folder) if self.folder is not None else ""

    def lines(self) -> list[str]:
        """Return what is to be said of those passed over."""
        return [f"{_name(folder)} cannot be gone on from: {_list(found)}" for folder, found in self.passed_over.items()]

    def leave_behind(self) -> None:
        """Move what was passed over aside, so that it is not found again, and say so."""
        for folder, line in zip(self.passed_over, self.lines(), strict=True):
            if folder.exists():
                logger.warning("%s; it now lies in %s", line, set_aside(folder).parent)


def find_resumption(checkpoints: Path, wanted: str | None, *, config: str | None, needs_best: bool) -> Resumption:
    """Return where to go on from: `wanted` where given, else the newest checkpoint that is whole.

    `config` is the fingerprint of the run, and `needs_best` says whether it ends with the best weights.

    Raises:
        CheckpointError: If `wanted` is no checkpoint of this run or is damaged, or if there are checkpoints and all of
            them are damaged. Nothing has been moved then.
    """
    examined = _Examination(config, needs_best)
    folders = list_sealed(checkpoints)
    if wanted is not None:
        return Resumption(_check_wanted(folders, wanted, examined))
    for folder in reversed(folders):
        if not examined.find_problems(folder):
            return Resumption(folder, {each: found for each, found in examined.damage.items() if found})
    if folders:
        raise CheckpointError(_all_damaged(examined.problems_by_folder(folders)))
    return Resumption(None)


@dataclass(frozen=True)
class _Examination:
    """What was found in the folders looked into so far; each is read once."""

    config: str | None
    needs_best: bool
    damage: dict[Path, tuple[Problem, ...]] = field(default_factory=dict)

    def find_problems(self, folder: Path) -> tuple[Problem, ...]:
        """Return what keeps a run from going on from `folder` to its end."""
        own = self._look_into(folder)
        best = None if own or not self.needs_best else read_json(folder / STATE_FILE).get("best_global_step")
        if best is None or best == step_of(folder):
            return own
        published = checkpoint_folder(folder.parent, best)
        ending = next((each for each in list_sealed(folder.parent) if step_of(each) == best), published)
        damage = self._look_into(ending)
        rule = f"is whole, but the run would end with the weights of {published.name}, its best, which is not"
        return (Problem(str(folder), rule=rule), *damage) if damage else ()

    def problems_by_folder(self, folders: list[Path]) -> Mapping[Path, tuple[Problem, ...]]:
        """Return the problems of each, none of which is whole."""
        return {folder: self.find_problems(folder) for folder in reversed(folders)}

    def _look_into(self, folder: Path) -> tuple[Problem, ...]:
        if folder not in self.damage:
            found = find_damage(folder, step=step_of(folder), config=self.config)
            pickled = None if (folder / MANIFEST_FILE).is_file() else find_state_problem(folder)
            self.damage[folder] = tuple(found) if pickled is None else (pickled,)
        return self.damage[folder]


def _check_wanted(folders: list[Path], wanted: str, examined: _Examination) -> Path:
    place = Path(wanted).expanduser().resolve()
    published = {each: checkpoint_folder(each.parent, step_of(each)) for each in folders}
    named = (each for each, own in published.items() if wanted == own.name or place == own.resolve())
    found = next(named, None)
    if found is None:
        pickled = find_state_problem(place) if place.is_dir() else None
        if pickled is not None:
            raise CheckpointError(replace(pickled, place=f"resume_from_checkpoint: {wanted}"))
        names = ", ".join(map(_name, folders)) or "none"
        raise CheckpointError(
            Problem("resume_from_checkpoint", wanted, "no complete checkpoint of this run", f"there is: {names}")
        )
    problems = examined.find_problems(found)
    if problems:
        remedy = f"{_PUT_BACK}, or leave resume_from_checkpoint out to go on from another"
        raise CheckpointError([replace(each, remedy=remedy) for each in problems])
    return found


def _all_damaged(found: Mapping[Path, tuple[Problem, ...]]) -> list[Problem]:
    named = {problem: None for problems in found.values() for problem in problems}
    return [
        replace(each, remedy=_BEGIN_ANEW if _is_unsealed(each) else f"{_PUT_BACK}, or {_BEGIN_ANEW}") for each in named
    ]


def _is_unsealed(problem: Problem) -> bool:
    """Tell whether a checkpoint is there but for its manifest: most likely it never had one."""
    place = Path(problem.place)
    return place.name == MANIFEST_FILE and place.parent.is_dir() and not place.exists()


def _name(folder: Path) -> str:
    return checkpoint_folder(folder.parent, step_of(folder)).name


def _list(problems: tuple[Problem, ...]) -> str:
    return "; ".join(map(str, problems))
