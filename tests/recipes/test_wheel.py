"""The installed wheel in an empty folder: it lists, checks, runs and copies what ships, without the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_packaging import build, copy_sources

from hfpipe.records.run_directory import read_json

SHORT = ("max_train_samples=64", "max_eval_samples=32", "max_seq_length=32", "num_train_epochs=1", "sample_texts=good")


class Installed:
    """hfpipe from its wheel, in a folder of its own before this environment's packages."""

    def __init__(self, site: Path, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def call(self, *command: str) -> str:
        """Run a command in the empty folder, expect that it succeeds, and return what it printed."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def hfpipe(self, *words: str) -> str:
        return self.call(sys.executable, str(self.site / "bin" / "hfpipe"), *words)


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    wheel = build("wheel", copy_sources(tmp_path / "checkout"), tmp_path / "wheel")
    site, folder = tmp_path / "site", tmp_path / "empty"
    folder.mkdir()
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site))
    result = Installed(site, folder)
    result.call(*pip, str(wheel))
    where = result.call(sys.executable, "-c", "import hfpipe; print(hfpipe.__file__)").strip()
    assert where == str(site / "hfpipe" / "__init__.py")
    return result


def test_the_wheel_lists_copies_and_resolves_what_ships(installed: Installed) -> None:
    assert "imdb/minilm " in installed.hfpipe("recipes")
    assert (
        installed.hfpipe("recipes", "copy", "imdb/minilm", ".") == "wrote minilm.yaml\nnext: hfpipe run minilm.yaml\n"
    )
    assert installed.hfpipe("recipes", "copy", "finetune_classifier") == (
        "wrote finetune_classifier.py\nnext: python finetune_classifier.py --config FILE\n"
    )
    assert (installed.folder / "minilm.yaml").read_bytes() == (
        installed.site / "hfpipe" / "recipes" / "imdb" / "minilm.yaml"
    ).read_bytes()
    shown = installed.call(sys.executable, "finetune_classifier.py", "--help")
    assert "model_name_or_path" in shown
    # a run is named after its folder there as well
    code = (
        "from hfpipe.config import find_named_run, load_config, find_accelerate_config as find\n"
        "print(load_config(['--config', str(find_named_run('imdb/demo'))]).output_dir, find('fsdp2'))"
    )
    fsdp2 = installed.site / "hfpipe" / "accelerate_configs" / "fsdp2.yaml"
    assert installed.call(sys.executable, "-c", code) == f"runs/imdb-demo {fsdp2}\n"


@pytest.mark.slow
def test_the_wheel_checks_and_runs_what_ships(installed: Installed) -> None:
    assert "minilm.yaml" in installed.hfpipe("check", "imdb/minilm", *SHORT)
    printed = installed.hfpipe("run", "imdb/demo", *SHORT)
    assert "record, scores, history, curve: runs/imdb-demo/run.json" in printed
    record = read_json(installed.folder / "runs" / "imdb-demo" / "run.json")
    assert (record["status"], record["git_commit"]) == ("done", None)

    # under accelerate, from the copied recipe and the copied file
    for name in ("imdb/demo", "finetune_classifier", "multi_cpu"):
        installed.hfpipe("recipes", "copy", name)
    launcher = ("-m", "accelerate.commands.launch", "--config_file", "multi_cpu.yaml", "finetune_classifier.py")
    installed.call(sys.executable, *launcher, "--config", "demo.yaml", *SHORT, "output_dir=launched")
    launched = read_json(installed.folder / "launched" / "run.json")
    assert (launched["status"], launched["world_size"]) == ("done", 2)
