"""Small files for the tests of `hfpipe.data`, and what reading them gives."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from hfpipe.config.sections import DataSettings
from hfpipe.data.parts import LabelledParts, load_labelled_parts
from hfpipe.errors import DataError

Rows = Sequence[tuple[object, object]]
GOOD: Rows = [(f"text {row}", ("pos", "neg")[row % 2]) for row in range(20)]


def write_csv(name: str, rows: Rows, header: str = "text,label") -> str:
    lines = [header, *(f"{text},{label}" for text, label in rows)]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


def write_jsonl(name: str, rows: Rows) -> str:
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


def load(seed: int = 42, **values: object) -> LabelledParts:
    several = ("train_file", "validation_file", "test_file", "text_column_names")
    named = {key: (value,) if key in several and isinstance(value, str) else value for key, value in values.items()}
    return load_labelled_parts(DataSettings(**named), seed=seed)  # type: ignore[arg-type]


def problems_of(**values: object) -> list[str]:
    with pytest.raises(DataError) as caught:
        load(**values)
    return [str(problem) for problem in caught.value.problems]
