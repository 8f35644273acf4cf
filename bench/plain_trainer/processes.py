"""What two processes change: one launch that runs all of it and leaves its measurements in a JSON file.

`launch_two` starts this module under torchrun, with the folder of the workshop as its argument.
"""

import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from torch import distributed
from transformers import DataCollatorWithPadding

from bench.plain_trainer import ours
from bench.plain_trainer.evaluations import BATCH_SIZE_ON_TWO, run_evaluations
from bench.plain_trainer.plain import Row, build_plain, plain_arguments, train_plain
from bench.plain_trainer.table import Finding
from bench.plain_trainer.windows import CUTS_ON_TWO, run_cuts
from bench.plain_trainer.workshop import Workshop, feed
from hfpipe.data.batches import FILLER
from hfpipe.training.datasets import Batch, LabelledRows

RESULT_FILE = "two_processes.json"


def launch_two(workshop: Workshop) -> dict[str, Any]:
    """Start two processes over gloo, wait for them and return what they measured.

    Raises:
        subprocess.CalledProcessError: If the launch failed; what it printed is on stderr.
    """
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m")
    command = [sys.executable, "-m", *launcher, "bench.plain_trainer.processes", str(workshop.folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return json.loads((workshop.folder / RESULT_FILE).read_text(encoding="utf-8"))


def measure(workshop: Workshop) -> dict[str, Any]:
    """Return everything that takes two processes; each of them calls it."""
    sizes = {f"{BATCH_SIZE_ON_TWO} on 2": BATCH_SIZE_ON_TWO}
    return {
        "windows": run_cuts(workshop, workshop.cases(), CUTS_ON_TWO),
        "classifier_loss": run_evaluations(workshop, workshop.classifier("bert"), sizes),
        "causal_lm_loss": run_evaluations(workshop, workshop.causal_lm(), sizes),
        "plain_rows": _plain_rows_seen(workshop),
        "our_rows": _our_rows_seen(workshop),
    }


def compare_rows(plain_rows: list[int], our_rows: list[int]) -> Finding:
    """Return which rows of the training file one epoch used more than once."""
    return Finding(
        "rows used twice in an epoch of 21 rows, 4x1 on 2 processes (difference: extra rows)",
        _tell_repeated(plain_rows),
        _tell_repeated(our_rows),
        len(plain_rows) / len(set(plain_rows)) - 1,
        len(our_rows) / len(set(our_rows)) - 1,
    )


def _tell_repeated(rows: list[int]) -> str:
    repeated = sorted(row for row, count in Counter(rows).items() if count > 1)
    return f"ids {', '.join(map(str, repeated))}" if repeated else f"none; {len(set(rows))} rows once each"


@dataclass(frozen=True)
class RecordingRows:
    """The rows of a run of hfpipe, and which of them this process was asked for; fillers are no rows."""

    rows: LabelledRows
    seen: list[int]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        return self.rows.lengths

    def name(self, row_id: int) -> str:
        return self.rows.name(row_id)

    def __getitems__(self, row_ids: Sequence[int]) -> Batch:
        self.seen.extend(row for row in row_ids if row != FILLER)
        return self.rows.__getitems__(row_ids)


def _plain_rows_seen(workshop: Workshop) -> list[int]:
    case = workshop.classifier("bert")
    data = feed(workshop, case, "feed-rows")
    pad = DataCollatorWithPadding(data.tokenizer)
    seen: list[int] = []

    def collate(features: list[Row]) -> Any:
        seen.extend(feature["row_id"] for feature in features)
        return pad([{name: value for name, value in feature.items() if name != "row_id"} for feature in features])

    args = plain_arguments(
        workshop.run("plain-rows"), num_train_epochs=1, per_device_train_batch_size=4, remove_unused_columns=False
    )
    rows = [{**row, "row_id": row_id} for row_id, row in enumerate(data.train)]
    train_plain(build_plain(case.model(), args, data.tokenizer, train=rows, extras={"data_collator": collate}))
    return _gather(seen)


def _our_rows_seen(workshop: Workshop) -> list[int]:
    settings = {"num_train_epochs": 1, "per_device_train_batch_size": 4, **ours.STEPS_ONLY}
    run = ours.assemble(workshop.classifier("bert").config(workshop.run("rows"), **settings))
    seen: list[int] = []
    run.trainer.train_rows = RecordingRows(run.rows.train, seen)
    run.train()
    return _gather(seen)


def _gather(seen: list[int]) -> list[int]:
    by_process: list[list[int]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(by_process, seen)
    return [row for rows in by_process for row in rows]


def main() -> None:
    """Measure in this process of two; the first one writes the result."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = Path(sys.argv[1])
    measured = measure(Workshop(folder))
    if distributed.get_rank() == 0:
        (folder / RESULT_FILE).write_text(json.dumps(measured), encoding="utf-8")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
