"""From the start of a process to the end of its first step: scripts like HF's examples against the recipes.

    python -m bench first_step --rounds 3

Each turn starts `python SCRIPT` as a user does, on the same model and rows, and ends it once the first step has left
its mark. The first round is not counted: it warms the file cache, and the caches of data sets that both sides keep.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bench.compare import compare, join
from bench.finetune import MINILM, TINY
from bench.made_up import Shape, make_texts, save_classifier, save_language_model, write_labelled
from bench.pretrain import SHAPES
from bench.report import Report
from bench.turns import Record, Sample, do_apart
from hfpipe.config import find_recipe_module
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.data.cache_places import VARIABLE as CACHE

SCRIPTS = Path(__file__).parent / "plain_scripts"
WARM_UP = 1
LIMIT_SECONDS = 300.0
SECONDS_BETWEEN_LOOKS = 0.01


@dataclass(frozen=True)
class Start:
    """A way to start: the command but for where it writes, and the file whose first line says that a step is done."""

    name: str
    words: Sequence[str]
    mark: str


def add_options(parser: ArgumentParser) -> None:
    """Add the kinds of run and their size."""
    parser.add_argument("--kind", nargs="+", choices=("pretrain", "finetune"), default=("pretrain", "finetune"))
    parser.add_argument("--texts", type=int, default=2000)


def run(options: Namespace) -> Report:
    """Start both sides in turns, for each kind of run."""
    rounds = WARM_UP + (options.rounds or (1 if options.quick else 5))
    texts = 64 if options.quick else options.texts
    reports = []
    for kind in options.kind:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepared = prepare_lm if kind == "pretrain" else prepare_classifier
            do_apart(partial(prepared, folder, texts, is_quick=options.quick))
            starts = language_model_starts(folder) if kind == "pretrain" else classifier_starts(folder)
            records = start_in_turns(folder, starts, rounds)
        reports.append(compare(f"{kind}: {texts:,} texts, start to the first step", records, unit="starts"))
    return join(reports)


def prepare_lm(folder: Path, texts: int, *, is_quick: bool) -> None:
    """Save a language model and documents, one a line."""
    shape = SHAPES["quick" if is_quick else "6x384"]
    save_language_model(folder / "model", shape)
    _write_lines(folder, shape, texts)


def prepare_classifier(folder: Path, texts: int, *, is_quick: bool) -> None:
    """Save a classifier and labelled rows."""
    shape = TINY if is_quick else MINILM
    save_classifier(folder / "model", shape)
    for name, count in (("train", texts), ("validation", 20)):
        labels = np.random.default_rng(count).integers(2, size=count).tolist()
        write_labelled(folder / f"{name}.jsonl", make_texts(count, shape, seed=count), labels)


def language_model_starts(folder: Path) -> list[Start]:
    """Return how both sides pretrain on the same documents."""
    length = json.loads((folder / "model" / "config.json").read_text())["n_positions"]
    files = ["--train_file", str(folder / "train.txt"), "--validation_file", str(folder / "validation.txt")]
    shared = ["--model_name_or_path", str(folder / "model"), *files, "--block_size", str(length)]
    shared += ["--per_device_train_batch_size", "8", "--max_steps", "1000"]
    return _starts("causal_lm", PRETRAIN, shared, ["--document_per", "line"])


def classifier_starts(folder: Path) -> list[Start]:
    """Return how both sides fine-tune on the same rows."""
    files = ["--train_file", str(folder / "train.jsonl"), "--validation_file", str(folder / "validation.jsonl")]
    shared = ["--model_name_or_path", str(folder / "model"), *files, "--max_seq_length", "256"]
    shared += ["--per_device_train_batch_size", "16", "--max_steps", "1000"]
    return _starts("classification", FINETUNE, shared, [])


def start_in_turns(folder: Path, starts: Sequence[Start], rounds: int) -> list[Record]:
    """Return the seconds from each start to its first step."""
    records = [Record(start.name, WARM_UP) for start in starts]
    for number in range(rounds):
        pairs = list(zip(starts, records, strict=True))
        for place, (start, record) in enumerate(pairs if number % 2 == 0 else pairs[::-1]):
            output_dir = folder / f"run-{number}-{place}"
            sample, peak = time_first_step(start, output_dir, cache=folder / "cache")
            record.samples.append(sample)
            record.peak_bytes = max(record.peak_bytes, peak)
    return records


def time_first_step(start: Start, output_dir: Path, *, cache: Path) -> tuple[Sample, int]:
    """Start once, wait for the mark of the first step, end the process, and return its time and its memory.

    Raises:
        SystemExit: If the process ends, or five minutes pass, without a step.
    """
    words = [*start.words, "--output_dir", str(output_dir)]
    log = output_dir.with_suffix(".log")
    with log.open("w") as out:
        began = time.perf_counter()
        environment = {**os.environ, "HF_DATASETS_CACHE": str(cache), CACHE: str(cache)}
        process = subprocess.Popen(words, stdout=out, stderr=out, env=environment)
        mark = output_dir / start.mark
        while not (mark.exists() and mark.stat().st_size):
            late = time.perf_counter() - began > LIMIT_SECONDS
            if late or process.poll() is not None:
                process.kill()
                raise SystemExit(f"{start.name}: no first step:\n{log.read_text()[-3000:]}")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        wall = time.perf_counter() - began
    process.kill()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Sample(wall, used.ru_utime + used.ru_stime, 1), used.ru_maxrss * 1024


def _starts(script: str, recipe: str, shared: list[str], own: list[str]) -> list[Start]:
    plain = [sys.executable, str(SCRIPTS / f"{script}.py"), *shared]
    ours = [sys.executable, str(find_recipe_module(recipe)), *shared, *own]
    ours += ["--logging_steps", "1", "--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "no"]
    return [Start(f"a script like HF's ({script})", plain, "first_step"), Start("hfpipe", ours, "history.jsonl")]


def _write_lines(folder: Path, shape: Shape, texts: int) -> None:
    for name, count in (("train", texts), ("validation", 20)):
        (folder / f"{name}.txt").write_text("\n".join(make_texts(count, shape, seed=count)) + "\n")
