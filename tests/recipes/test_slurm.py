"""multi_node.sbatch with stand-ins for Slurm: what it starts, and when it queues the job again."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from slurm import requeued, start_job, write_command
from test_launched import losses_of, write_yaml
from test_resume import classifier_settings, outcome

from hfpipe.records.run_directory import read_history, read_json

# Says how it was called, then waits for SIGTERM and ends with the code that it is told to.
FAKE_HFPIPE = """
import os, signal, sys, time
from pathlib import Path
heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
names = ("NUM_MACHINES", "MAIN_PROCESS_IP", "MAIN_PROCESS_PORT", "PET_SHUTDOWN_TIMEOUT")
Path("called" + os.environ["MACHINE_RANK"]).write_text(" ".join([*sys.argv[1:], *(os.environ[name] for name in names)]))
while not heard and os.environ["WAITS"]:
    time.sleep(0.01)
time.sleep(0.1)
sys.exit(int(os.environ["CODE"]))
"""


def wait_until(is_so: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("sent", "code", "queues_again"),
    [
        (signal.SIGUSR1, 143, True),
        (signal.SIGUSR1, 0, False),  # the run was done before it could stop
        (signal.SIGUSR1, 2, False),
        (None, 0, False),
        (None, 143, False),  # somebody stopped the run itself
    ],
)
def test_a_job_queues_again_only_when_its_signal_stopped_the_run(
    sent: signal.Signals | None, code: int, queues_again: bool, tmp_path: Path
) -> None:
    write_command(tmp_path / "bin", "hfpipe", FAKE_HFPIPE)
    waits = "yes" if sent else ""
    job = start_job(tmp_path, "mine.yaml", "seed=7", nodes=2, PROCESSES_PER_NODE="4", CODE=str(code), WAITS=waits)
    if sent:
        wait_until(lambda: all((tmp_path / f"called{rank}").exists() for rank in (0, 1)), seconds=20)
        job.send_signal(sent)
    output, _ = job.communicate(timeout=20)
    assert job.returncode == code, output
    assert requeued(tmp_path) == (["requeue 4711"] if queues_again else [])
    # the first node of the job, and a port from its number
    expected = "run mine.yaml seed=7 --accelerate multi_node num_processes=8 2 127.0.0.1 14711 280"
    assert [(tmp_path / f"called{rank}").read_text() for rank in (0, 1)] == [expected, expected]


def test_a_job_that_is_cancelled_or_stopped_by_hand_is_not_queued_again(tmp_path: Path) -> None:
    write_command(tmp_path / "bin", "hfpipe", FAKE_HFPIPE)
    for kill in ("srun", "job"):
        job = start_job(tmp_path, "mine.yaml", nodes=2, PROCESSES_PER_NODE="4", CODE="143", WAITS="yes")
        wait_until(lambda: all((tmp_path / f"called{rank}").exists() for rank in (0, 1)), seconds=20)
        srun = int((tmp_path / "srun.pid").read_text())
        if kill == "job":
            job.send_signal(signal.SIGTERM)  # scancel signals every process of the job
            os.kill(srun, signal.SIGTERM)
        else:
            os.kill(srun, signal.SIGUSR2)  # the stand-in's word for scancel --signal=TERM JOB.0
        output, _ = job.communicate(timeout=20)
        assert job.returncode == {"srun": 143, "job": 137}[kill], output
        assert requeued(tmp_path) == []
        for rank in (0, 1):
            (tmp_path / f"called{rank}").unlink()


def test_a_job_without_a_run_or_gpus_says_what_is_missing(tmp_path: Path) -> None:
    output, _ = start_job(tmp_path, nodes=2).communicate(timeout=20)
    assert "usage: sbatch multi_node.sbatch FILE|NAME [KEY=VALUE]..." in output
    output, _ = start_job(tmp_path, "mine.yaml", nodes=2).communicate(timeout=20)
    assert "no GPUs: ask for --gpus-per-node, or set PROCESSES_PER_NODE" in output


TWO_MACHINES = "distributed_type: MULTI_GPU\nuse_cpu: true\nmixed_precision: 'no'\n"


@pytest.mark.slow
def test_a_run_on_two_nodes_is_stopped_by_slurm_queues_again_and_is_done(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    settings |= {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 1, "num_train_epochs": 8}
    file = write_yaml(tmp_path / "mine.yaml", "finetune_classifier", settings)
    (tmp_path / "two_machines.yaml").write_text(TWO_MACHINES)
    accelerate = {"ACCELERATE_FILE": "two_machines.yaml", "PROCESSES_PER_NODE": "1"}

    job = start_job(tmp_path, str(file), "output_dir=straight", nodes=2, **accelerate)
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 0, output
    record = read_json(tmp_path / "straight" / "run.json")
    assert (record["status"], record["world_size"]) == ("done", 2)
    assert requeued(tmp_path) == []

    run = tmp_path / "stopped"
    job = start_job(tmp_path, str(file), "output_dir=stopped", nodes=2, **accelerate)
    wait_until(lambda: len(read_history(run / "history.jsonl")) >= 7, seconds=60)
    job.send_signal(signal.SIGUSR1)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 143, output
    assert requeued(tmp_path) == ["requeue 4711"]
    assert "stopped by Slurm's signal; job 4711 queues again" in output
    assert 0 < read_json(run / "run.json")["sessions"][-1]["to_step"] < 48

    job = start_job(tmp_path, str(file), "output_dir=stopped", nodes=2, **accelerate)
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 0, output
    assert "goes on from step" in output
    assert requeued(tmp_path) == ["requeue 4711"]
    assert losses_of(run) == losses_of(tmp_path / "straight")
    assert outcome(run) == outcome(tmp_path / "straight")
