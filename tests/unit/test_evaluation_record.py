"""evaluation.json and the predictions come back as they were written, and nothing else is taken for them."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.errors import CheckpointError
from hfpipe.evaluation import predictions as predictions_module
from hfpipe.evaluation.predictions import Predictions, predictions_path, read_predictions, write_predictions
from hfpipe.evaluation.record import (
    BaselinePart,
    BaselineRecord,
    CalibrationRecord,
    ClassRecord,
    ComparisonRecord,
    EvaluationRecord,
    MetricRecord,
    ModelRecord,
    PartRecord,
    ThresholdsRecord,
    read_evaluation,
    write_evaluation,
)

RECORD = EvaluationRecord(
    problem_type=SINGLE_LABEL,
    label_names=("neg", "pos"),
    headline="accuracy",
    parts={
        "validation": PartRecord(
            rows=4,
            metrics={"loss": MetricRecord(0.5), "accuracy": MetricRecord(0.75, 0.5, 1.0)},
            per_class=(ClassRecord("neg", 0.5, 1.0, 2 / 3, 1), ClassRecord("pos", 1.0, 2 / 3, 0.8, 3)),
            confusion=((1, 0), (1, 2)),
        ),
        "test": PartRecord(rows=2, metrics={"accuracy": MetricRecord(0.5, 0.0, 1.0)}),
    },
    calibration=CalibrationRecord(1.3, 4, 0.7, 0.6, 0.1, 0.05),
    thresholds=ThresholdsRecord("f1", {"pos": 0.4}, {"f1": 0.8, "f1_default": None}),
    baselines=(
        BaselineRecord(
            name="majority",
            title="majority class",
            parameters=None,
            train_seconds=0.1,
            rows_per_second=None,
            parts={"test": BaselinePart({"accuracy": MetricRecord(0.5, 0.1, 0.9)})},
            comparison=ComparisonRecord("test", "accuracy", 0.0, -0.5, 0.5, 1.0, "McNemar, exact"),
        ),
    ),
    model=ModelRecord("BertForSequenceClassification", 1_000, 2.5, 100.0),
)


def test_a_record_comes_back_from_its_file(tmp_path: Path) -> None:
    write_evaluation(tmp_path, RECORD)
    assert read_evaluation(tmp_path) == RECORD
    assert json.loads((tmp_path / "evaluation.json").read_text())["format"] == "hfpipe evaluation 1"
    assert read_evaluation(tmp_path).judged_part == "test"


def test_numbers_that_are_not_finite_become_null() -> None:
    part = PartRecord(1, {"perplexity": MetricRecord(math.inf, math.nan)})
    content = replace(RECORD, parts={"validation": part}).to_json()
    assert content["parts"]["validation"]["metrics"]["perplexity"] == {"value": None, "low": None, "high": None}
    read = EvaluationRecord.from_json(json.loads(json.dumps(content, allow_nan=False)))
    assert read.parts["validation"].metrics["perplexity"] == MetricRecord(None)
    assert read.judged_part == "validation"


def test_everything_that_is_wrong_with_a_record_is_told_at_once() -> None:
    content = RECORD.to_json()
    content["parts"]["test"]["rows"] = "two"
    content["parts"]["validation"]["per_class"][1]["support"] = True
    content["parts"]["validation"]["confusion"] = "none"
    content["model"] = None
    del content["headline"]
    content["calibration"]["T"] = 1.3
    with pytest.raises(CheckpointError) as error:
        EvaluationRecord.from_json(content, place="run/evaluation.json")
    remedy = "; use the version that wrote it, or give the command of the run again with fresh_start: true"
    assert str(error.value).splitlines()[1:] == [
        f"  - {problem}{remedy}"
        for problem in (
            "run/evaluation.json: headline: is missing",
            "run/evaluation.json: parts: validation: per_class[1]: support: True: must be a whole number",
            "run/evaluation.json: parts: validation: confusion: 'none': must be a list",
            "run/evaluation.json: parts: test: rows: 'two': must be a whole number",
            "run/evaluation.json: calibration: T: no such key",
            "run/evaluation.json: model: None: must be a mapping",
        )
    ]


@pytest.mark.parametrize("content", [None, [], {}, {"format": "hfpipe evaluation 2"}])
def test_another_format_is_refused(content: object) -> None:
    with pytest.raises(CheckpointError, match="is not in the format 'hfpipe evaluation 1'; use the version"):
        EvaluationRecord.from_json(content)


def _same(one: Predictions, other: Predictions) -> bool:
    arrays = all(
        np.array_equal(a, b) and a.dtype == b.dtype
        for a, b in ((one.logits, other.logits), (one.targets, other.targets), (one.token_counts, other.token_counts))
    )
    texts = (list(one.places), list(one.texts), one.text_pairs, {**one.slices})
    others = (list(other.places), list(other.texts), other.text_pairs, {**other.slices})
    return arrays and texts == others and one.label_names == other.label_names


def build_predictions(problem_type: str, rows: int, **changes: Any) -> Predictions:
    generator = np.random.default_rng(rows)
    names = ("score",) if problem_type == REGRESSION else ("neg", "pos", "häh, 'so'")
    targets: dict[str, np.ndarray] = {
        SINGLE_LABEL: generator.integers(0, 3, rows),
        MULTI_LABEL: generator.integers(0, 2, (rows, 3)).astype(np.float32),
        REGRESSION: generator.standard_normal(rows).astype(np.float32),
    }
    predictions = Predictions(
        problem_type,
        names,
        generator.standard_normal((rows, len(names))).astype(np.float32),
        targets[problem_type],
        [f"train.csv:{row + 2}" for row in range(rows)],
        [f"a text, with \n and ü {row}" for row in range(rows)],
        None,
        generator.integers(1, 900, rows),
    )
    return replace(predictions, **changes)


@pytest.mark.parametrize("problem_type", [SINGLE_LABEL, MULTI_LABEL, REGRESSION])
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_predictions_come_back_bit_for_bit(
    problem_type: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions_module, "ROWS_A_GROUP", 3)
    written = build_predictions(problem_type, rows)
    path = predictions_path(tmp_path, "test")
    write_predictions(path, written)
    assert path == tmp_path / "predictions" / "test.parquet"
    assert _same(read_predictions(path), written)
    content = path.read_bytes()
    write_predictions(path, written)
    assert path.read_bytes() == content


@given(st.lists(st.tuples(st.text(), st.text(), st.none() | st.text(), st.floats(width=32, allow_nan=False))))
def test_any_texts_and_logits_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str | None, float]]
) -> None:
    written = build_predictions(
        SINGLE_LABEL,
        len(rows),
        texts=[row[0] for row in rows],
        text_pairs=[row[1] for row in rows],
        slices={"source of it": [row[2] for row in rows]},
        logits=np.array([[row[3]] * 3 for row in rows], dtype=np.float32).reshape(-1, 3),
    )
    path = tmp_path_factory.mktemp("predictions") / "validation.parquet"
    write_predictions(path, written)
    assert _same(read_predictions(path), written)


def test_a_reader_sees_plain_columns(tmp_path: Path) -> None:
    path = tmp_path / "test.parquet"
    written = build_predictions(MULTI_LABEL, 2, targets=np.array([[1, 0, 1], [0, 0, 0]], np.float32))
    write_predictions(path, replace(written, slices={"year": ["2001", "2002"]}))
    table = pyarrow.parquet.read_table(path)
    assert table.column_names == ["place", "text", "target", "logits", "tokens", "slice_year"]
    assert table.column("target").to_pylist() == [["neg", "häh, 'so'"], []]
    assert table.column("place").to_pylist() == ["train.csv:2", "train.csv:3"]


def _write_other_table(path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), path)


def _write_other_columns(path: Path) -> None:
    write_predictions(path, build_predictions(SINGLE_LABEL, 2))
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.drop_columns(["tokens"]), path)


@pytest.mark.parametrize(
    ("write", "rule"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.write_bytes(b"PAR1 and no more"), "cannot be read as Parquet"),
        (_write_other_table, "is not in the format 'hfpipe predictions 1'"),
        (_write_other_columns, "has other columns than the format 'hfpipe predictions 1'"),
    ],
)
def test_other_files_are_refused(write: Callable[[Path], object], rule: str, tmp_path: Path) -> None:
    path = tmp_path / "test.parquet"
    write(path)
    with pytest.raises(CheckpointError) as error:
        read_predictions(path)
    assert f"{path}: {rule}" in str(error.value)
