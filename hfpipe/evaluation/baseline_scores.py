"""Baselines scored on the rows the model was scored on, and each compared with it row by row.

Scores and intervals are made as the model's are, temperature included, where the model has one: a comparison by
probabilities would else be one of calibrations. The frequencies of the majority are left as they are. The comparison is
made on the part the model is judged by, in its headline metric. Refused are runs whose rows are others.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hfpipe.config.baseline_models import MAJORITY
from hfpipe.errors import CheckpointError, Problem
from hfpipe.evaluation.block_losses import BlockLosses, read_block_losses
from hfpipe.evaluation.classical import ClassicalModel
from hfpipe.evaluation.classifier_scores import LogitReading, choose_reading, compute_scores, describe_part
from hfpipe.evaluation.intervals import Comparison, compare_paired, compare_ratios
from hfpipe.evaluation.predictions import Predictions, predictions_path, read_predictions
from hfpipe.evaluation.record import (
    VALIDATION,
    BaselinePart,
    BaselineRecord,
    ComparisonRecord,
    EvaluationRecord,
    read_evaluation,
)


def score_classical(
    model: ClassicalModel, record: EvaluationRecord, predictions: Mapping[str, Predictions], *, seed: int
) -> BaselineRecord:
    """Return the record of a fitted baseline.

    `record` is the model's, and `predictions` what it said of each row of each part, with its texts. Resamples are
    drawn by `seed`.
    """
    began = time.perf_counter()
    logits = {part: model.logits(own.texts, own.text_pairs) for part, own in predictions.items()}
    pace = sum(map(len, predictions.values())) / (time.perf_counter() - began)
    first = predictions[VALIDATION]
    plain = LogitReading(first.problem_type, first.label_names)
    calibrate = record.calibration is not None and model.name != MAJORITY
    chosen = choose_reading(plain, logits[VALIDATION], first.targets, calibrate=calibrate, aim=None)
    return BaselineRecord(
        model.name,
        model.title,
        model.parameters,
        model.train_seconds,
        pace,
        {
            part: _describe(chosen.reading, logits[part], own.targets, headline=record.headline, seed=seed)
            for part, own in predictions.items()
        },
        _compare(record, predictions, chosen.reading.calibrate(logits[record.judged_part]), seed=seed),
    )


def read_trained(
    run_dir: Path, name: str, title: str, *, record: EvaluationRecord, predictions: Mapping[str, Predictions], seed: int
) -> BaselineRecord:
    """Return the record of a classifier that was trained in `run_dir`; the other arguments are as in `score_classical`.

    Raises:
        CheckpointError: If files of the run cannot be read, or it was scored on other rows.
    """
    theirs, part = read_evaluation(run_dir), record.judged_part
    path = predictions_path(run_dir, part)
    other, own = read_predictions(path), predictions[part]
    if list(other.places) != list(own.places) or not np.array_equal(other.targets, own.targets):
        raise _other_rows(path)
    logits = _reading_of(theirs).calibrate(other.logits)
    return _trained(name, title, theirs, _compare(record, predictions, logits, seed=seed))


def read_trained_language_model(
    run_dir: Path, name: str, title: str, *, record: EvaluationRecord, blocks: Mapping[str, BlockLosses], seed: int
) -> BaselineRecord:
    """Return the record of a language model that was trained in `run_dir`; `blocks` are the model's by part.

    Raises:
        CheckpointError: If files of the run cannot be read, or its blocks are others.
    """
    theirs, part = read_evaluation(run_dir), record.judged_part
    other, own = read_block_losses(run_dir, part), blocks[part]
    if not (np.array_equal(other.tokens, own.tokens) and np.array_equal(other.byte_counts, own.byte_counts)):
        raise _other_rows(run_dir)
    # the perplexity is no ratio of sums; its logarithm, the loss, is one, and goes the same way
    by_bytes = record.headline == "bits_per_byte"
    counts, unit = (own.byte_counts, math.log(2)) if by_bytes else (own.tokens, 1.0)
    metric = record.headline if by_bytes else "loss"
    found = compare_ratios(own.losses / unit, other.losses / unit, counts, metric=metric, seed=seed)
    return _trained(name, title, theirs, _record(part, found))


def _describe(
    reading: LogitReading, logits: np.ndarray, targets: np.ndarray, *, headline: str, seed: int
) -> BaselinePart:
    scores = compute_scores(reading, logits, targets)
    return BaselinePart(describe_part(reading, logits, targets, scores=scores, headline=headline, seed=seed).metrics)


def _compare(
    record: EvaluationRecord, predictions: Mapping[str, Predictions], logits: np.ndarray, *, seed: int
) -> ComparisonRecord:
    """Return the comparison with what another model says, calibrated, of the rows that the model is judged by."""
    own = predictions[record.judged_part]
    mine = _reading_of(record).calibrate(own.logits)
    found = compare_paired(own.problem_type, mine, logits, own.targets, metric=record.headline, seed=seed)
    return _record(record.judged_part, found)


def _reading_of(record: EvaluationRecord) -> LogitReading:
    temperature = 1.0 if record.calibration is None else record.calibration.temperature
    return LogitReading(record.problem_type, record.label_names, temperature)


def _record(part: str, found: Comparison) -> ComparisonRecord:
    return ComparisonRecord(part, found.metric, found.difference, found.low, found.high, found.p_value, found.test)


def _trained(name: str, title: str, theirs: EvaluationRecord, comparison: ComparisonRecord) -> BaselineRecord:
    parts = {part: BaselinePart(own.metrics) for part, own in theirs.parts.items()}
    model = theirs.model
    cost = (model.parameters, model.train_seconds, model.rows_per_second)
    return BaselineRecord(name, title, *cost, parts, comparison)


def _other_rows(path: Path) -> CheckpointError:
    rule = "is of other rows than the model's: they cannot be compared"
    return CheckpointError(Problem(str(path), rule=rule, remedy="remove the folder of this baseline, to train it anew"))
