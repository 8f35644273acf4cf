"""One study from its first run to the scores of the run that is kept; the same command goes on where it ended.

Run after run is started as by `hfpipe run`; one that is done is not touched again. Then validation chooses, what it
chose is written down, and only then the test part is looked at, by that run alone: its record says `score_test: true`
from that moment on, so a study that is interrupted there goes on with the same run and chooses none anew.

The one decision: the run that is kept stays where it is, and `best` is a link to it. A link is replaced at once, so
after a crash too it names a run that is whole; copied files could be those of two models.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hfpipe.config.exit_codes import FINISHED
from hfpipe.errors import CheckpointError, Problem
from hfpipe.launch import Launch, find_opening, run_to_end
from hfpipe.records.disk import told_by_path
from hfpipe.records.durable import clean_partial_files
from hfpipe.records.opening import read_run
from hfpipe.records.run_directory import METRICS_FILE, RUN_FILE, read_json
from hfpipe.records.sessions import saved_settings
from hfpipe.studies.plan import Study
from hfpipe.studies.record import Kept, RunScores, ScoredOnce, StudyRecord, check_seeds, read_study, write_study
from hfpipe.studies.spread import find_spread

BEST = "best"
_EVALUATION, _TEST = ("eval", "validation"), ("test", "test")


@dataclass(frozen=True)
class Surroundings:
    """What a study needs beside its files: who is told a line, and what runs a launch and returns its exit code."""

    say: Callable[[str], None]
    run: Callable[[Launch], int] = run_to_end


def open_study(study: Study) -> StudyRecord:
    """Return the record of the study as it stands; nothing is written.

    Raises:
        CheckpointError: If the directory holds something else, the seeds may not be those now given, or the test part
            was scored for another run than the one that is kept.
    """
    found = read_study(study.directory)
    kept = found.kept if found is not None else None
    scored = {seed for seed in study.seeds if _has_met_test(study.directory_of(seed))}
    if found is not None:
        is_kept_scored = kept is not None and _has_met_test(study.directory / kept.directory)
        check_seeds(found, study.seeds, is_test_scored=is_kept_scored)
    others = sorted(scored - ({kept.seed} if kept is not None else set()))
    if others:
        rule = "its test part was scored already, and a study scores that of the kept run alone"
        remedy = "choose another output_dir, or move the run elsewhere"
        raise CheckpointError([Problem(str(study.directory_of(seed)), rule=rule, remedy=remedy) for seed in others])
    # what was chosen stands once the test part was met
    return study.begun if found is None or not scored else replace(study.begun, kept=kept, test=found.test)


def run_study(study: Study, surroundings: Surroundings) -> int:
    """Run what is left of the study and return its exit code: 0, or that of the run that ended otherwise.

    Raises:
        HfpipeError: As `open_study` and `prepare_launch`.
    """
    record = open_study(study)
    with told_by_path(study.directory):
        study.directory.mkdir(parents=True, exist_ok=True)
        clean_partial_files(study.directory)
    for number, seed in enumerate(study.seeds, start=1):
        write_study(study.directory, replace(record, runs=_read_runs(study)))
        code = _run_one(study, seed, surroundings, place=f"{number:,} of {len(study.seeds):,}", kept=record.kept)
        if code != FINISHED:
            return code
    record = summarise(study, record)
    write_study(study.directory, record)
    _link(study.directory, record)
    code = _score_test(study, record, surroundings)
    if code == FINISHED:
        write_study(study.directory, replace(record, status="done", test=read_test(study, record)))
    return code


def summarise(study: Study, record: StudyRecord) -> StudyRecord:
    """Return the record with all runs, their spread, and the one that validation chooses; one chosen before stays."""
    runs = _read_runs(study)
    names = dict.fromkeys(name for run in runs for name in run.validation)
    spreads = {name: find_spread([value for _, value in _with_score(runs, name)]) for name in names}
    return replace(record, status="chosen", runs=runs, validation=spreads, kept=record.kept or choose(record, runs))


def choose(record: StudyRecord, runs: Sequence[RunScores]) -> Kept:
    """Return the run with the best validation score; of equals the one named first.

    Raises:
        CheckpointError: If none has a score.
    """
    scored = _with_score(runs, record.metric)
    if not scored:
        raise CheckpointError(Problem(f"eval_{record.metric}", rule="no run has a finite one, so none can be chosen"))
    sign = -1 if record.greater_is_better else 1
    best, score = min(scored, key=lambda pair: sign * pair[1])
    return Kept(best.seed, best.directory, score)


def read_test(study: Study, record: StudyRecord) -> ScoredOnce | None:
    """Return the test scores of the kept run; None where it has no test part, or that is held back."""
    assert record.kept is not None, "validation has chosen"
    folder = study.directory / record.kept.directory
    if not _has_met_test(folder):
        return None
    ended = read_run(folder)["sessions"][-1]["ended"]
    return record.test or ScoredOnce(str(ended), _read_scores(folder, *_TEST))


def _run_one(study: Study, seed: int, surroundings: Surroundings, *, place: str, kept: Kept | None) -> int:
    if kept is not None and kept.seed == seed:
        return FINISHED  # trained long ago, and at most in the middle of its test scores
    if find_opening(study.config_of(seed)).kind == "done":
        return FINISHED
    launch = study.prepare(seed)
    surroundings.say(f"seed {seed} ({place}): {launch.shown}")
    return _run(launch, f"seed {seed}", surroundings)


def _score_test(study: Study, record: StudyRecord, surroundings: Surroundings) -> int:
    """Score the test part of the kept run, where it has one and that was not done."""
    assert record.kept is not None, "validation has chosen"
    seed = record.kept.seed
    has_test = _has_test(read_run(study.directory_of(seed)))
    if not (has_test and study.scores_test) or find_opening(study.config_of(seed, score_test=True)).kind == "done":
        return FINISHED
    launch = study.prepare(seed, score_test=True)
    surroundings.say(f"test part, scored once, by the run that is kept: {launch.shown}")
    return _run(launch, f"scoring the test part of seed {seed}", surroundings)


def _run(launch: Launch, what: str, surroundings: Surroundings) -> int:
    code = surroundings.run(launch)
    if code != FINISHED:
        surroundings.say(f"{what} ended with exit code {code}; the same command goes on from there")
    return code


def _read_runs(study: Study) -> tuple[RunScores, ...]:
    """Return the scores of the runs that have come to their end."""
    folders = {seed: study.directory_of(seed) for seed in study.seeds}
    ended = {seed: folder for seed, folder in folders.items() if (folder / METRICS_FILE).is_file()}
    return tuple(RunScores(seed, folder.name, _read_scores(folder, *_EVALUATION)) for seed, folder in ended.items())


def _read_scores(folder: Path, prefix: str, part: str) -> dict[str, float | None]:
    """Return the scores of the run's model on a part; what baselines and intervals add to them is left out."""
    from hfpipe.evaluation.record import EVALUATION_FILE, read_evaluation  # lies among what is slow to import

    metrics: dict[str, Any] = read_json(folder / METRICS_FILE)
    of_part = {name: value for name, value in metrics.items() if name.startswith(f"{prefix}_")}
    if (folder / EVALUATION_FILE).is_file():
        known = {f"{prefix}_{name}" for name in read_evaluation(folder).parts[part].metrics}
        of_part = {name: value for name, value in of_part.items() if name in known}
    return {name.removeprefix(f"{prefix}_"): value for name, value in of_part.items()}


def _with_score(runs: Sequence[RunScores], name: str) -> list[tuple[RunScores, float]]:
    """Return the runs that have a score of this name, and that score."""
    return [(run, score) for run in runs if (score := run.validation.get(name)) is not None]


def _has_test(run: dict[str, Any]) -> bool:
    return "test" in run.get("data", {}).get("parts", {})


def _has_met_test(folder: Path) -> bool:
    """Tell whether a run has a test part and was once told to score it."""
    if not (folder / RUN_FILE).is_file():
        return False
    run = read_run(folder)
    return _has_test(run) and saved_settings(run).get("score_test", True) is True


def _link(directory: Path, record: StudyRecord) -> None:
    """Make `best` a link to the run that is kept, at once; file systems without links do without."""
    assert record.kept is not None, "validation has chosen"
    temporary = directory / f".{BEST}.partial"
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(record.kept.directory, target_is_directory=True)
        temporary.replace(directory / BEST)
    except OSError:
        temporary.unlink(missing_ok=True)
