"""The finished model judged: validation scored, then test once, with intervals, calibration and thresholds.

All processes score; the main one computes what follows from the scores, writes the predictions, and tells the others,
so that all go on with the same numbers. What is chosen is chosen on the validation part. Everything here is made again,
and comes out the same, where a run is killed before it says that it is done.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hfpipe.config import RunConfig
from hfpipe.data.parts import LabelledPart, LabelledParts
from hfpipe.evaluation.block_losses import BlockLosses, write_block_losses
from hfpipe.evaluation.classifier_scores import LogitReading, choose_reading, compute_further_scores, describe_part
from hfpipe.evaluation.headlines import find_headline
from hfpipe.evaluation.language_scores import describe_blocks
from hfpipe.evaluation.predictions import Predictions, predictions_path, write_predictions
from hfpipe.evaluation.record import (
    CAUSAL_LM,
    PREFIXES,
    TEST,
    VALIDATION,
    BaselineRecord,
    EvaluationRecord,
    ModelRecord,
    PartRecord,
    flatten_metrics,
)
from hfpipe.records.inference_settings import read_inference_settings, write_inference_settings
from hfpipe.records.run_directory import RUN_FILE, read_json
from hfpipe.records.sessions import TRAINING_SECONDS
from hfpipe.training.agreement import written_for_all
from hfpipe.training.datasets import BlockRows, LabelledRows
from hfpipe.training.evaluation_loop import Outcome
from hfpipe.training.exchange import share_from_main
from hfpipe.training.loop import gather_outcome
from hfpipe.training.mixed_rows import MixedBlocks, MixedRows
from hfpipe.training.preparation import RowsByPart, StreamedRows
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

ScoredRows = RowsByPart[LabelledRows] | RowsByPart[BlockRows] | StreamedRows | MixedRows


@dataclass(frozen=True)
class Judged:
    """What the model is worth, the same in all processes.

    By part, what a classifier said of every row, or what a language model lost on every block.
    """

    record: EvaluationRecord
    predictions: Mapping[str, Predictions]
    blocks: Mapping[str, BlockLosses]

    @property
    def metrics(self) -> dict[str, float | None]:
        """The scores as metrics.json has them, those of baselines among them."""
        return flatten_metrics(self.record)

    def with_baselines(self, baselines: Sequence[BaselineRecord]) -> "Judged":
        """Return this with what the model was compared with."""
        return replace(self, record=replace(self.record, baselines=tuple(baselines)))


def judge(session: Session, trainer: PlannedTrainer, *, rows: ScoredRows, parts: object) -> Judged:
    """Score validation, then test once; calibrate a classifier on validation, and write what it said of each row.

    `parts` are those of `rows`. Temperature and thresholds are kept where `predict` reads them.

    Raises:
        CheckpointError: If the predictions cannot be written.
        TrainingError: If a loss is not finite.
    """
    scored = {VALIDATION: rows.validation, TEST: rows.test}
    began = time.monotonic()
    outcomes = {
        part: gather_outcome(trainer, own, prefix=PREFIXES[part]) for part, own in scored.items() if own is not None
    }
    pace = sum(len(outcome.rows) for outcome in outcomes.values()) / (time.monotonic() - began)
    predictions = list_predictions(parts, outcomes) if isinstance(parts, LabelledParts) else {}
    blocks = {} if isinstance(parts, LabelledParts) else {part: _list_blocks(each) for part, each in outcomes.items()}
    content: Any = None
    with written_for_all(session.directory, session.args):
        if session.is_main:
            for part, own in predictions.items():
                write_predictions(predictions_path(session.directory, part), own)
            for part, lost in blocks.items():
                write_block_losses(session.directory, part, lost)
            model = _describe_model(session, rows_per_second=pace)
            if isinstance(parts, LabelledParts):
                record = _judge_classifier(session, trainer, outcomes=outcomes, parts=parts, model=model)
            else:
                record = _judge_language_model(session, trainer, outcomes=outcomes, model=model)
            content = record.to_json()
    return Judged(EvaluationRecord.from_json(share_from_main(content)), predictions, blocks)


def list_predictions(parts: LabelledParts, outcomes: Mapping[str, Outcome]) -> dict[str, Predictions]:
    """Return what the model said of every row of each part, in order."""
    of_part = {VALIDATION: parts.validation, TEST: parts.test}
    return {part: _list_part(parts, of_part[part], outcome) for part, outcome in outcomes.items()}


def _list_part(parts: LabelledParts, part: LabelledPart | None, outcome: Outcome) -> Predictions:
    assert part is not None and outcome.logits is not None and isinstance(outcome.rows, LabelledRows)
    return Predictions(
        parts.problem_type,
        parts.label_names,
        outcome.logits,
        part.targets,
        [part.places.place(row) for row in range(len(part.texts))],
        part.texts,
        part.text_pairs,
        outcome.rows.texts.full_lengths,
        part.slices,
    )


def _judge_classifier(
    session: Session,
    trainer: PlannedTrainer,
    *,
    outcomes: Mapping[str, Outcome],
    parts: LabelledParts,
    model: ModelRecord,
) -> EvaluationRecord:
    config, plain = session.config, LogitReading(parts.problem_type, parts.label_names)
    wanted = config.evaluation
    arrays = {part: _arrays(outcome) for part, outcome in outcomes.items()}
    choices = choose_reading(plain, *arrays[VALIDATION], calibrate=wanted.calibrate, aim=wanted.threshold_for)
    reading = choices.reading
    _keep(session.directory, reading)
    scores = {
        part: trainer.task.score(replace(outcome, logits=reading.calibrate(arrays[part][0])))
        | compute_further_scores(reading, *arrays[part])
        for part, outcome in outcomes.items()
    }
    headline = _choose_headline(config, parts.problem_type, scores)
    described = {
        part: describe_part(reading, *own, scores=scores[part], headline=headline, seed=config.training.seed)
        for part, own in arrays.items()
    }
    return EvaluationRecord(
        parts.problem_type,
        parts.label_names,
        headline,
        described,
        choices.calibration,
        choices.thresholds,
        baselines=(),
        model=model,
    )


def _arrays(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    assert outcome.logits is not None and isinstance(outcome.rows, LabelledRows)
    return outcome.logits, outcome.rows.targets


def _keep(folder: Path, reading: LogitReading) -> None:
    """Note how the finished model's logits are read, where prediction finds it."""
    settings = read_inference_settings(folder)
    kept = replace(settings, temperature=reading.temperature, thresholds=reading.thresholds)
    write_inference_settings(folder, kept)


def _judge_language_model(
    session: Session, trainer: PlannedTrainer, *, outcomes: Mapping[str, Outcome], model: ModelRecord
) -> EvaluationRecord:
    scores = {part: trainer.task.score(outcome) for part, outcome in outcomes.items()}
    described = {part: _describe_blocks(outcome, scores[part], session.config) for part, outcome in outcomes.items()}
    headline = _choose_headline(session.config, CAUSAL_LM, scores)
    return EvaluationRecord(CAUSAL_LM, (), headline, described, None, None, baselines=(), model=model)


def _describe_blocks(outcome: Outcome, scores: Mapping[str, float], config: RunConfig) -> PartRecord:
    lost = _list_blocks(outcome)
    return describe_blocks(lost.losses, lost.tokens, lost.byte_counts, scores=scores, seed=config.training.seed)


def _list_blocks(outcome: Outcome) -> BlockLosses:
    rows = outcome.rows
    assert isinstance(rows, BlockRows | MixedBlocks) and outcome.row_losses is not None
    return BlockLosses(outcome.row_losses, rows.predicted_tokens, rows.predicted_bytes)


def _choose_headline(config: RunConfig, problem_type: str, scores: Mapping[str, Mapping[str, float]]) -> str:
    known = set.intersection(*(set(own) for own in scores.values()))
    return find_headline(problem_type, str(config.trainer_arguments.get("metric_for_best_model", "loss")), known)


def _describe_model(session: Session, *, rows_per_second: float) -> ModelRecord:
    run = read_json(session.directory / RUN_FILE)
    # the session that trained to the end may have been killed before it noted its time
    seconds = run.get(TRAINING_SECONDS)
    return ModelRecord(_name_model(session.config), run["parameters"]["count"], seconds, rows_per_second)


def _name_model(config: RunConfig) -> str:
    """Return what the model is called in a table: as the Hub or the demo has it, else by folder, or type and size."""
    name = config.model.model_name_or_path
    if name is None:
        return f"{config.model.model_type} ({config.model.model_size})"
    folder = Path(name).expanduser()
    return folder.resolve().name if folder.is_dir() else name
