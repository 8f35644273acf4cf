"""`study.json`: the runs of a study, their scores and spread, which one is kept, and when its test part was scored.

Written whole, each time something became known. Refuses a folder that holds something else, and another list of seeds
than before: runs may be added while the test part is unscored, and none may be taken away, for a spread over chosen
seeds is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.run_directory import read_json, write_json
from hfpipe.records.typed_json import from_plain, to_plain
from hfpipe.studies.spread import Spread

STUDY_FILE = "study.json"
STUDY_FORMAT = "hfpipe study 1"
_REMEDY = "choose another output_dir, or use the version that wrote it"


@dataclass(frozen=True)
class RunScores:
    """A run that is done: its validation scores by name, None where one is not finite."""

    seed: int
    directory: str
    validation: Mapping[str, float | None]


@dataclass(frozen=True)
class Kept:
    """The run that validation chose, by the study's metric."""

    seed: int
    directory: str
    score: float


@dataclass(frozen=True)
class ScoredOnce:
    """The scores of the kept run on its test part, and when the session that computed them ended."""

    scored_at: str
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class StudyRecord:
    """What is known of a study. `split_seed` decided the rows, which all runs share; `seeds` tell them apart."""

    recipe: str
    seeds: tuple[int, ...]
    split_seed: int
    metric: str
    greater_is_better: bool
    status: str = "running"
    runs: tuple[RunScores, ...] = ()
    validation: Mapping[str, Spread | None] | None = None
    kept: Kept | None = None
    test: ScoredOnce | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        return {"format": STUDY_FORMAT, **to_plain(self)}


def write_study(folder: Path, record: StudyRecord) -> None:
    """Write the record into `folder`, whole.

    Raises:
        CheckpointError: If it cannot be written, as on a full disk.
    """
    write_json(folder / STUDY_FILE, record.to_json())


def read_study(folder: Path) -> StudyRecord | None:
    """Return the record in `folder`; None where nothing is there yet.

    Raises:
        CheckpointError: If the folder holds something else than a study, or one of another format.
    """
    path = folder / STUDY_FILE
    if not path.is_file():
        _check_empty(folder)
        return None
    content = read_json(path)
    if not isinstance(content, Mapping) or content.get("format") != STUDY_FORMAT:
        raise CheckpointError(Problem(str(path), rule=f"is not in the format '{STUDY_FORMAT}'", remedy=_REMEDY))
    fields = {key: value for key, value in content.items() if key != "format"}
    return from_plain(StudyRecord, fields, place=str(path), remedy=_REMEDY)


def check_seeds(record: StudyRecord, seeds: Sequence[int], *, is_test_scored: bool) -> None:
    """Check that a study may go on with these seeds.

    Raises:
        CheckpointError: If one of its seeds is missing, or one is new although the test part has been scored.
    """
    place = f"--seeds {','.join(map(str, seeds))}"
    missing = [seed for seed in record.seeds if seed not in seeds]
    added = [seed for seed in seeds if seed not in record.seeds]
    before = ",".join(map(str, record.seeds))
    if missing:
        rule = f"the study began with {before}, and a spread over chosen seeds is none"
        raise CheckpointError(Problem(place, rule=rule, remedy=f"keep {_list(missing)}, or choose another output_dir"))
    if added and is_test_scored:
        rule = f"the test part was scored for the best of {before}, so no further run may be chosen"
        raise CheckpointError(Problem(place, rule=rule, remedy="choose another output_dir for more seeds"))


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        remedy = "choose another output_dir"
        raise CheckpointError(Problem(str(folder), rule="output_dir is a file, not a folder", remedy=remedy))
    # a record cut short by a kill is no content
    names = sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
    held = [name for name in names if not name.startswith(f".{STUDY_FILE}.")]
    if held:
        rule = f"holds files ({', '.join(held[:3])}) but no {STUDY_FILE}, so it is no study"
        raise CheckpointError(Problem(str(folder), rule=rule, remedy="choose another output_dir"))


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
