"""Seeds, spreads and choices of a study, on values worked out by hand; what does not go with several runs."""

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_launch import write_csv_run

from hfpipe.errors import CheckpointError, ConfigError
from hfpipe.studies.plan import Launching, Study, parse_seeds, plan_repeat
from hfpipe.studies.record import Kept, RunScores, ScoredOnce, StudyRecord, check_seeds, read_study, write_study
from hfpipe.studies.repeat import choose
from hfpipe.studies.spread import Spread, find_spread

DRAWS = 2_000
SEED = 7
# Student's quantiles of 97.5 % by degrees of freedom, as tables have them
QUANTILES = {1: 12.70620474, 2: 4.30265273, 3: 3.18244631, 4: 2.77644511, 9: 2.26215716, 29: 2.04522964}


@pytest.fixture
def csv_run(tmp_path: Path) -> str:
    return str(write_csv_run(tmp_path))


def refusal(file: str, *overrides: str, seeds: str = "1,2", launching: Launching | None = None) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        plan_repeat(file, overrides, seeds=seeds, launching=launching)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1,1", ["--seeds 1,1: 1 stands 2 times, and the runs would be equal; name it once"]),
        ("a,2", ["--seeds a,2: 'a' is no whole number from 0 to 4,294,967,295; write --seeds 1,2,3"]),
        ("1,-2", ["--seeds 1,-2: '-2' is no whole number from 0 to 4,294,967,295; write --seeds 1,2,3"]),
        ("1,4294967296", ["--seeds 1,4294967296: '4294967296' is no whole number from 0 to 4,294,967,295; write --s"]),
        ("1,,2", ["--seeds 1,,2: '' is no whole number from 0 to 4,294,967,295; write --seeds 1,2,3"]),
        ("1.5,²", ["--seeds 1.5,²: '1.5' is no whole number", "--seeds 1.5,²: '²' is no whole number"]),
        ("5", ["--seeds 5: one run has no spread; name two or more, or start it by hfpipe run"]),
    ],
)
def test_seeds_that_cannot_be_are_refused_together(text: str, told: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_seeds(text)
    assert len(raised.value.problems) == len(told)
    assert all(str(problem).startswith(each) for problem, each in zip(raised.value.problems, told, strict=True))


def test_seeds_keep_their_order() -> None:
    assert parse_seeds("3, 1,0,4294967295") == (3, 1, 0, 4294967295)


@pytest.mark.parametrize("degrees", sorted(QUANTILES))
def test_the_interval_is_students(degrees: int) -> None:
    values = [0.5 + 0.01 * ((index * 7) % 11) for index in range(degrees + 1)]
    spread = find_spread(values)
    assert spread is not None
    reach = QUANTILES[degrees] * statistics.stdev(values) / math.sqrt(degrees + 1)
    assert (spread.high - spread.mean, spread.mean - spread.low) == pytest.approx((reach, reach), rel=1e-8)


def test_a_spread_worked_out_by_hand() -> None:
    spread = find_spread([1.0, 2.0, 3.0])
    assert spread is not None
    # sd 1, and 4.30265273 / sqrt(3) on each side
    assert (spread.runs, spread.mean, spread.standard_deviation) == (3, 2.0, 1.0)
    assert (spread.minimum, spread.maximum) == (1.0, 3.0)
    assert (spread.low, spread.high) == pytest.approx((2 - 2.48413771, 2 + 2.48413771))
    assert find_spread([0.5, 0.5]) == Spread(2, 0.5, 0.0, 0.5, 0.5, 0.5, 0.5)


def test_one_score_has_no_spread() -> None:
    assert find_spread([]) is None
    assert find_spread([1.0]) is None
    assert find_spread([1.0, math.nan, math.inf]) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_the_mean_lies_between_all_ends(values: list[float]) -> None:
    spread = find_spread(values)
    assert spread is not None
    slack = 1e-9 * max(map(abs, values), default=0.0)
    assert spread.low - slack <= spread.mean <= spread.high + slack
    assert spread.minimum - slack <= spread.mean <= spread.maximum + slack
    assert spread.standard_deviation == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)


def test_nineteen_intervals_in_twenty_hold_the_true_mean() -> None:
    draws = np.random.default_rng(SEED).normal(0.8, 0.02, size=(DRAWS, 4))
    spreads = [find_spread(row) for row in draws.tolist()]
    held = sum(spread is not None and spread.low <= 0.8 <= spread.high for spread in spreads)
    # three standard errors of a share of 2,000
    assert abs(held / DRAWS - 0.95) < 3 * math.sqrt(0.95 * 0.05 / DRAWS)


def runs_of(*losses: float | None) -> tuple[RunScores, ...]:
    return tuple(RunScores(seed, f"seed-{seed}", {"loss": loss}) for seed, loss in enumerate(losses, start=1))


def test_validation_chooses_by_the_metrics_direction_and_the_first_of_equals() -> None:
    lower = StudyRecord("finetune_classifier", (1, 2, 3), 42, "loss", greater_is_better=False)
    assert choose(lower, runs_of(0.5, 0.3, 0.3)) == Kept(2, "seed-2", 0.3)
    assert choose(lower, runs_of(None, 0.9, 0.0)) == Kept(3, "seed-3", 0.0)
    higher = StudyRecord("finetune_classifier", (1, 2, 3), 42, "loss", greater_is_better=True)
    assert choose(higher, runs_of(0.5, 0.3, 0.5)) == Kept(1, "seed-1", 0.5)
    with pytest.raises(CheckpointError, match="eval_loss: no run has a finite one, so none can be chosen"):
        choose(lower, runs_of(None, None))


def test_what_differs_between_runs_is_the_seed(csv_run: str) -> None:
    study = plan_repeat(csv_run, ["learning_rate=3e-5", "--output-dir", "mine", "--bf16", "split_seed=9"], seeds="3,4")
    assert (study.directory, study.seeds, study.overrides) == (Path("mine"), (3, 4), ("learning_rate=3e-5", "--bf16"))
    first, second = (study.config_of(seed).flat() for seed in study.seeds)
    assert {key for key in first if first[key] != second[key]} == {"seed", "output_dir"}
    assert (first["seed"], second["seed"], first["split_seed"], first["score_test"]) == (3, 4, 9, False)
    assert (first["learning_rate"], first["output_dir"]) == (3e-5, "mine/seed-3")
    assert study.config_of(3, score_test=True).evaluation.score_test


@pytest.mark.parametrize(
    ("lines", "overrides", "directory", "split_seed"),
    [
        ("", [], "runs/mine-repeat", 42),
        ("seed: 5\noutput_dir: elsewhere/x\n", [], "elsewhere/x-repeat", 5),
        ("seed: 5\nsplit_seed: 6\noutput_dir: elsewhere/x\n", ["output_dir=here"], "here", 6),
    ],
)
def test_the_files_seed_draws_the_rows_of_all_runs(
    lines: str, overrides: list[str], directory: str, split_seed: int, csv_run: str
) -> None:
    path = Path(csv_run)
    path.write_text(path.read_text() + lines)
    study = plan_repeat(csv_run, overrides, seeds="1,2")
    assert study.directory == Path(directory)
    assert [study.config_of(seed).split_seed for seed in (1, 2)] == [split_seed, split_seed]


def test_what_goes_with_one_run_alone_is_refused_together(csv_run: str, tmp_path: Path) -> None:
    test = f"test_file={tmp_path / 'train.csv'}"
    given = ["seed=7", "--fresh_start", "resume_from_checkpoint=checkpoint-3", "push_to_hub=true", "save_strategy=no"]
    assert refusal(csv_run, *given, "load_best_model_at_end=false", test, seeds="1") == [
        "--seeds 1: one run has no spread; name two or more, or start it by hfpipe run",
        "seed: 7: --seeds names the seeds; remove it",
        "--fresh_start: true: would throw away the runs that are done each time the study goes on; remove it, or "
        "choose another output_dir",
        "resume_from_checkpoint: checkpoint-3: is a checkpoint of one run; each run of a study goes on from its own; "
        "remove it",
        "push_to_hub: true: every seed would push to the same repository; write push_to_hub=false, and push the run "
        "that is kept: hfpipe push",
        "save_strategy: no: the kept run is scored on its test part from its last checkpoint, and there would be none; "
        "write save_strategy: epoch, or score_test: false",
    ]
    plain = ["save_strategy=no", "load_best_model_at_end=false"]
    assert isinstance(plan_repeat(csv_run, plain, seeds="1,2"), Study)
    assert isinstance(plan_repeat(csv_run, [*plain, test, "score_test=false"], seeds="1,2"), Study)


def test_several_machines_are_refused(csv_run: str, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text("distributed_type: MULTI_GPU\nnum_machines: 2\nnum_processes: 4\nmain_process_ip: a\n")
    (problem,) = refusal(csv_run, launching=Launching(str(file)))
    assert problem.startswith(f"{file}: num_machines: 2: the runs of a study follow one another on one machine")


RECORD = StudyRecord(
    "finetune_classifier",
    (1, 2),
    42,
    "accuracy",
    True,
    status="done",
    runs=(RunScores(1, "seed-1", {"accuracy": 0.5}), RunScores(2, "seed-2", {"accuracy": None})),
    validation={"accuracy": None, "loss": Spread(2, 0.5, 0.0, 0.5, 0.5, 0.5, 0.5)},
    kept=Kept(1, "seed-1", 0.5),
    test=ScoredOnce("2026-01-01T00:00:00+00:00", {"accuracy": 0.25}),
)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    assert read_study(tmp_path / "nowhere") is None
    write_study(tmp_path, RECORD)
    assert read_study(tmp_path) == RECORD


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text('{"format": "hfpipe study 2"}')
    with pytest.raises(CheckpointError, match=r"study.json: is not in the format 'hfpipe study 1'; choose another"):
        read_study(tmp_path)
    (tmp_path / "study.json").rename(tmp_path / "thesis.tex")
    with pytest.raises(CheckpointError, match=r"holds files \(thesis.tex\) but no study.json, so it is no study"):
        read_study(tmp_path)
    with pytest.raises(CheckpointError, match=r"thesis.tex: output_dir is a file, not a folder"):
        read_study(tmp_path / "thesis.tex")


def test_seeds_may_be_added_until_the_test_part_was_met_and_never_taken_away() -> None:
    check_seeds(RECORD, (2, 1), is_test_scored=True)
    check_seeds(RECORD, (1, 2, 3), is_test_scored=False)
    with pytest.raises(CheckpointError) as raised:
        check_seeds(RECORD, (1, 3), is_test_scored=False)
    assert "--seeds 1,3: the study began with 1,2, and a spread over chosen seeds is none; keep 2, or" in str(
        raised.value
    )
    with pytest.raises(CheckpointError) as raised:
        check_seeds(RECORD, (1, 2, 3), is_test_scored=True)
    rule = "--seeds 1,2,3: the test part was scored for the best of 1,2, so no further run may be chosen; choose"
    assert rule in str(raised.value)
