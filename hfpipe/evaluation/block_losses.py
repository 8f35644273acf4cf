"""What a language model lost on every held-out block, as a Parquet file beside the run: `block_losses/test.parquet`.

Two models are compared block by block, so the losses of both are needed, in float64 as they were summed. There are no
texts in it. Refuses files of another format.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.durable import clean_partial_files, write_whole

FOLDER = "block_losses"
_SCHEMA = pyarrow.schema([("loss", pyarrow.float64()), ("tokens", pyarrow.int64()), ("bytes", pyarrow.float64())])


@dataclass(frozen=True)
class BlockLosses:
    """By block, each (blocks,): the summed loss in nats, the tokens that are predicted, the bytes these stand for."""

    losses: np.ndarray
    tokens: np.ndarray
    byte_counts: np.ndarray


def write_block_losses(run_dir: Path, part: str, blocks: BlockLosses) -> None:
    """Write the losses of a part, whole; `part` is 'validation' or 'test'.

    Raises:
        CheckpointError: If they cannot be written, as on a full disk.
    """
    path, content = _path(run_dir, part), io.BytesIO()
    path.parent.mkdir(parents=True, exist_ok=True)
    clean_partial_files(path.parent)  # of a session that was killed here
    arrays = (blocks.losses, blocks.tokens, blocks.byte_counts)
    columns = [pyarrow.array(each, field.type) for each, field in zip(arrays, _SCHEMA, strict=True)]
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=_SCHEMA), content, compression="zstd")
    write_whole(path, content.getvalue())


def read_block_losses(run_dir: Path, part: str) -> BlockLosses:
    """Return the losses of a part.

    Raises:
        CheckpointError: If there are none, or they cannot be read.
    """
    path = _path(run_dir, part)
    try:
        table = pyarrow.parquet.read_table(path)
    except FileNotFoundError as error:
        raise CheckpointError(
            Problem(str(path), rule="there is no such file", remedy="is this a finished run?")
        ) from error
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(Problem(str(path), rule=f"cannot be read as Parquet ({reason})")) from error
    if table.schema.remove_metadata() != _SCHEMA:
        raise CheckpointError(Problem(str(path), rule="holds other columns than losses, tokens and bytes"))
    return BlockLosses(*(table.column(name).to_numpy() for name in _SCHEMA.names))


def _path(run_dir: Path, part: str) -> Path:
    return run_dir / FOLDER / f"{part}.parquet"
