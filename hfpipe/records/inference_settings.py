"""`inference.json`: what prediction needs beside the checkpoint, so that a text is treated as in training.

It lies at the top of the run directory and travels with the model. The keys are the settings' own names. A folder
without it is any model of Hugging Face, for which the defaults below stand.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.run_directory import read_json, write_json

INFERENCE_FILE = "inference.json"
INFERENCE_FORMAT = "hfpipe inference 1"


@dataclass(frozen=True)
class InferenceSettings:
    """The columns of the training's files, what their labels are called, and how long texts were treated.

    `label_names` gives labels of files the names the model knows them by. `max_seq_length` None is as long as the
    model takes. `cleaning_steps` change a text before it is tokenized. Logits are divided by `temperature` before they
    become probabilities. `thresholds` say by label from which probability on it is given; without them the likeliest
    label is, or of several those of 0.5 and more.
    """

    text_column_names: tuple[str, ...] = ()
    text_column_delimiter: str = " "
    text_pair_column_name: str | None = None
    label_column_name: str | None = None
    label_delimiter: str | None = None
    label_names: Mapping[str, str] = field(default_factory=dict)
    max_seq_length: int | None = None
    long_texts: str = "head"
    doc_stride: int = 0
    max_windows: int = 1
    window_pooling: str = "mean"
    cleaning_steps: tuple[str, ...] = ()
    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)


def write_inference_settings(folder: Path, settings: InferenceSettings) -> None:
    """Write `settings` to `folder`, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / INFERENCE_FILE, {"format": INFERENCE_FORMAT, **dataclasses.asdict(settings)})


def read_inference_settings(folder: Path) -> InferenceSettings:
    """Return the settings in `folder`, the defaults where there are none.

    Raises:
        CheckpointError: If the file is not in this format, or holds what no version of it does.
    """
    path = folder / INFERENCE_FILE
    if not path.is_file():
        return InferenceSettings()
    written = read_json(path)
    remedy = "use the version that wrote it, or put the file back as it was"
    if not isinstance(written, dict) or written.get("format") != INFERENCE_FORMAT:
        raise CheckpointError(Problem(str(path), rule=f"is not in the format '{INFERENCE_FORMAT}'", remedy=remedy))
    defaults = dataclasses.asdict(InferenceSettings())
    for key, value in written.items():
        if key != "format" and (key not in defaults or not _is_like(value, defaults[key], key)):
            raise CheckpointError(Problem(f"{path}: {key}", repr(value), "is no setting of this format", remedy))
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in written.items()}
    return InferenceSettings(**{key: value for key, value in values.items() if key != "format"})


def _is_like(value: object, default: object, key: str) -> bool:
    if default is None:
        return value is None or isinstance(value, int if key == "max_seq_length" else str)
    if key == "temperature":
        return _is_number(value) and value > 0
    if key == "thresholds":
        return isinstance(value, dict) and all(_is_number(each) and each >= 0 for each in value.values())
    if isinstance(default, tuple):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, type(default)) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
