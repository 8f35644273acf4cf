"""What pushing does to a run: a Hub that is away at its start, and what of a run directory would travel.

Libraries read the Hub's address when they are imported, so each side is a process of its own:
`python -m bench.plain_trainer.pushes WORKSHOP plain`, or `ours`.
"""

import os
import subprocess
import sys
from pathlib import Path

from huggingface_hub.utils import filter_repo_objects
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from bench.plain_trainer import ours
from bench.plain_trainer.plain import build_plain, plain_arguments, train_plain
from bench.plain_trainer.table import Finding
from bench.plain_trainer.workshop import Workshop, feed
from hfpipe.hub.files import list_files
from hfpipe.hub.pending import count_commits
from hfpipe.hub.spool import Spool
from hfpipe.records.run_directory import CHECKPOINTS

# nobody listens there: every connection is refused at once
AWAY = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_writes", "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
# of Trainer.push_to_hub and Trainer._push_from_checkpoint in transformers 5.23
IGNORED = ["_*", f"{PREFIX_CHECKPOINT_DIR}-*"]
STATES = ("optimizer", "scheduler", "rng_state", "scaler")


def compare_pushes(workshop: Workshop) -> list[Finding]:
    """Return how a run begins without its Hub, and whether states of the optimizer travel from folders in folders."""
    plain, our = (_run(workshop, side) for side in ("plain", "ours"))
    directory = workshop.run("pushes")
    return [
        Finding(
            "pushing to a Hub that is away at the start (difference: nothing trains)",
            _tell(plain),
            f"{_tell(our)}; {count_commits(Spool(directory).list_pending())} kept to be delivered",
            *(float(each.returncode != 0) for each in (plain, our)),
        ),
        _compare_folders(directory),
    ]


def _compare_folders(directory: Path) -> Finding:
    """Ask which states in `checkpoints/checkpoint-N/` would go with the finished model."""
    there = [path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()]
    visible = [path for path in there if not path.startswith(".")]
    travelling = [list(filter_repo_objects(visible, ignore_patterns=IGNORED)), list_files(directory)]
    states = [[path for path in paths if Path(path).name.startswith(STATES)] for paths in travelling]
    assert any(path.startswith(f"{CHECKPOINTS}/") for path in visible), "it saved"
    return Finding(
        "states in checkpoints/checkpoint-N/ that travel with the finished model (difference: files)",
        f"{len(states[0])}: {', '.join(sorted({Path(path).name for path in states[0]}))}",
        f"{len(states[1])}",
        *(float(len(each)) for each in states),
    )


def _run(workshop: Workshop, side: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench.plain_trainer.pushes", str(workshop.folder), side]
    return subprocess.run(command, env={**os.environ, **AWAY}, capture_output=True, text=True, check=False)


def _tell(ended: "subprocess.CompletedProcess[str]") -> str:
    if ended.returncode == 0:
        return "trained to the end, exit code 0"
    last = ended.stderr.strip().splitlines()[-1].partition(":")[0].rpartition(".")[2]
    return f"Trainer() raises {last}, exit code {ended.returncode}"


def _run_plain(workshop: Workshop) -> None:
    """Train as documented, with pushing; the Hub of this process is away."""
    case = workshop.classifier("bert")
    data = feed(workshop, case, "feed-pushes")
    args = plain_arguments(workshop.run("plain-pushes"), save_strategy="epoch", push_to_hub=True, hub_model_id="me/x")
    train_plain(build_plain(case.model(), args, data.tokenizer, train=data.train))


def _run_ours(workshop: Workshop) -> None:
    settings = {"save_strategy": "epoch", "push_to_hub": "true", "hub_model_id": "me/x", "hub_strategy": "every_save"}
    ours.run_whole(workshop.classifier("bert").config(workshop.run("pushes"), **settings))


if __name__ == "__main__":
    {"plain": _run_plain, "ours": _run_ours}[sys.argv[2]](Workshop(Path(sys.argv[1])))
