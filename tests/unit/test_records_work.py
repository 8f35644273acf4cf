"""How steps are cut, and when another cut, precision or place in the order is refused."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from hfpipe.errors import CheckpointError
from hfpipe.records.identity import Terms
from hfpipe.records.opening import open_run
from hfpipe.records.sessions import begin_session, describe_settings, end_session, saved_settings
from hfpipe.records.work import Cut, Work, describe_new_cut, find_cut, find_work_problems

SPLITTING = ("per_device_train_batch_size", "gradient_accumulation_steps")


def change_of(key: str) -> str:
    return "splitting" if key in SPLITTING else {"max_steps": "extendable"}.get(key, "identity")


def settings_of(cut: Cut, **others: Any) -> dict[str, Any]:
    return dict(zip(SPLITTING, (cut.rows, cut.micro_batches), strict=True)) | others


def begin(folder: Path, cut: Cut, **others: Any) -> dict[str, Any]:
    """Write the record of a run of this cut and return its settings."""
    given = settings_of(cut, **others)
    facts = {"config": describe_settings(given, {}), "rows_per_step": cut.rows_per_step, "precision": "no"}
    begin_session(folder, facts, from_step=0, cut=asdict(cut))
    return given


def open_at(folder: Path, given: Mapping[str, Any], cut: Cut, precision: str = "no") -> str:
    work = Work(cut, precision)
    return open_run(folder, given, fresh_start=False, terms=Terms(change_of, lambda key: f"--{key}"), work=work).kind


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (Cut(2, 4, 1), "2 processes x 4 rows x 1 micro-batch"),
        (Cut(1, 1, 8), "1 process x 1 row x 8 micro-batches"),
        (Cut(1_024, 2, 3), "1,024 processes x 2 rows x 3 micro-batches"),
    ],
)
def test_a_cut_in_words(cut: Cut, words: str) -> None:
    assert cut.in_words == words


def test_a_new_cut_is_told_and_the_same_is_not() -> None:
    run = {"sessions": [{"cut": asdict(Cut(1, 8, 1))}, {"cut": asdict(Cut(1, 4, 2))}]}
    assert find_cut(run) == Cut(1, 4, 2)
    assert describe_new_cut(run, Cut(1, 4, 2)) is None
    assert describe_new_cut(run, Cut(2, 4, 1)) == (
        "going on with 2 processes x 4 rows x 1 micro-batch = 8 rows a step, as before 1 x 4 x 2"
    )
    # as an earlier version left it
    assert describe_new_cut({"sessions": [{"from_step": 0}]}, Cut(2, 4, 1)) is None


def test_the_same_rows_may_be_cut_otherwise(tmp_path: Path) -> None:
    begin(tmp_path, Cut(1, 4, 2), seed=1)
    for cut in (Cut(1, 4, 2), Cut(2, 4, 1), Cut(2, 2, 2), Cut(1, 8, 1), Cut(8, 1, 1)):
        assert open_at(tmp_path, settings_of(cut, seed=1), cut) == "resume"


def test_other_rows_and_another_precision_are_refused_with_the_settings(tmp_path: Path) -> None:
    begin(tmp_path, Cut(1, 4, 2), seed=1)
    cut = Cut(2, 4, 2)
    with pytest.raises(CheckpointError) as raised:
        open_at(tmp_path, settings_of(cut, seed=2), cut, "bf16")
    assert [str(problem) for problem in raised.value.problems] == [
        "--seed: 2: another value than the run began with, 1; "
        "set it back, or begin anew with fresh_start: true or another output_dir",
        "rows_per_step: 16 = 2 processes x 4 rows x 2 micro-batches: another value than the run began with, "
        "8 = 1 x 4 x 2; make processes x per_device_train_batch_size x gradient_accumulation_steps 8 again, "
        "or begin anew with fresh_start: true",
        "precision: bf16: another value than the run began with, no; "
        "set bf16: false, or begin anew with fresh_start: true",
    ]


def test_the_precision_that_was_is_named_by_its_setting() -> None:
    run = {"rows_per_step": 8, "precision": "fp16"}
    [problem] = find_work_problems(run, Work(Cut(1, 8, 1), "bf16"))
    assert problem.remedy == "set fp16: true, or begin anew with fresh_start: true"


def test_a_finished_run_answers_any_number_of_processes_but_no_other_batch(tmp_path: Path) -> None:
    given = begin(tmp_path, Cut(2, 4, 1), max_steps=10, lr_scheduler_type="constant")
    end_session(tmp_path, status="done", to_step=10)
    assert saved_settings({"config": describe_settings(given, {})}) == given
    assert open_at(tmp_path, given, Cut(1, 4, 1), "bf16") == "done"
    assert open_at(tmp_path, {**given, "per_device_train_batch_size": 8}, Cut(1, 8, 1)) == "done"
    with pytest.raises(CheckpointError, match="rows_per_step: 4 = 1 process x 4 rows x 1 micro-batch: another"):
        open_at(tmp_path, {**given, "max_steps": 20}, Cut(1, 4, 1))
    with pytest.raises(CheckpointError, match=r"rows_per_step: 16 = 2 processes x 8 rows x 1 micro-batch: another"):
        open_at(tmp_path, {**given, "per_device_train_batch_size": 8}, Cut(2, 8, 1))
