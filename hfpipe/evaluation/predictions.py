"""What a classifier said of every scored row, as a Parquet file beside the run: `predictions/test.parquet`.

A row of the file is a scored row, in order: where it stands, its texts, what it should be, the logits, its length. Read
back they are what was written, bit for bit. Refuses files that are not of this format. The texts are the user's own
data, so these files never leave the machine: nothing pushes them.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.durable import clean_partial_files, write_whole

PREDICTIONS = "predictions"
"""The folder in a run directory."""
PREDICTIONS_FORMAT = "hfpipe predictions 1"
SLICE_PREFIX = "slice_"
ROWS_A_GROUP = 10_000

_HEAD = b"hfpipe"


@dataclass(frozen=True)
class Predictions:
    """The scored rows of a part, in order.

    Args:
        problem_type: What the labels of a row are.
        label_names: In the order of the label ids.
        logits: As the model gave them, before any calibration: (rows, labels) float32.
        targets: Label ids int64 (rows,), 0.0 and 1.0 float32 (rows, labels), or numbers float32 (rows,).
        places: File and line of each row, as reports name them.
        texts: The texts, whole.
        text_pairs: The second texts, where two are judged together.
        token_counts: Tokens of each text before it was cut, (rows,) int64.
        slices: Of further columns by name, what each row says, None where it says nothing.
    """

    problem_type: str
    label_names: tuple[str, ...]
    logits: np.ndarray
    targets: np.ndarray
    places: Sequence[str]
    texts: Sequence[str]
    text_pairs: Sequence[str] | None
    token_counts: np.ndarray
    slices: Mapping[str, Sequence[str | None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)


def predictions_path(run_dir: Path, part: str) -> Path:
    """Return where the predictions of a part of a run lie; `part` is 'validation' or 'test'."""
    return run_dir / PREDICTIONS / f"{part}.parquet"


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the predictions to `path`, whole; its folder is made where it is missing.

    Raises:
        CheckpointError: If they cannot be written, as on a full disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clean_partial_files(path.parent)  # of a session that was killed here
    content, schema = io.BytesIO(), _schema(predictions)
    with pyarrow.parquet.ParquetWriter(content, schema, compression="zstd") as writer:
        # group by group: texts of more than 2 GB fit no array
        for start in range(0, max(len(predictions), 1), ROWS_A_GROUP):
            rows = slice(start, start + ROWS_A_GROUP)
            writer.write_table(pyarrow.table(_columns(predictions, rows), schema=schema))
    write_whole(path, content.getvalue())


def read_predictions(path: Path) -> Predictions:
    """Return the predictions in `path`.

    Raises:
        CheckpointError: If there is no such file, or it is not one that `write_predictions` made.
    """
    if not path.is_file():
        raise CheckpointError(Problem(str(path), rule="there is no such file", remedy="is this a finished run?"))
    try:
        table = pyarrow.parquet.read_table(path, memory_map=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise _refusal(path, f"cannot be read as Parquet ({str(error).splitlines()[0]})") from error
    head = _head_of(table.schema)
    if head is None:
        raise _refusal(path, f"is not in the format '{PREDICTIONS_FORMAT}'")
    problem_type, names = str(head["problem_type"]), tuple(head["label_names"])
    if table.schema.remove_metadata() != _schema_of(problem_type, table.schema.names):
        raise _refusal(path, f"has other columns than the format '{PREDICTIONS_FORMAT}'")
    return _of_table(table, problem_type, names)


def _refusal(path: Path, rule: str) -> CheckpointError:
    remedy = "give the command of the run again with fresh_start: true"
    return CheckpointError(Problem(str(path), rule=rule, remedy=remedy))


def _schema(predictions: Predictions) -> pyarrow.Schema:
    head = {
        "format": PREDICTIONS_FORMAT,
        "problem_type": predictions.problem_type,
        "label_names": list(predictions.label_names),
    }
    pair = ["text_pair"] if predictions.text_pairs is not None else []
    slices = [f"{SLICE_PREFIX}{name}" for name in predictions.slices]
    schema = _schema_of(predictions.problem_type, ["place", "text", *pair, "target", "logits", "tokens", *slices])
    return schema.with_metadata({_HEAD: json.dumps(head, ensure_ascii=False).encode()})


def _schema_of(problem_type: str, names: Sequence[str]) -> pyarrow.Schema:
    """Return the types that columns of these names have; one of another name is left out."""
    text = pyarrow.string()
    targets = {MULTI_LABEL: pyarrow.list_(text), REGRESSION: pyarrow.float32()}
    types = {"place": text, "text": text, "text_pair": text, "target": targets.get(problem_type, text)}
    types |= {"logits": pyarrow.list_(pyarrow.float32()), "tokens": pyarrow.int64()}
    types |= {name: text for name in names if name.startswith(SLICE_PREFIX)}
    order = [*(name for name in types if name in names or name != "text_pair")]
    return pyarrow.schema([(name, types[name]) for name in order])


def _head_of(schema: pyarrow.Schema) -> dict[str, Any] | None:
    """Return what the file says of itself, None where it is of no format of ours."""
    try:
        head = json.loads((schema.metadata or {}).get(_HEAD, b"null"))
    except ValueError:
        return None
    return head if isinstance(head, dict) and head.get("format") == PREDICTIONS_FORMAT else None


def _columns(predictions: Predictions, rows: slice) -> dict[str, Any]:
    pairs, logits = predictions.text_pairs, predictions.logits[rows]
    ends = np.arange(len(logits) + 1, dtype=np.int32) * logits.shape[1]
    return {
        "place": list(predictions.places[rows]),
        "text": list(predictions.texts[rows]),
        **({} if pairs is None else {"text_pair": list(pairs[rows])}),
        "target": _name_targets(predictions, rows),
        "logits": pyarrow.ListArray.from_arrays(ends, logits.astype(np.float32, copy=False).reshape(-1)),
        "tokens": predictions.token_counts[rows],
        **{f"{SLICE_PREFIX}{name}": list(values[rows]) for name, values in predictions.slices.items()},
    }


def _name_targets(predictions: Predictions, rows: slice) -> Any:
    names, targets = predictions.label_names, predictions.targets[rows]
    if predictions.problem_type == REGRESSION:
        return pyarrow.array(targets, pyarrow.float32())
    if predictions.problem_type == MULTI_LABEL:
        return [[names[label] for label in np.flatnonzero(row)] for row in targets]
    return [names[label] for label in targets]


def _of_table(table: pyarrow.Table, problem_type: str, names: tuple[str, ...]) -> Predictions:
    slices = [name for name in table.column_names if name.startswith(SLICE_PREFIX)]
    logits = _flatten(table.column("logits"))
    return Predictions(
        problem_type,
        names,
        logits.reshape(table.num_rows, -1) if table.num_rows else logits.reshape(0, len(names)),
        _read_targets(table.column("target"), problem_type, names),
        table.column("place").to_pylist(),
        table.column("text").to_pylist(),
        table.column("text_pair").to_pylist() if "text_pair" in table.column_names else None,
        table.column("tokens").to_numpy(),
        {name.removeprefix(SLICE_PREFIX): table.column(name).to_pylist() for name in slices},
    )


def _flatten(column: pyarrow.ChunkedArray) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *_numbers(column)])


def _numbers(column: pyarrow.ChunkedArray) -> Iterator[np.ndarray]:
    for chunk in column.chunks:
        yield chunk.flatten().to_numpy(zero_copy_only=False)


def _read_targets(column: pyarrow.ChunkedArray, problem_type: str, names: tuple[str, ...]) -> np.ndarray:
    if problem_type == REGRESSION:
        return np.array(column.to_numpy(), dtype=np.float32)
    ids = {name: index for index, name in enumerate(names)}
    if problem_type != MULTI_LABEL:
        return np.array([ids[label] for label in column.to_pylist()], dtype=np.int64)
    targets = np.zeros((len(column), len(names)), dtype=np.float32)
    for row, labels in enumerate(column.to_pylist()):
        targets[row, [ids[label] for label in labels]] = 1.0
    return targets
