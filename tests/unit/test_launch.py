"""What `hfpipe run` starts, what it refuses first, and how a launched run's signals and exit code come back."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hfpipe import launch
from hfpipe.config import load_config
from hfpipe.config.accelerate_file import read_accelerate_file
from hfpipe.errors import CheckpointError, ConfigError, DataError
from hfpipe.launch import Launch, prepare_launch
from hfpipe.records.environment import usable_cores
from hfpipe.records.sessions import begin_session, describe_settings, end_session

CONFIGS = Path(__file__).parents[2] / "accelerate_configs"


@pytest.fixture
def csv_run(tmp_path: Path) -> Path:
    """A YAML file of a run on ten labelled rows."""
    rows = "".join(f"a {'good' if row % 2 else 'bad'} film number {row},{row % 2}\n" for row in range(20))
    (tmp_path / "train.csv").write_text("text,label\n" + rows)
    path = tmp_path / "mine.yaml"
    lines = ["recipe: finetune_classifier", "model_name_or_path: demo:minilm", f"train_file: {tmp_path / 'train.csv'}"]
    path.write_text("\n".join(lines) + "\n")
    return path


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


def test_under_accelerate_the_run_is_told_how_many_processes_it_must_have(
    csv_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    prepared = prepare_launch(str(csv_run), accelerate="multi_cpu")
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / "multi_cpu.yaml")]
    assert prepared.command[:5] == tuple(launcher)
    assert prepared.command[5:] == (str(prepared.recipe), "--config", str(csv_run), "--num_processes", "2")
    # accelerate itself would take the GPUs of a machine that has some
    assert prepared.environment == {"OMP_NUM_THREADS": str(max(1, usable_cores() // 2)), "CUDA_VISIBLE_DEVICES": ""}
    assert prepared.shown.split()[2:5] == ["accelerate", "launch", "--config_file"]


def test_the_users_number_of_processes_and_threads_wins(csv_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    prepared = prepare_launch(str(csv_run), ["num_processes=4"], accelerate="multi_cpu")
    assert prepared.command[5:8] == ("--num_processes", "4", str(prepared.recipe))
    assert prepared.command[8:] == ("--config", str(csv_run), "num_processes=4")
    assert prepared.environment == {"CUDA_VISIBLE_DEVICES": ""}


TWO_MACHINES = "distributed_type: MULTI_GPU\nuse_cpu: true\nnum_machines: 2\nnum_processes: 6\n"
PLACES = ("NUM_MACHINES", "MACHINE_RANK", "MAIN_PROCESS_IP", "MAIN_PROCESS_PORT")


@pytest.fixture
def two_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An accelerate file for six CPU processes on two machines; nothing says which machine this is."""
    for name in (*PLACES, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "two_machines.yaml"
    path.write_text(TWO_MACHINES)
    return path


def set_place(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_each_machine_is_told_its_rank_and_where_the_first_one_is(
    csv_run: Path, two_machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_place(monkeypatch, MACHINE_RANK="1", MAIN_PROCESS_IP="10.0.0.1", MAIN_PROCESS_PORT="29501")
    prepared = prepare_launch(str(csv_run), accelerate=str(two_machines))
    told = ["--num_machines", "2", "--machine_rank", "1", "--main_process_ip", "10.0.0.1"]
    assert list(prepared.command[5:13]) == [*told, "--main_process_port", "29501"]
    assert prepared.command[13:] == (str(prepared.recipe), "--config", str(csv_run), "--num_processes", "6")
    # three processes here share the cores, not six
    assert prepared.environment["OMP_NUM_THREADS"] == str(max(1, usable_cores() // 3))


def test_the_environment_wins_over_the_file_and_one_machine_needs_no_place(
    csv_run: Path, two_machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_machines.write_text(TWO_MACHINES + "machine_rank: 0\nmain_process_ip: 10.0.0.9\nmain_process_port: 1234\n")
    told = prepare_launch(str(csv_run), accelerate=str(two_machines)).command[5:13]
    assert told[3::2] == ("0", "10.0.0.9", "1234")
    set_place(monkeypatch, NUM_MACHINES="3", MACHINE_RANK="2", MAIN_PROCESS_IP="n1", MAIN_PROCESS_PORT="29501")
    told = prepare_launch(str(csv_run), ["num_processes=3"], accelerate="multi_cpu").command[5:13]
    assert told[1::2] == ("3", "2", "n1", "29501")
    monkeypatch.setenv("NUM_MACHINES", "1")
    assert "--machine_rank" not in prepare_launch(str(csv_run), accelerate="multi_cpu").command


def test_a_machine_whose_place_is_not_known_is_refused(csv_run: Path, two_machines: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        prepare_launch(str(csv_run), accelerate=str(two_machines))
    places = [problem.place for problem in raised.value.problems]
    assert places == ["MACHINE_RANK", "MAIN_PROCESS_IP", "MAIN_PROCESS_PORT"]
    expected = (
        "MACHINE_RANK: is not set, and two_machines.yaml is launched on 2 machines; set it to 0 on one machine, to 1 "
        "on the next; under Slurm multi_node.sbatch does so"
    )
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"MACHINE_RANK": "2"}, "MACHINE_RANK: 2: there are 2 machines; 0 to 1"),
        ({"MACHINE_RANK": "first"}, "MACHINE_RANK: first: is not a whole number from 0; set it, or unset it"),
        ({"NUM_MACHINES": "0"}, "NUM_MACHINES: 0: is not a whole number from 1; set it, or unset it"),
        # each machine would look for a free port of its own
        ({"MAIN_PROCESS_PORT": "0"}, "MAIN_PROCESS_PORT: 0: is not a whole number from 1; set it, or unset it"),
    ],
)
def test_a_wrong_place_is_refused_once(
    values: dict[str, str], message: str, csv_run: Path, two_machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {"MACHINE_RANK": "0", "MAIN_PROCESS_IP": "10.0.0.1", "MAIN_PROCESS_PORT": "29500"}
    set_place(monkeypatch, **{**right, **values})
    with pytest.raises(ConfigError) as raised:
        prepare_launch(str(csv_run), accelerate=str(two_machines))
    assert [str(problem) for problem in raised.value.problems] == [message]


def test_processes_that_do_not_fit_the_machines_are_refused(
    csv_run: Path, two_machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_place(monkeypatch, MACHINE_RANK="0", MAIN_PROCESS_IP="10.0.0.1", MAIN_PROCESS_PORT="29500")
    with pytest.raises(ConfigError, match="num_processes: 5: cannot be shared out evenly among 2 machines"):
        prepare_launch(str(csv_run), ["num_processes=5"], accelerate=str(two_machines))
    two_machines.write_text(TWO_MACHINES.replace("num_processes: 6\n", ""))
    with pytest.raises(ConfigError, match=r"two_machines\.yaml: num_processes: is not given; add num_processes=2"):
        prepare_launch(str(csv_run), accelerate=str(two_machines))


@pytest.mark.parametrize("name", ["single_gpu", "multi_gpu", "fsdp2"])
def test_files_for_gpus_are_refused_without_one(
    name: str, csv_run: Path, two_machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # hides the GPUs of a machine that has some
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    with pytest.raises(ConfigError) as raised:
        prepare_launch(str(csv_run), accelerate=name)
    assert (
        f"{CONFIGS / name}.yaml: is for GPUs, and this machine has none; add --accelerate multi_cpu (or cpu), or write "
        "use_cpu: true into a file of your own"
    ) in str(raised.value)


def test_more_processes_than_gpus_are_refused(
    csv_run: Path, two_machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 2)
    with pytest.raises(ConfigError) as raised:
        prepare_launch(str(csv_run), accelerate="multi_gpu")
    message = "8 processes on this machine, which has 2 GPUs; add num_processes=2, or as many on each machine"
    assert message in str(raised.value)
    prepared = prepare_launch(str(csv_run), ["num_processes=2"], accelerate="multi_gpu")
    assert "CUDA_VISIBLE_DEVICES" not in prepared.environment


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_that_is_not_installed_is_refused(
    stage: int, csv_run: Path, two_machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfpipe.config.accelerate_file.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as raised:
        prepare_launch(str(csv_run), accelerate=f"deepspeed_zero{stage}")
    assert "distributed_type: DEEPSPEED: is not installed; pip install 'hfpipe[deepspeed]'" in str(raised.value)


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


LAUNCHER = """
import os, signal, subprocess, sys
worker = subprocess.Popen([sys.executable, *sys.argv[1:]])
signal.signal(signal.SIGTERM, signal.SIG_DFL)
sys.exit(1 if worker.wait() else 0)
"""

RECIPE = """
import os, signal, sys, time
from pathlib import Path
got = []
signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
os.kill(int(os.environ["TOLD"]), int(os.environ["SIGNAL"]))
while not got:
    time.sleep(0.01)
if os.environ["KILL_LAUNCHER"]:
    os.kill(os.getppid(), signal.SIGKILL)
time.sleep(0.3)
Path(os.environ["SAVED"]).write_text(f"{got}")
if os.environ["LEAVES_CODE"]:
    Path(os.environ["HFPIPE_EXIT_CODE_FILE"]).write_text(str(128 + got[0]))
sys.exit(0 if os.environ["LEAVES_CODE"] else 7)
"""


def test_a_launched_run_hears_each_signal_once_and_its_exit_code_comes_back(tmp_path: Path) -> None:
    launcher, recipe, saved = tmp_path / "launcher.py", tmp_path / "recipe.py", tmp_path / "saved"
    launcher.write_text(LAUNCHER)
    recipe.write_text(RECIPE)
    command = (sys.executable, str(launcher), str(recipe))
    before = signal.getsignal(signal.SIGTERM)
    for number, leaves_code, kill_launcher, expected in (
        (signal.SIGTERM, "1", "", 143),
        (signal.SIGINT, "1", "", 130),
        (signal.SIGHUP, "", "", 143),  # the launcher said 1
        (signal.SIGTERM, "1", "1", 143),  # the recipe outlives its launcher
    ):
        settings = {"TOLD": str(os.getpid()), "SIGNAL": str(int(number)), "SAVED": str(saved)}
        environment = {**settings, "LEAVES_CODE": leaves_code, "KILL_LAUNCHER": kill_launcher}
        code = launch.start(Launch(command, recipe, under_accelerate=True, environment=environment))
        heard = signal.SIGTERM if number == signal.SIGHUP else number
        assert (code, saved.read_text()) == (expected, f"[{int(heard)}]")
        saved.unlink()
    assert signal.getsignal(signal.SIGTERM) is before


STUBBORN = """
import signal, sys, time
heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
print("ready", flush=True)
while not heard:
    time.sleep(0.01)
time.sleep(0.4)
sys.exit(len(heard))
"""


def test_a_launcher_whose_processes_wait_in_vain_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # torch's launcher, told again while it shuts down, leaves without having killed them
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.1)
    left = tmp_path / "exit_code"
    left.write_text("2")
    with subprocess.Popen([sys.executable, "-S", "-c", STUBBORN], stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None and launcher.stdout.readline() == b"ready\n"
        launch._wait(launcher, left)
    assert launcher.returncode == 1


def test_the_exit_code_is_the_recipes_where_it_left_one(tmp_path: Path) -> None:
    left = tmp_path / "exit_code"
    assert launch._exit_code(0, left, []) == 0
    assert launch._exit_code(1, left, []) == 1
    assert launch._exit_code(-9, left, []) == 137
    assert launch._exit_code(1, left, [signal.SIGTERM]) == 143
    left.write_text("2")
    assert launch._exit_code(1, left, []) == 2
