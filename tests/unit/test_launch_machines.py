"""What a launch needs of a machine (its place among several, GPUs, DeepSpeed), and how it is refused without."""

from pathlib import Path

import pytest
from test_launch import CONFIGS, write_csv_run

from hfpipe.errors import ConfigError
from hfpipe.launch import prepare_launch
from hfpipe.records.environment import usable_cores

TWO_MACHINES = "distributed_type: MULTI_GPU\nuse_cpu: true\nnum_machines: 2\nnum_processes: 6\n"
PLACES = ("NUM_MACHINES", "MACHINE_RANK", "MAIN_PROCESS_IP", "MAIN_PROCESS_PORT")


@pytest.fixture
def csv_run(tmp_path: Path) -> Path:
    return write_csv_run(tmp_path)


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
