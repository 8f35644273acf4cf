"""What `hfpipe run` starts, and what it refuses first."""

import sys
from pathlib import Path

import pytest

from hfpipe.config import load_config
from hfpipe.config.accelerate_file import read_accelerate_file
from hfpipe.errors import CheckpointError, ConfigError, DataError
from hfpipe.launch import Launch, prepare_launch
from hfpipe.records.environment import usable_cores
from hfpipe.records.sessions import begin_session, describe_settings, end_session
from hfpipe.supervision import LAUNCHER_SETTINGS

CONFIGS = Path(__file__).parents[2] / "accelerate_configs"


def write_csv_run(folder: Path) -> Path:
    """Write a run on twenty labelled rows and return its YAML file."""
    rows = "".join(f"a {'good' if row % 2 else 'bad'} film number {row},{row % 2}\n" for row in range(20))
    (folder / "train.csv").write_text("text,label\n" + rows)
    path = folder / "mine.yaml"
    lines = ["recipe: finetune_classifier", "model_name_or_path: demo:minilm", f"train_file: {folder / 'train.csv'}"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def csv_run(tmp_path: Path) -> Path:
    return write_csv_run(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("num_processes: [", "is not YAML; write one with 'accelerate config --config_file <file>'"),
        ("- 1", "is not an accelerate file"),
        ("num_processes: two", "num_processes: two: is not a whole number from 1"),
        ("num_machines: 0", "num_machines: 0: is not a whole number from 1"),
        ("machine_rank: true", "machine_rank: True: is not a whole number from 0"),
        (
            "distributed_type: FSDP\nuse_cpu: true",
            "distributed_type: FSDP: has no effect on the CPU: accelerate would train by DDP and say nothing",
        ),
        (
            "distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 3}",
            "zero3_init_flag: the model would be cut up while it is loaded",
        ),
        (
            "distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 3, zero3_init_flag: true}",
            "zero3_init_flag: true: the model would be cut up while it is loaded",
        ),
    ],
)
def test_a_bad_accelerate_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as raised:
        read_accelerate_file(path)
    assert f"{path}: {message}" in str(raised.value)


def test_a_plain_run_is_the_recipe_with_the_users_settings(csv_run: Path) -> None:
    prepared = prepare_launch(str(csv_run), ["learning_rate=3e-5"])
    assert prepared.recipe.name == "finetune_classifier.py"
    expected = (sys.executable, str(prepared.recipe), "--config", str(csv_run), "learning_rate=3e-5")
    assert prepared == Launch(expected, prepared.recipe)
    assert prepared.shown == f"python {prepared.recipe} --config {csv_run} learning_rate=3e-5"


def test_a_run_that_is_to_push_needs_a_token_before_its_data_are_read(
    csv_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.csv").unlink()
    rule = "push_to_hub: true: pushing needs an access token, and there is none; set HF_TOKEN"
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=rule):
        prepare_launch(str(csv_run), ["push_to_hub=true"])
    monkeypatch.setenv("HF_TOKEN", "hf_any")
    with pytest.raises(DataError, match="no such file"):
        prepare_launch(str(csv_run), ["push_to_hub=true"])


def test_under_accelerate_the_run_is_told_how_many_processes_it_must_have(
    csv_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    prepared = prepare_launch(str(csv_run), accelerate="multi_cpu")
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / "multi_cpu.yaml")]
    assert prepared.command[:5] == tuple(launcher)
    assert prepared.command[5:] == (str(prepared.recipe), "--config", str(csv_run), "--num_processes", "2")
    # accelerate itself would take the GPUs of a machine that has some
    threads = {"OMP_NUM_THREADS": str(max(1, usable_cores() // 2))}
    assert prepared.environment == {**threads, "CUDA_VISIBLE_DEVICES": "", **LAUNCHER_SETTINGS}
    assert prepared.shown.split()[4:7] == ["accelerate", "launch", "--config_file"]


def test_the_users_number_of_processes_and_threads_wins(csv_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    prepared = prepare_launch(str(csv_run), ["num_processes=4"], accelerate="multi_cpu")
    assert prepared.command[5:8] == ("--num_processes", "4", str(prepared.recipe))
    assert prepared.command[8:] == ("--config", str(csv_run), "num_processes=4")
    assert prepared.environment == {"CUDA_VISIBLE_DEVICES": "", **LAUNCHER_SETTINGS}
    monkeypatch.setenv("PET_SHUTDOWN_TIMEOUT", "280")
    assert "PET_SHUTDOWN_TIMEOUT" not in prepare_launch(str(csv_run), accelerate="multi_cpu").environment


def test_several_processes_without_accelerate_are_refused(csv_run: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        prepare_launch(str(csv_run), ["num_processes=2"])
    assert "2: one process would be started; add --accelerate multi_cpu, or an accelerate file" in str(raised.value)


def test_bad_data_and_another_run_are_refused_before_anything_starts(csv_run: Path, tmp_path: Path) -> None:
    output = f"output_dir={tmp_path / 'run'}"
    config = load_config(["--config", str(csv_run), output])
    begin_session(tmp_path / "run", {"config": describe_settings(config.flat(), {})}, from_step=0)
    assert prepare_launch(str(csv_run), [output]).command[-1] == output
    with pytest.raises(CheckpointError, match="--seed: 7: another value than the run began with, 42; set it back"):
        prepare_launch(str(csv_run), [output, "--seed", "7"])
    with (tmp_path / "train.csv").open("a") as file:
        file.write("a good, long film,1\n")
    with pytest.raises(DataError, match=r"train\.csv:22: 3 fields: the header has 2"):
        prepare_launch(str(csv_run), [output])
    # a run that is done reads no data
    end_session(tmp_path / "run", status="done", to_step=1)
    assert prepare_launch(str(csv_run), [output]).command[-1] == output


def test_thresholds_of_many_labels_are_refused_before_anything_starts(csv_run: Path, tmp_path: Path) -> None:
    overrides = [f"output_dir={tmp_path / 'run'}", "--threshold_for", "f1"]
    assert prepare_launch(str(csv_run), overrides).command[-1] == "f1"
    rows = "".join(f"a film, number {row} of them;{row % 3}\n" for row in range(30))
    (tmp_path / "train.csv").write_text("text;label\n" + rows)
    with pytest.raises(ConfigError) as raised:
        prepare_launch(str(csv_run), [*overrides, "--field_delimiter", ";"])
    assert [str(problem) for problem in raised.value.problems] == [
        "--threshold_for: f1: thresholds are for 2 labels, or several labels a row, and here a row has one of 3; "
        "remove it, and the likeliest label is given; class_weights can favour a label"
    ]
    assert not (tmp_path / "run").exists()


def test_restarts_are_the_launchers(csv_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare_launch(str(csv_run), accelerate="multi_cpu", max_restarts=3)
    assert prepared.command[5:8] == ("--max_restarts", "3", str(prepared.recipe))
    assert prepared.environment["PET_STANDALONE"] == "1"
    for name, value in (("MACHINE_RANK", "0"), ("MAIN_PROCESS_IP", "10.0.0.1"), ("MAIN_PROCESS_PORT", "29500")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NUM_MACHINES", "2")
    with pytest.raises(ConfigError, match=r"--max-restarts: 3: the launchers of 2 machines do not start again togeth"):
        prepare_launch(str(csv_run), accelerate="multi_cpu", max_restarts=3)
    with pytest.raises(ConfigError, match=r"--max-restarts: 3: no launcher starts it again; add --accelerate, or"):
        prepare_launch(str(csv_run), max_restarts=3)


def test_fewer_shards_than_processes_are_refused_before_anything_is_launched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.jsonl").write_text("".join(f'{{"text": "line {row}"}}\n' for row in range(20)))
    settings = {
        "recipe": "pretrain_causal_lm",
        "train_file": "one.jsonl",
        "streaming": "true",
        "tokenizer_name": "demo:minilm",
        "max_steps": 2,
        "max_eval_samples": 2,
        "validation_fraction": 0.5,
    }
    (tmp_path / "mine.yaml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    assert prepare_launch("mine.yaml", accelerate="cpu").processes == 1
    with pytest.raises(DataError, match="1 shard for 2 processes"):
        prepare_launch("mine.yaml", accelerate="multi_cpu")
