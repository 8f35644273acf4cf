"""Writes down which rows a run asks for, and stops it at a chosen step; to be called in the process of a trial.

The methods that answer with rows are wrapped and do what they did. Which part was asked is told by its number of rows.
"""

import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import interruption

from hfpipe.training.datasets import BlockRows, LabelledRows
from hfpipe.training.mixed_rows import MixedBlocks


def audit(folder: str, events: int) -> None:
    """Append the ids of each micro-batch to `folder`/rank.jsonl; raise SIGINT after so many log events (0: never)."""
    file = Path(folder) / f"{os.environ.get('RANK', '0')}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    for kind in (LabelledRows, BlockRows, MixedBlocks):
        _watch(kind, file)
    if events:
        interruption.interrupt_after(events)


def asked_for(folder: Path, part_rows: int) -> list[list[int]]:
    """Return the ids of each micro-batch over all processes, in the order the part of so many rows was asked for them.

    -1 is 'no row'.
    """
    ranks = [
        [ids for rows, ids in map(json.loads, file.read_text(encoding="utf-8").splitlines()) if rows == part_rows]
        for file in sorted(folder.glob("*.jsonl"))
    ]
    assert len({len(own) for own in ranks}) == 1, "every process has as many micro-batches"
    return [[row for own in together for row in own] for together in zip(*ranks, strict=True)]


def _watch(kind: Any, file: Path) -> None:
    answer = kind.__getitems__

    @functools.wraps(answer)
    def watched(self: Any, row_ids: Sequence[int]) -> Any:
        with file.open("a", encoding="utf-8") as log:
            log.write(json.dumps([len(self), list(row_ids)]) + "\n")
        return answer(self, row_ids)

    kind.__getitems__ = watched
