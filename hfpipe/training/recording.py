"""The record of a session: what it began with, what came out, and how it ended."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from hfpipe.config import RunConfig
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.data.accounting import DataSummary
from hfpipe.data.parts import LabelledParts
from hfpipe.evaluation.plots import plot_loss_curve
from hfpipe.hub.prepare import LABEL_EXAMPLES, write_card
from hfpipe.hub.scrubbing import shorten_names
from hfpipe.models.fingerprints import find_starting_folders, fingerprint_folders
from hfpipe.records.environment import describe_environment
from hfpipe.records.identity import check_same_files
from hfpipe.records.inference_settings import InferenceSettings, write_inference_settings
from hfpipe.records.opening import read_run
from hfpipe.records.publication import set_later_aside
from hfpipe.records.run_directory import (
    CHECKPOINTS,
    HISTORY_FILE,
    METRICS_FILE,
    read_history,
    read_json,
    truncate_history,
    write_json,
)
from hfpipe.records.sessions import (
    FINGERPRINT,
    STARTING_POINT,
    Status,
    add_facts,
    begin_session,
    describe_settings,
    end_session,
)
from hfpipe.records.work import describe_new_cut
from hfpipe.training.agreement import Attempt, raise_in_all, written_for_all
from hfpipe.training.exchange import share_from_main
from hfpipe.training.quotes import quote_labels
from hfpipe.training.session import Session, fingerprint_of
from hfpipe.training.streaming import check_processes
from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

LOSS_CURVE_FILE = "loss_curve.png"
PART_NAMES = {"eval": "validation", "test": "test"}


def begin(session: Session, summary: DataSummary, *, label_names: Sequence[str] = ()) -> None:
    """Log what became of the data and write the record of the session; it stands before anything else is written.

    Raises:
        CheckpointError: If a data file, the model or its tokenizer are not what the run began with, or the record
            cannot be written.
        ConfigError: If the model or its tokenizer cannot be found.
    """
    data, starting_point = summary.to_json(), _find_starting_point(session)
    if session.is_resumed:
        run = read_run(session.directory)
        # In all processes: one that raised alone would leave the others waiting.
        _check_same_work(session, run, data, starting_point)
        _tell_cut(session, run)
    session.wait_for_all()
    with written_for_all(session.directory, session.args):
        if session.is_main:
            for line in summary.lines():
                logger.info(line)
            about_data = {"data": data, STARTING_POINT: starting_point, "label_names": list(label_names)}
            _record_beginning(session, about_data)


def _record_beginning(session: Session, about_data: Mapping[str, object]) -> None:
    config = session.config
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    about_run = {
        "recipe": config.recipe,
        "config": describe_settings(config.flat(), {key: str(origin) for key, origin in config.origins.items()}),
        FINGERPRINT: fingerprint_of(config),
        "seed": config.training.seed,
        "world_size": session.args.world_size,
        "rows_per_step": session.rows_per_step,
        "precision": session.precision,
        **about_data,
        **describe_environment(gpus=gpus),
    }
    if not session.is_resumed:
        session.lock.hold_new()
    # before the record says that this launch has begun: started again, it goes on from the newest checkpoint
    set_later_aside(session.directory / CHECKPOINTS, session.from_step)
    begin_session(session.directory, about_run, from_step=session.from_step, cut=asdict(session.cut))
    # a run that goes on from its beginning makes what it logged at step 0 again
    truncate_history(session.directory / HISTORY_FILE, session.from_step if session.checkpoint else -1)
    if session.pusher is not None:
        session.pusher.begin(session.from_step)


def begin_classifier(session: Session, parts: LabelledParts) -> None:
    """Begin, and write what prediction needs beside the checkpoint: columns, names of labels, how texts are cut.

    Raises:
        CheckpointError: As `begin`.
    """
    begin(session, parts.summary, label_names=parts.label_names)
    with written_for_all(session.directory, session.args):
        if session.is_main:
            _record_treatment(session, parts)


def _record_treatment(session: Session, parts: LabelledParts) -> None:
    data, columns = session.config.data, parts.columns
    settings = InferenceSettings(
        text_column_names=columns.texts,
        text_column_delimiter=columns.text_delimiter,
        text_pair_column_name=columns.text_pair,
        label_column_name=columns.label,
        label_delimiter=data.label_delimiter,
        label_names=parts.renamed,
        max_seq_length=data.max_seq_length,
        long_texts=data.long_texts,
        doc_stride=data.doc_stride,
        max_windows=data.max_windows,
        window_pooling=data.window_pooling,
    )
    write_inference_settings(session.directory, settings)
    add_facts(session.directory, {LABEL_EXAMPLES: quote_labels(parts)})


def finish(session: Session, trainer: PlannedTrainer, metrics: Mapping[str, float]) -> None:
    """Write metrics, curve, card and the end of the record, `done` last; then push what is to be pushed."""
    if not session.is_main:
        return
    write_json(session.directory / METRICS_FILE, dict(metrics))
    plot_loss_curve(read_history(session.directory / HISTORY_FILE), session.directory / LOSS_CURVE_FILE)
    add_facts(
        session.directory,
        {
            "best_step": trainer.state.best_global_step,
            "steps": trainer.state.global_step,
            "timings": {"session_seconds": round(time.monotonic() - session.started, 1)},
        },
    )
    write_card(session.directory)
    end(session, "done", trainer.state.global_step)
    if session.pusher is not None:
        session.pusher.push_final()
    session.lock.release()
    for line in describe_result(session.config, metrics):
        logger.info(line)


def report_done(session: Session) -> None:
    """Log that there is nothing left to do, with the scores there are."""
    if session.is_main:
        metrics = read_json(session.directory / METRICS_FILE)
        if session.pusher is not None:
            session.pusher.push_rest()
        logger.info("%s is done; to train it anew: fresh_start: true, or another output_dir", session.directory)
        for line in describe_result(session.config, metrics):
            logger.info(line)


def describe_result(config: RunConfig, metrics: Mapping[str, float]) -> list[str]:
    """Return what a user wants to know at the end: scores, where everything lies, what to do with it."""
    folder = config.output_dir
    examples = {
        PRETRAIN: f"hfpipe generate {folder} --prompt 'Once upon a time'",
        FINETUNE: f"hfpipe predict {folder} file.csv --output scored.csv",
    }
    return [
        *score_table(metrics),
        f"model and tokenizer: {folder} (from_pretrained and pipeline load it as it is)",
        f"record, scores, history, curve: {folder}/run.json, metrics.json, history.jsonl, {LOSS_CURVE_FILE}",
        f"model card: {folder}/README.md",
        f"try next: {examples[config.recipe]}",
    ]


def score_table(metrics: Mapping[str, float]) -> list[str]:
    """Return the scores as the lines of a table: a row a metric, a column a part."""
    columns = [prefix for prefix in ("eval", "test") if any(name.startswith(f"{prefix}_") for name in metrics)]
    names = [name.removeprefix("eval_") for name in metrics if name.startswith("eval_")]
    head = "".join(f"{PART_NAMES[prefix]:>12}" for prefix in columns)
    rows = [
        f"  {name:<20}" + "".join(f"{_four_digits(metrics.get(f'{prefix}_{name}')):>12}" for prefix in columns)
        for name in names
    ]
    return [f"{'scores':<22}{head}", *rows]


def end(session: Session, status: Status, step: int) -> None:
    """Write how the session ended; a run that is not done may be gone on with from then on, by this process too."""
    if session.is_main:
        end_session(session.directory, status=status, to_step=step)
        if status != "done":
            session.lock.release()


def _check_same_work(
    session: Session, run: Mapping[str, Any], data: Mapping[str, Any], starting_point: Mapping[str, str]
) -> None:
    """Raise a CheckpointError where the steps to come would not be those of the run that began."""
    if session.config.data.streaming:
        check_processes(run["world_size"], session.args.world_size)
    begun, given = find_fingerprints(run["data"]), find_fingerprints(data)
    # a record of an earlier version does not have them
    if STARTING_POINT in run:
        begun, given = {**begun, **run[STARTING_POINT]}, {**given, **starting_point}
    check_same_files(begun, given)


def _find_starting_point(session: Session) -> dict[str, str]:
    """Return the fingerprints of model and tokenizer; the main process alone reads the weights for it."""
    folders, own = find_starting_folders(session.model), {}
    attempt = Attempt(session.directory)
    with attempt:
        own = fingerprint_folders(folders) if session.is_main else {}
    raise_in_all(attempt.error(), session.args)
    found: dict[str, str] = share_from_main(own)
    return found


def _tell_cut(session: Session, run: Mapping[str, Any]) -> None:
    """Say once that the steps are cut otherwise than before."""
    told = describe_new_cut(run, session.cut)
    if told is not None and session.is_main:
        logger.info(told)


def find_fingerprints(data: Mapping[str, Any]) -> dict[str, str]:
    """Return what tells a file from another of its name: its hash, or its size where it was not read whole.

    Names are as short as tells them apart: the folder they lie in is another one on another machine.
    """
    names = shorten_names([file["name"] for file in data["files"]])
    found = [file["sha256"] or f"{file['size_bytes']} bytes" for file in data["files"]]
    return dict(zip(names, found, strict=True))


def _four_digits(value: float | None) -> str:
    return "" if value is None else f"{value:,.4f}"
