"""The run directory: files that survive a kill, the record of a run, and what may be gone on with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.errors import CheckpointError
from hfpipe.records.identity import Terms, check_same_files, check_same_run
from hfpipe.records.opening import Opening, open_run, read_run
from hfpipe.records.run_directory import append_history, read_history, read_json, truncate_history, write_json
from hfpipe.records.sessions import add_facts, begin_session, describe_settings, end_session, saved_settings

REMEDY = "set it back, or begin anew with fresh_start: true or another output_dir"


def change_of(key: str) -> str:
    return {"logging_steps": "free", "max_steps": "extendable", "num_train_epochs": "extendable"}.get(key, "identity")


def place_of(key: str) -> str:
    return f"minilm.yaml:{len(key)}" if key.startswith("l") else key


def same_run(saved: Mapping[str, object], wanted: Mapping[str, object]) -> tuple[str, ...]:
    return check_same_run(saved, wanted, terms=Terms(change_of, place_of))


def open_at(folder: Path, wanted: Mapping[str, object], *, fresh_start: bool = False) -> Opening:
    return open_run(folder, wanted, fresh_start=fresh_start, terms=Terms(change_of, place_of))


def begin(folder: Path, settings: Mapping[str, object]) -> None:
    begin_session(folder, {"recipe": "finetune_classifier", "config": describe_settings(settings, {})}, from_step=0)


# files


def test_json_that_is_not_finite_becomes_null(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {"eval_loss": float("nan"), "steps": (1, float("inf")), "name": "schön"})
    assert read_json(tmp_path / "metrics.json") == {"eval_loss": None, "steps": [1, None], "name": "schön"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_json_comes_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_a_value_that_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"step": 1})
    with pytest.raises(TypeError):
        write_json(path, {"step": object()})
    assert read_json(path) == {"step": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_a_record_is_as_readable_as_any_new_file(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {})
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "run.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_unreadable_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{\n "status": done\n}')
    with pytest.raises(CheckpointError) as raised:
        read_json(path)
    assert str(raised.value) == f"the run directory has 1 problem:\n  - {path}:2: is not JSON (Expecting value)"
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_json(tmp_path / "none.json")


def test_history_is_cut_at_the_step_a_run_resumes_from(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    truncate_history(path, 3)
    assert read_history(path) == []
    for step in (1, 2, 3, 3, 4):
        append_history(path, {"step": step, "loss": float("nan") if step == 2 else step / 2})
    truncate_history(path, 3)
    append_history(path, {"step": 4, "loss": 0.5})
    assert read_history(path) == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": None},
        {"step": 3, "loss": 1.5},
        {"step": 3, "loss": 1.5},
        {"step": 4, "loss": 0.5},
    ]


def test_a_history_line_cut_short_by_a_kill_is_left_out_and_cut_away(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    append_history(path, {"step": 1})
    with path.open("ab") as file:
        file.write('{"step": 2, "note": "ü'.encode()[:-1])
    assert read_history(path) == [{"step": 1}]
    truncate_history(path, 5)
    assert path.read_text() == '{"step": 1}\n'


@pytest.mark.parametrize(
    ("line", "rule"), [("nonsense", "is not JSON"), ("[1]", "is not an event"), ("{}", "is not an event")]
)
def test_any_other_bad_history_line_is_named(tmp_path: Path, line: str, rule: str) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"step": 1}\n' + line + '\n{"step": 2}\n')
    with pytest.raises(CheckpointError, match=rule) as raised:
        read_history(path)
    assert f"{path}:2: " in str(raised.value)


# identity


def test_every_changed_setting_is_named_with_both_values() -> None:
    saved = {"learning_rate": 5e-5, "train_file": ["a.csv"], "logging_steps": 10, "seed": 42, "bf16": True}
    wanted = {"learning_rate": 3e-5, "train_file": ("a.csv",), "logging_steps": 20, "seed": 42, "optim": "adamw"}
    with pytest.raises(CheckpointError) as raised:
        same_run(saved, wanted)
    assert str(raised.value).splitlines() == [
        "the run directory has 3 problems:",
        f"  - minilm.yaml:13: 3e-05: another value than the run began with, 5e-05; {REMEDY}",
        f'  - optim: "adamw": another value than the run began with, unset; {REMEDY}',
        f"  - bf16: unset: another value than the run began with, true; {REMEDY}",
    ]


def test_equal_settings_are_the_same_run_whatever_the_free_ones_are() -> None:
    assert same_run({"seed": 1, "logging_steps": 1, "a": None}, {"seed": 1.0, "logging_steps": 2}) == ()


def test_the_length_may_grow_where_the_schedule_is_open_ended() -> None:
    constant = {"lr_scheduler_type": "constant", "warmup_steps": 0.06}
    assert same_run({"max_steps": 10, **constant}, {"max_steps": 20, **constant}) == ("max_steps",)
    stable = {"lr_scheduler_type": "warmup_stable_decay", "warmup_steps": 30}
    assert same_run({"num_train_epochs": 1, **stable}, {"num_train_epochs": 2.5, **stable}) == ("num_train_epochs",)


@pytest.mark.parametrize(
    ("old", "new", "schedule", "rule"),
    [
        (20, 10, {"lr_scheduler_type": "constant"}, "max_steps: 10: may only grow; the run began with 20"),
        (-1, 10, {"lr_scheduler_type": "constant"}, "max_steps: 10: may only grow; the run began with -1"),
        (
            10,
            20,
            {"lr_scheduler_type": "cosine"},
            "max_steps: 20: lr_scheduler_type 'cosine' spreads the learning rate over the whole run, "
            "which began with 10",
        ),
        (10, 20, {}, "the default schedule spreads the learning rate over the whole run, which began with 10"),
        (
            10,
            20,
            {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 0.06},
            "warmup_steps 0.06 is a share of the whole run, which began with 10",
        ),
    ],
)
def test_the_length_may_not_change_where_it_changes_the_rate(
    old: int, new: int, schedule: Mapping[str, Any], rule: str
) -> None:
    with pytest.raises(CheckpointError) as raised:
        same_run({"max_steps": old, **schedule}, {"max_steps": new, **schedule})
    assert f"{rule}; {REMEDY}" in str(raised.value)


def test_a_finished_run_that_decayed_may_not_grow(tmp_path: Path) -> None:
    stable = {"max_steps": 10, "lr_scheduler_type": "warmup_stable_decay", "warmup_steps": 2}
    longer = {**stable, "max_steps": 2000}
    begin(tmp_path, stable)
    assert open_at(tmp_path, longer).kind == "resume"
    end_session(tmp_path, status="done", to_step=10)
    assert open_at(tmp_path, stable).kind == "done"
    with pytest.raises(CheckpointError) as raised:
        open_at(tmp_path, longer)
    assert [str(problem) for problem in raised.value.problems] == [
        "max_steps: 2000: the run is done and warmup_stable_decay has lowered its learning rate, which would jump up "
        f"again; it began with 10; {REMEDY}"
    ]


def test_data_files_must_be_those_the_run_began_with() -> None:
    check_same_files({"a.csv": "11"}, {"a.csv": "11"})
    with pytest.raises(CheckpointError) as raised:
        check_same_files({"a.csv": "1" * 64, "b.csv": "22 bytes"}, {"a.csv": "2" * 64, "c.csv": "3" * 64})
    assert [str(problem).partition(";")[0] for problem in raised.value.problems] == [
        "a.csv: sha256 222222222222: its content is no longer what this run began with, sha256 111111111111",
        "b.csv: this run began with it, and it is not given now",
        "c.csv: sha256 333333333333: is not among what this run began with",
    ]


# sessions


def test_a_record_tells_every_session_and_how_it_ended(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "imdb"
    begin(folder, {"seed": 1})
    end_session(folder, status="stopped", to_step=7)
    begin_session(folder, {"world_size": 2}, from_step=7)
    begin_session(folder, {}, from_step=5)
    add_facts(folder, {"timings": {"train_seconds": 1.5}})
    end_session(folder, status="done", to_step=9)
    run = read_run(folder)
    assert (run["status"], run["world_size"], run["timings"]) == ("done", 2, {"train_seconds": 1.5})
    assert saved_settings(run) == {"seed": 1}
    assert [(each["from_step"], each["to_step"], each["status"]) for each in run["sessions"]] == [
        (0, 7, "stopped"),
        (7, None, "killed"),
        (5, 9, "done"),
    ]


def test_settings_are_recorded_with_their_origin() -> None:
    settings = describe_settings({"seed": 1, "bf16": None}, {"seed": "--seed"})
    assert settings == {"seed": {"value": 1, "origin": "--seed"}, "bf16": {"value": None, "origin": ""}}


# opening


def test_a_run_is_new_then_resumed_then_done_then_longer(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = {"max_steps": 10, "lr_scheduler_type": "constant"}
    assert open_at(folder, settings) == Opening("new")
    begin(folder, settings)
    assert open_at(folder, settings).kind == "resume"
    end_session(folder, status="done", to_step=10)
    assert open_at(folder, settings).kind == "done"
    assert open_at(folder, {**settings, "max_steps": 20}).kind == "resume"
    with pytest.raises(CheckpointError, match="may only grow"):
        open_at(folder, {**settings, "max_steps": 5})


def test_an_empty_folder_and_a_record_cut_short_are_new(tmp_path: Path) -> None:
    (tmp_path / ".run.json.x8k2").write_text("{")
    assert open_at(tmp_path, {}) == Opening("new")


def test_fresh_start_moves_each_earlier_run_aside(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for number in (1, 2):
        begin(folder, {"seed": number})
        opening = open_at(folder, {"seed": 9}, fresh_start=True)
        assert opening == Opening("new", moved_to=tmp_path / f"run.{number}")
    assert saved_settings(read_run(tmp_path / "run.2")) == {"seed": 2}
    assert not folder.exists()


@pytest.mark.parametrize("fresh_start", [False, True])
def test_a_folder_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path, fresh_start: bool) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(CheckpointError) as raised:
        open_at(tmp_path, {}, fresh_start=fresh_start)
    expected = f"{tmp_path}: holds files (thesis.tex) but no run.json, so it is not a run of ours; "
    assert str(raised.value.problems[0]) == expected + "choose another output_dir"
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("content", ["{}", "[]", '{"format": "hfpipe run 9"}'])
def test_a_record_in_another_format_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match="is not in the format 'hfpipe run 1'"):
        open_at(tmp_path, {}, fresh_start=True)


def test_output_dir_may_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(CheckpointError, match="output_dir is a file, not a folder"):
        open_at(tmp_path / "run", {})


def test_reading_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no run\.json; name the output_dir of a run"):
        read_run(tmp_path)
    with pytest.raises(CheckpointError, match="there is no such folder"):
        read_run(tmp_path / "none")


def test_a_session_removes_what_a_kill_left_of_its_first_record(tmp_path: Path) -> None:
    (tmp_path / ".run.json.abcdefgh.partial").write_text('{"format"')
    begin(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
