"""The record of a session: what it began with, what came out, and how it ended."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hfpipe.config import RunConfig
from hfpipe.config.cleaning_names import select_text_steps
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.data.accounting import DataSummary
from hfpipe.data.parts import DocumentParts, LabelledParts
from hfpipe.data.streamed_parts import StreamedParts
from hfpipe.evaluation.ladder_table import describe_ladder
from hfpipe.evaluation.record import (
    EVALUATION_FILE,
    EvaluationRecord,
    flatten_metrics,
    read_evaluation,
    write_evaluation,
)
from hfpipe.evaluation.thresholds import check_thresholds
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
    REPORT_FILE,
    SAMPLES_FILE,
    read_history,
    truncate_history,
    write_json,
)
from hfpipe.records.sessions import (
    FINGERPRINT,
    STARTING_POINT,
    TRAINING_SECONDS,
    Status,
    add_facts,
    begin_session,
    describe_settings,
    end_session,
)
from hfpipe.records.work import describe_new_cut
from hfpipe.training.agreement import Attempt, raise_in_all, written_for_all
from hfpipe.training.data_findings import record_findings
from hfpipe.training.exchange import share_from_main
from hfpipe.training.plan import PERFORMANCE_PLAN
from hfpipe.training.quotes import quote_labels
from hfpipe.training.score_table import score_table
from hfpipe.training.session import Session, fingerprint_of
from hfpipe.training.streaming import check_processes
from hfpipe.training.tasks import check_metric
from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

LOSS_CURVE_FILE = "loss_curve.png"


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
        **session.cut.facts(),
        "precision": session.precision,
        PERFORMANCE_PLAN: session.performance_plan.to_json(),
        **about_data,
        **describe_environment(gpus=gpus),
    }
    if not session.is_resumed:
        session.lock.hold_new()
    # before the record says that this launch has begun: started again, it goes on from the newest checkpoint
    set_later_aside(session.directory / CHECKPOINTS, session.from_step)
    begin_session(session.directory, about_run, from_step=session.from_step, cut=session.cut.to_json())
    # a run that goes on from its beginning makes what it logged at step 0 again
    for name in (HISTORY_FILE, SAMPLES_FILE):
        truncate_history(session.directory / name, session.from_step if session.checkpoint else -1)
    if session.pusher is not None:
        session.pusher.begin(session.from_step)


def begin_classifier(session: Session, parts: LabelledParts) -> None:
    """Begin, and write what prediction needs beside the checkpoint: columns, names of labels, how texts are cut.

    Raises:
        ConfigError: Before anything is written, if so many labels do not define `metric_for_best_model` or thresholds.
        CheckpointError: As `begin`.
    """
    check_metric(session.config, parts)
    check_thresholds(session.config, parts)
    begin(session, parts.summary, label_names=parts.label_names)
    with written_for_all(session.directory, session.args):
        if session.is_main:
            _record_treatment(session, parts)
    record_findings(session, parts)


def begin_language_model(session: Session, parts: DocumentParts | StreamedParts) -> None:
    """Begin, and write what is the matter with the documents; those of a stream are not known.

    Raises:
        CheckpointError: As `begin`.
    """
    begin(session, parts.summary)
    if isinstance(parts, DocumentParts):
        record_findings(session, parts)


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
        cleaning_steps=select_text_steps(data.cleaning_steps),
    )
    write_inference_settings(session.directory, settings)
    add_facts(session.directory, {LABEL_EXAMPLES: quote_labels(parts)})


def record_training_time(session: Session, seconds: float | None, *, steps: int) -> None:
    """Note how long all steps take at the pace of this session, which took `seconds` for those it made, if any.

    Raises:
        CheckpointError: If the record cannot be written.
    """
    made = steps - session.from_step
    with written_for_all(session.directory, session.args):
        if session.is_main and seconds is not None and made:
            add_facts(session.directory, {TRAINING_SECONDS: seconds * steps / made})


def finish(
    session: Session, trainer: PlannedTrainer, metrics: Mapping[str, float], *, evaluation: EvaluationRecord
) -> None:
    """Write scores, curve, report, card and the end of the record, `done` last; then push what is to be pushed.

    `metrics` are those of training; metrics.json has the scores of the `evaluation` too.
    """
    # what draws takes half a second to load, which the first step need not wait for
    from hfpipe.hub.card_pictures import write_pictures
    from hfpipe.report.page import write_report
    from hfpipe.report.plots import plot_loss_curve
    from hfpipe.training.explaining import explain_answers

    if not session.is_main:
        return
    write_evaluation(session.directory, evaluation)
    write_json(session.directory / METRICS_FILE, {**metrics, **flatten_metrics(evaluation)})
    plot_loss_curve(read_history(session.directory / HISTORY_FILE), session.directory / LOSS_CURVE_FILE)
    add_facts(
        session.directory,
        {
            "best_step": trainer.state.best_global_step,
            "steps": trainer.state.global_step,
            "timings": {"session_seconds": round(time.monotonic() - session.started, 1)},
        },
    )
    if session.config.baseline_of is None:
        explain_answers(session, trainer, evaluation)
        write_report(session.directory)
    write_pictures(session.directory, evaluation)
    write_card(session.directory)
    end(session, "done", trainer.state.global_step)
    if session.pusher is not None:
        session.pusher.push_final()
    session.lock.release()
    for line in (*score_table(evaluation), *describe_ladder(evaluation), *describe_result(session.config)):
        logger.info(line)


def report_done(session: Session) -> None:
    """Log that there is nothing left to do, with the scores there are."""
    if session.is_main:
        # a run that an earlier version made has none
        is_judged = (session.directory / EVALUATION_FILE).is_file()
        evaluation = read_evaluation(session.directory) if is_judged else None
        scores = (*score_table(evaluation), *describe_ladder(evaluation)) if evaluation else ()
        if session.pusher is not None:
            session.pusher.push_rest()
        logger.info("%s is done; to train it anew: fresh_start: true, or another output_dir", session.directory)
        for line in (*scores, *describe_result(session.config)):
            logger.info(line)


def describe_result(config: RunConfig) -> list[str]:
    """Return what a user wants to know at the end beside the scores: where everything lies, what to do with it."""
    folder = config.output_dir
    examples = {
        PRETRAIN: f"hfpipe generate {folder} --prompt 'Once upon a time'",
        FINETUNE: f"hfpipe predict {folder} file.csv --output scored.csv",
    }
    report = [f"report: {folder}/{REPORT_FILE}"] if config.baseline_of is None else []
    return [
        f"model and tokenizer: {folder} (from_pretrained and pipeline load it as it is)",
        f"record, scores, history, curve: {folder}/run.json, metrics.json, history.jsonl, {LOSS_CURVE_FILE}",
        *report,
        f"model card: {folder}/README.md",
        f"try next: {examples[config.recipe]}",
    ]


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
