"""The blocks of a stream as rows of a training run, and their place in a checkpoint.

A batch plan deals out numbered rows; here a number stands for the next block of this process, so windows, counts and
resuming work as they do for rows in memory. The state behind each of the last micro-batches is kept, and a checkpoint
takes the one of its step. A row that cannot be used is met by one process alone: it hands over empty batches until all
processes have learnt of it, before the update, and all of them end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hfpipe.data.corpus import IGNORED
from hfpipe.data.stream_blocks import BlockStream, StreamState
from hfpipe.data.streams import FATES, Position, Share
from hfpipe.errors import CheckpointError, HfpipeError, Problem
from hfpipe.training.agreement import is_true_anywhere, raise_in_all
from hfpipe.training.datasets import Batch
from hfpipe.training.state_files import read_state, write_state

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

TOKENIZE_FIRST = "or tokenize the corpus before training: drop streaming: true, with another output_dir"


@dataclass(frozen=True)
class StreamShape:
    """How many blocks a run takes from its streams: `total` over all processes, so many a micro-batch of each."""

    total: int
    block_size: int
    per_device_batch_size: int
    gradient_accumulation_steps: int


class StreamedBlocks:
    """The next blocks of this process under the row ids of a batch plan that keeps their order."""

    def __init__(self, stream: BlockStream, share: Share, shape: StreamShape) -> None:
        self.share = share
        self.shape = shape
        self.failure: HfpipeError | None = None
        self._stream = stream
        self._served: dict[int, tuple[np.ndarray, str]] = {}  # the blocks of the last micro-batches, by row id
        self._states: dict[int, StreamState] = {}

    def __len__(self) -> int:
        return self.shape.total

    @property
    def lengths(self) -> np.ndarray:
        """Positions of each block, (blocks,): all alike, and stored once."""
        return np.broadcast_to(np.int64(self.shape.block_size), (self.shape.total,))

    @property
    def newest(self) -> StreamState:
        """The state behind the last block taken."""
        return self._stream.state()

    def close(self) -> None:
        """Let go of the shard that is open."""
        self._stream.close()

    def state_at(self, blocks: int) -> StreamState:
        """Return the state behind the first `blocks` of this process, which are one of its last micro-batches' end."""
        return self._states[blocks * self.shape.block_size]

    def name(self, row_id: int) -> str:
        """Return the number of a block and the document it begins in, where this process has it."""
        if row_id in self._served:
            return f"block {row_id:,} (begins in {self._served[row_id][1]})"
        return f"block {row_id:,} (of process {row_id % self.share.world_size})"

    def __getitems__(self, row_ids: Sequence[int]) -> Batch:
        """Return `input_ids` and `labels`, both (rows, block_size): the next blocks, or those of late once more.

        Blocks of other processes, and all of them after a row that cannot be used, come without labels.
        """
        if self._is_own(row_ids[0]) and row_ids[0] not in self._served:
            self._serve(row_ids)
        blank = np.zeros(self.shape.block_size, dtype=np.int32)
        blocks = [self._served[row_id][0] if row_id in self._served else blank for row_id in row_ids]
        input_ids = torch.from_numpy(np.stack(blocks).astype(np.int64))
        labels = input_ids.clone()
        for position, row_id in enumerate(row_ids):
            if row_id not in self._served:
                labels[position] = IGNORED
        return {"input_ids": input_ids, "labels": labels}

    def _is_own(self, row_id: int) -> bool:
        return self._place_in_micro_batch(row_id) % self.share.world_size == self.share.rank

    def _place_in_micro_batch(self, row_id: int) -> int:
        return row_id % (self.shape.per_device_batch_size * self.share.world_size)

    def _serve(self, row_ids: Sequence[int]) -> None:
        if self.failure is not None:
            return
        own = (row_ids[0] - self._place_in_micro_batch(row_ids[0])) // self.share.world_size
        assert self._stream.tokens == own * self.shape.block_size, "a stream is read in its order"
        try:
            blocks, places = self._stream.take(len(row_ids))
        except HfpipeError as error:
            self.failure = error
            return
        kept = self.shape.gradient_accumulation_steps * self.shape.per_device_batch_size
        self._served = dict([*self._served.items()][-kept + len(row_ids) :] if kept > len(row_ids) else [])
        self._served |= dict(zip(row_ids, zip(blocks, places, strict=True), strict=True))
        state = self._stream.state()
        self._states[state.tokens] = state
        while len(self._states) > 2 * self.shape.gradient_accumulation_steps + 1:
            del self._states[min(self._states)]


def raise_together(trainer: "PlannedTrainer") -> None:
    """Raise in all processes what a row of the stream of one of them makes impossible.

    Raises:
        DataError, HubError: With the problems of all processes.
    """
    rows, args = trainer.train_rows, trainer.args
    if isinstance(rows, StreamedBlocks) and is_true_anywhere(rows.failure is not None, args):
        rows.close()
        raise_in_all(rows.failure, args)


def save_stream(trainer: "PlannedTrainer", folder: Path) -> None:
    """Write where this process stands in its stream, into the checkpoint of the present step; each has its own file."""
    rows = trainer.train_rows
    if not isinstance(rows, StreamedBlocks):
        return
    blocks_per_step = rows.shape.per_device_batch_size * rows.shape.gradient_accumulation_steps
    state = rows.state_at(trainer.state.global_step * blocks_per_step)
    write_state(folder, _file_name(rows.share.rank), state_tree(state, rows.share), owner="streaming")


def load_stream(folder: Path, share: Share) -> StreamState:
    """Return where process `share.rank` stood at a checkpoint.

    Raises:
        CheckpointError: If its file is missing or damaged, or the processes were others in number.
    """
    check_processes(read_state(folder, _file_name(0))["world_size"], share.world_size)
    tree = read_state(folder, _file_name(share.rank))
    starts = tuple(start for start, _ in tree["documents"])
    places = tuple(place for _, place in tree["documents"])
    return StreamState(Position(*tree["position"]), tree["ids"].numpy(), starts, places, tree["counts"], tree["tokens"])


def check_processes(began_with: int, now: int) -> None:
    """Raise a CheckpointError where a stream that was read by so many processes goes on with others."""
    if began_with != now:
        rule = f"the run began with {began_with:,}, and each of them has its own place in the stream"
        remedy = f"launch {began_with:,} again, {TOKENIZE_FIRST}"
        raise CheckpointError(Problem("processes", f"{now:,}", rule, remedy))


def count_documents(trainer: "PlannedTrainer") -> list[dict[str, int]]:
    """Return what each process has read and trained on, process by process; all have to call it.

    Documents are read a few dozen ahead of the tokens trained on.
    """
    rows = trainer.train_rows
    assert isinstance(rows, StreamedBlocks)
    state = rows.newest
    own = [state.tokens, state.position.epoch, *(state.counts.get(fate, 0) for fate in FATES)]
    gathered = trainer.accelerator.gather(torch.tensor([own], dtype=torch.int64, device=trainer.args.device))
    names = ("tokens", "epoch", *FATES)
    return [dict(zip(names, numbers, strict=True)) for numbers in gathered.tolist()]


def _file_name(rank: int) -> str:
    return f"stream_{rank}"


def state_tree(state: StreamState, share: Share) -> dict[str, Any]:
    """Return a state in the form that checkpoints hold."""
    return {
        "world_size": share.world_size,
        "position": list(state.position),
        "ids": torch.from_numpy(state.ids.copy()),
        "documents": [list(each) for each in zip(state.starts, state.places, strict=True)],
        "counts": dict(state.counts),
        "tokens": state.tokens,
    }
