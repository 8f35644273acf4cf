"""The ladder: simpler models trained on the rows the model was trained on, and scored on the rows it is scored on.

Those of scikit-learn are fitted by the main process, while the others wait for it. Networks are runs of the same
recipe in `baselines/<name>` below the run, by all processes: what a run survives they survive, one that is done is not
trained again, and each can be looked at and used by itself. Refused are runs that did not score the same rows.

The decision worth knowing: a baseline gets what the model gets. Its temperature is fitted on the validation part where
the model's is, and each is compared with the model row by row, on the test part where there is one.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from hfpipe.config import RunConfig
from hfpipe.config.baseline_models import CLASSICAL, CLASSIFIER_BASELINES, LANGUAGE_BASELINES, TFIDF
from hfpipe.config.baseline_runs import baseline_folder, derive_baseline
from hfpipe.data.commits import pin_commits
from hfpipe.data.parts import DocumentParts, LabelledParts
from hfpipe.data.streamed_parts import StreamedParts
from hfpipe.errors import CheckpointError, HfpipeError, Stopped
from hfpipe.evaluation.baseline_scores import read_trained, read_trained_language_model, score_classical
from hfpipe.evaluation.classical import TrainingRows, fit_majority, fit_tfidf, join_pairs
from hfpipe.evaluation.record import CAUSAL_LM, BaselineRecord
from hfpipe.models.fingerprints import pin_revisions
from hfpipe.records.run_directory import HISTORY_FILE, read_history
from hfpipe.records.typed_json import from_plain, to_plain
from hfpipe.training.agreement import Attempt, raise_in_all
from hfpipe.training.exchange import share_from_main
from hfpipe.training.judging import Judged
from hfpipe.training.main_work import work_in_main
from hfpipe.training.recording import end
from hfpipe.training.session import Session

logger = logging.getLogger(__name__)

Recipe = Callable[[RunConfig], None]


def climb_ladder(
    session: Session,
    parts: LabelledParts | DocumentParts | StreamedParts,
    judged: Judged,
    run: Recipe,
) -> Judged:
    """Return `judged` with the baselines that the settings name, scored and compared with the model.

    It is the same in all processes, which have to call this after training. `run` is the recipe: it trains those that
    are networks.

    Raises:
        Stopped: If a signal ended the training of a baseline after its state was saved.
        HfpipeError: What a run can raise; if predictions of a baseline cannot be read, or are of other rows.
    """
    names = session.config.evaluation.baselines
    if not names:
        return judged
    found: dict[str, BaselineRecord] = {}
    if isinstance(parts, LabelledParts) and any(name in CLASSICAL for name in names):
        labelled = parts
        found |= work_in_main(lambda: _fit_classical(session, labelled, judged), session.args) or {}
    for name in names:
        if name not in CLASSICAL:
            _train(session, name, run)
            attempt = Attempt(session.directory)
            with attempt:
                if session.is_main:
                    found[name] = _read_baseline(session, name, judged)
            raise_in_all(attempt.error(), session.args)
    shared = share_from_main([to_plain(found[name]) for name in names] if session.is_main else None)
    return judged.with_baselines([from_plain(BaselineRecord, each, place="baselines") for each in shared])


def _train(session: Session, name: str, run: Recipe) -> None:
    """Have the recipe train a baseline, or find it done; how that ends is how this session ends."""
    # the wish was fulfilled when this session began: from here on the run is the one that is there
    begun = replace(session.config, training=replace(session.config.training, fresh_start=False))
    config = derive_baseline(begun, name, data=pin_commits(begun), model=pin_revisions(begun))
    if session.is_main:
        logger.info("baseline %s: a run of its own in %s", name, config.output_dir)
    try:
        run(config)
    except (HfpipeError, Stopped) as error:
        # where nothing can be written, the error is what is to be told
        with suppress(CheckpointError):
            end(session, "stopped" if isinstance(error, Stopped) else "failed", _last_step(session))
        raise


def _last_step(session: Session) -> int:
    events = read_history(session.directory / HISTORY_FILE) if session.is_main else []
    return int(events[-1]["step"]) if events else session.from_step


def _fit_classical(session: Session, parts: LabelledParts, judged: Judged) -> dict[str, BaselineRecord]:
    train, seed = parts.train, session.config.training.seed
    texts = join_pairs(train.texts, train.text_pairs)
    rows = TrainingRows(parts.problem_type, len(parts.label_names), texts, train.targets)
    found = {}
    for name in (name for name in session.config.evaluation.baselines if name in CLASSICAL):
        model = fit_tfidf(rows, seed=seed) if name == TFIDF else fit_majority(rows)
        logger.info("baseline %s: %s, %.1f s", model.title, model.note, model.train_seconds)
        found[name] = score_classical(model, judged.record, judged.predictions, seed=seed)
    return found


def _read_baseline(session: Session, name: str, judged: Judged) -> BaselineRecord:
    folder, seed = baseline_folder(session.directory, name), session.config.training.seed
    if judged.record.problem_type == CAUSAL_LM:
        title = LANGUAGE_BASELINES[name].title
        return read_trained_language_model(folder, name, title, record=judged.record, blocks=judged.blocks, seed=seed)
    title = CLASSIFIER_BASELINES[name].title
    return read_trained(folder, name, title, record=judged.record, predictions=judged.predictions, seed=seed)
