"""Two processes on one stream: they stop and go on together, and a row that one of them cannot use ends both."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_launched import HFPIPE, finish, start, write_yaml
from test_resume import outcome
from test_streaming import stream_settings, write_corpus

from hfpipe.records.run_directory import read_history, read_json


@pytest.mark.slow
def test_two_processes_stop_and_go_on_in_the_same_bits(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    settings = stream_settings(write_corpus(tmp_path / "corpus", shards=5), checkpoints("llama"))
    settings |= {"max_steps": 40, "logging_steps": 1}
    file = write_yaml(tmp_path / "stream.yaml", "pretrain_causal_lm", settings)
    command = [*HFPIPE, "run", str(file), "--accelerate", "multi_cpu"]
    code, output = finish(start([*command, f"output_dir={tmp_path / 'straight'}"]))
    assert code == 0, output

    stopped = tmp_path / "stopped"
    process = start([*command, f"output_dir={stopped}"])
    deadline = time.monotonic() + 60
    while len(read_history(stopped / "history.jsonl")) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 130, output
    assert 0 < read_json(stopped / "run.json")["sessions"][-1]["to_step"] < 40

    # as many rows a step as before
    alone = [*HFPIPE, "run", str(file), f"output_dir={stopped}", "gradient_accumulation_steps=4"]
    code, output = finish(start(alone))
    assert code == 2, output
    assert "processes: 1: the run began with 2, and each of them has its own place in the stream" in output

    code, output = finish(start([*command, f"output_dir={stopped}"]))
    assert code == 0, output
    assert outcome(stopped) == outcome(tmp_path / "straight")
    records = [read_json(folder / "run.json")["stream"] for folder in (stopped, tmp_path / "straight")]
    assert records[0] == records[1]
    assert len(records[0]["processes"]) == 2


@pytest.mark.slow
def test_a_row_that_one_process_cannot_use_ends_both(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", shards=5)
    lines = (corpus / "part-2.jsonl").read_text(encoding="utf-8").splitlines()
    (corpus / "part-2.jsonl").write_text("\n".join([*lines[:20], '{"text": 21}', *lines[21:]]), encoding="utf-8")
    settings = {**stream_settings(corpus, checkpoints("llama")), "max_eval_samples": 1, "validation_fraction": 0.5}
    file = write_yaml(tmp_path / "stream.yaml", "pretrain_causal_lm", settings)
    code, output = finish(
        start([*HFPIPE, "run", str(file), "--accelerate", "multi_cpu", f"output_dir={tmp_path / 'run'}"])
    )
    assert code == 2, output
    assert output.count(f"{corpus / 'part-2.jsonl'}:21: column 'text' holds a number, '21': a text is expected") == 1
    assert "Traceback" not in output
    assert read_json(tmp_path / "run" / "run.json")["status"] == "failed"
