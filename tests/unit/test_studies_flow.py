"""The course of a study: which runs are started, in which order, where it goes on, and who meets the test part, once.

A run is stood in for by what a recipe leaves behind: its record and its scores.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from test_launch import write_csv_run
from typer.testing import CliRunner

from hfpipe.cli import app
from hfpipe.config import load_config
from hfpipe.errors import CheckpointError
from hfpipe.launch import Launch, run_to_end
from hfpipe.records.run_directory import METRICS_FILE, read_json, write_json
from hfpipe.records.sessions import begin_session, describe_settings, end_session
from hfpipe.studies.plan import Study, check_runs, plan_repeat
from hfpipe.studies.repeat import Surroundings, open_study, run_study
from hfpipe.studies.tables import describe_plan, describe_study

LOSSES: Mapping[int, float] = {1: 0.5, 2: 0.25, 3: 0.75, 4: 0.125}
TRAIN, TEST = "train", "test"


@dataclass
class Recipe:
    """Writes what a run leaves behind; the launch of number `stops_at` (from 0) ends with 130 before it is done."""

    stops_at: int | None = None
    has_test: bool = True
    is_stopped_when_done: bool = False
    begun: list[tuple[int, str]] = field(default_factory=list)

    def __call__(self, launch: Launch) -> int:
        """Do as the recipe does, and return its exit code."""
        config = load_config(launch.command[2:])
        scores_test, seed = config.evaluation.score_test, config.training.seed
        number = len(self.begun)
        self.begun.append((seed, TEST if scores_test else TRAIN))
        parts = {"train": {}, "validation": {}, **({"test": {}} if self.has_test else {})}
        facts = {"config": describe_settings(config.flat(), {}), "data": {"parts": parts}}
        begin_session(config.output_dir, facts, from_step=0)
        if number == self.stops_at and not self.is_stopped_when_done:
            return 130
        scores = {"eval_loss": LOSSES[seed], "eval_accuracy": 1 - LOSSES[seed], "train_loss": 0.1}
        test = {"test_loss": 0.375, "test_accuracy": 0.625} if scores_test and self.has_test else {}
        write_json(config.output_dir / METRICS_FILE, scores | test)
        end_session(config.output_dir, status="done", to_step=3)
        return 130 if number == self.stops_at else 0


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(write_csv_run(tmp_path))


def plan(file: str, *overrides: str, seeds: str = "1,2,3") -> Study:
    return plan_repeat(file, ["output_dir=study", *overrides], seeds=seeds)


def go(study: Study, recipe: Recipe) -> tuple[int, list[str]]:
    said: list[str] = []
    return run_study(study, Surroundings(said.append, recipe)), said


def test_runs_follow_one_another_and_the_best_alone_meets_the_test_part(file: str) -> None:
    study, recipe = plan(file), Recipe()
    code, said = go(study, recipe)
    assert (code, recipe.begun) == (0, [(1, TRAIN), (2, TRAIN), (3, TRAIN), (2, TEST)])
    assert [line.split(": ")[0] for line in said] == [
        "seed 1 (1 of 3)",
        "seed 2 (2 of 3)",
        "seed 3 (3 of 3)",
        "test part, scored once, by the run that is kept",
    ]
    record = read_json(Path("study/study.json"))
    assert (record["format"], record["status"]) == ("hfpipe study 1", "done")
    assert record["kept"] == {"seed": 2, "directory": "seed-2", "score": 0.25}
    ended = read_json(Path("study/seed-2/run.json"))["sessions"][-1]["ended"]
    assert record["test"] == {"scored_at": ended, "metrics": {"loss": 0.375, "accuracy": 0.625}}
    assert record["runs"][1] == {"seed": 2, "directory": "seed-2", "validation": {"loss": 0.25, "accuracy": 0.75}}
    loss = record["validation"]["loss"]
    assert (loss["runs"], loss["mean"], loss["standard_deviation"]) == (3, 0.5, 0.25)
    assert Path("study/best").readlink() == Path("seed-2")
    assert sorted(path.name for path in Path("study").iterdir()) == ["best", "seed-1", "seed-2", "seed-3", "study.json"]


@pytest.mark.parametrize("is_stopped_when_done", [False, True])
@pytest.mark.parametrize("stops_at", range(4))
def test_a_study_that_was_stopped_goes_on_there(file: str, stops_at: int, is_stopped_when_done: bool) -> None:
    straight = Recipe()
    go(plan(file), straight)
    first, again = Recipe(stops_at, is_stopped_when_done=is_stopped_when_done), Recipe()
    study = plan_repeat(file, ["output_dir=other"], seeds="1,2,3")
    code, said = go(study, first)
    assert (code, len(first.begun)) == (130, stops_at + 1)
    assert said[-1].endswith("ended with exit code 130; the same command goes on from there")
    assert go(study, again)[0] == 0
    expected = [(1, TRAIN), (2, TRAIN), (3, TRAIN), (2, TEST)]
    assert again.begun == expected[stops_at + is_stopped_when_done :]
    record, whole = (json.loads(Path(f"{name}/study.json").read_text()) for name in ("other", "study"))
    assert {**record, "test": 0} == {**whole, "test": 0}
    assert record["test"]["metrics"] == whole["test"]["metrics"]


def test_a_study_that_is_done_starts_nothing_and_says_the_same(file: str) -> None:
    study, recipe = plan(file), Recipe()
    go(study, recipe)
    before, table = Path("study/study.json").read_text(), list(describe_study(study))
    assert go(study, recipe) == (0, [])
    assert len(recipe.begun) == 4
    assert (Path("study/study.json").read_text(), list(describe_study(study))) == (before, table)
    assert table[:3] == [
        "3 runs that differ in their seed alone; the rows are the same (split_seed 42)",
        "validation                      mean          sd         min         max  95 % interval of the mean  "
        "test, seed 2",
        "  loss                        0.5000      0.2500      0.2500      0.7500          -0.1210 to 1.1210        "
        "0.3750",
    ]
    assert "seed 2: validation loss 0.2500  kept: the lowest" in table
    assert table[-1] == "model: study/best (from_pretrained and pipeline load it)"


def test_without_a_test_part_more_seeds_may_follow(file: str) -> None:
    recipe = Recipe(has_test=False)
    assert go(plan(file), recipe)[0] == 0
    assert Path("study/best").readlink() == Path("seed-2")
    assert go(plan(file, seeds="1,2,3,4"), recipe)[0] == 0
    assert recipe.begun == [(1, TRAIN), (2, TRAIN), (3, TRAIN), (4, TRAIN)]
    assert Path("study/best").readlink() == Path("seed-4")
    assert read_json(Path("study/study.json"))["test"] is None


def test_the_test_part_may_be_held_back_and_scored_later(file: str) -> None:
    recipe = Recipe()
    assert go(plan(file, "score_test=false"), recipe)[0] == 0
    assert recipe.begun == [(1, TRAIN), (2, TRAIN), (3, TRAIN)]
    assert go(plan(file), recipe)[0] == 0
    assert recipe.begun[3:] == [(2, TEST)]


def test_nothing_is_chosen_anew_once_the_test_part_was_met(file: str) -> None:
    recipe = Recipe(stops_at=3)
    study = plan(file)
    assert go(study, recipe)[0] == 130
    # whoever changes a score now changes no choice
    write_json(Path("study/seed-3/metrics.json"), {"eval_loss": 0.0})
    assert go(study, recipe)[0] == 0
    assert recipe.begun[3:] == [(2, TEST), (2, TEST)]
    with pytest.raises(CheckpointError, match="the test part was scored for the best of 1,2,3, so no further run may"):
        open_study(plan(file, seeds="1,2,3,4"))


def test_a_run_that_has_met_its_test_part_before_is_refused(file: str) -> None:
    study, recipe = plan(file), Recipe()
    recipe(study.prepare(3, score_test=True))
    with pytest.raises(CheckpointError) as raised:
        open_study(study)
    # nothing is there but a run, so the folder is no study either
    assert "holds files (seed-3) but no study.json" in str(raised.value)
    go(plan_repeat(file, ["output_dir=other"], seeds="1,2"), recipe)
    other = plan_repeat(file, ["output_dir=other"], seeds="1,2")
    recipe(other.prepare(1, score_test=True))
    with pytest.raises(CheckpointError) as raised:
        open_study(other)
    rule = "other/seed-1: its test part was scored already, and a study scores that of the kept run alone; choose"
    assert rule in str(raised.value)


def test_a_changed_setting_is_refused_before_anything_starts(file: str) -> None:
    go(plan(file), Recipe(stops_at=1))
    changed = plan(file, "learning_rate=1e-3")
    open_study(changed)
    with pytest.raises(CheckpointError, match=r"learning_rate: 0.001: another value than the run began with, 5e-05"):
        check_runs(changed)


def test_a_dry_run_lists_and_writes_nothing(file: str) -> None:
    go(plan(file), Recipe(stops_at=1))
    before = sorted(path for path in Path("study").rglob("*") if path.name != ".lock")
    ended = CliRunner().invoke(app, ["repeat", file, "--seeds", "1,2,3", "--dry-run", "output_dir=study"])
    assert ended.exit_code == 0, ended.output
    lines = ended.output.splitlines()
    assert [line.partition(": python ")[0] for line in lines] == [
        "seed 1: study/seed-1 is done",
        "seed 2: study/seed-2 goes on",
        "seed 3: study/seed-3 begins",
        "then: the run with the lowest validation loss is kept: study/best",
        "then: the test part, where there is one, is scored once, by that run",
    ]
    assert lines[2].endswith("--seed 3 --split_seed 42 --output_dir study/seed-3 --score_test false")
    assert sorted(path for path in Path("study").rglob("*") if path.name != ".lock") == before
    assert lines == list(describe_plan(plan(file)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "1,1"], "--seeds 1,1: 1 stands 2 times"),
        (["--seeds", "1,2", "seed=3"], "seed: 3: --seeds names the seeds; remove it"),
        (["--seeds", "1,2", "learning_rte=3"], "learning_rte: no such setting; did you mean 'learning_rate'?"),
        (["--seeds", "1,2", "train_file=nowhere.csv"], "nowhere.csv"),
    ],
)
def test_mistakes_are_answered_without_torch(file: str, words: Sequence[str], message: str) -> None:
    ended = CliRunner().invoke(app, ["repeat", file, *words])
    assert (ended.exit_code, message in ended.output) == (2, True)
    assert "Traceback" not in ended.output
    assert not Path("runs").exists()


HEARS = """
import os, signal, sys, time
heard = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: heard.append(number))
os.kill(os.getppid(), signal.SIGINT)
while not heard:
    time.sleep(0.01)
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.parametrize(("leaves", "expected"), [(130, 130), (2, 2), (0, 130)])
def test_a_signal_reaches_the_run_and_ends_the_study_in_any_case(leaves: int, expected: int) -> None:
    # the first two have stopped or failed by it; the last was done, and no other run is to begin
    launch = Launch((sys.executable, "-S", "-c", HEARS, str(leaves)), Path("recipe.py"))
    before = signal.getsignal(signal.SIGINT)
    assert run_to_end(launch) == expected
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_that_was_killed_is_lost() -> None:
    program = f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"
    assert run_to_end(Launch((sys.executable, "-S", "-c", program), Path("recipe.py"))) == 137
    assert run_to_end(Launch((sys.executable, "-S", "-c", "import sys; sys.exit(0)"), Path("recipe.py"))) == 0
    assert "HFPIPE_SUPERVISOR_FILE" not in os.environ
