"""What the finished model judged by, for the rows that its report tells of: words left out one by one.

The main process alone does this, at the very end, from the predictions that were written: the rows are those any later
report shows. Refuses nothing: a run without predictions has nothing to explain. It takes ten seconds at most.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from hfpipe.data.tokens import LengthRule, find_length_rule
from hfpipe.evaluation.predictions import predictions_path, read_predictions
from hfpipe.evaluation.record import EvaluationRecord
from hfpipe.inference.predict import Treatment, score_texts
from hfpipe.inference.texts import Text
from hfpipe.records.inference_settings import read_inference_settings
from hfpipe.report.occlusion import SECONDS, explain_rows, write_attributions
from hfpipe.report.told_rows import ScoredPart
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)


def explain_answers(session: Session, trainer: PlannedTrainer, evaluation: EvaluationRecord) -> None:
    """Write which words spoke for the answers to the most confident errors and the least certain rows.

    Raises:
        CheckpointError: If it cannot be written.
    """
    path = predictions_path(session.directory, evaluation.judged_part)
    if not path.is_file():
        return
    predictions = read_predictions(path)
    settings, data = read_inference_settings(session.directory), session.config.data
    told = ScoredPart(predictions, settings.temperature, settings.thresholds).find_told_rows()
    first = [predictions.texts[each.row] for each in told]
    pairs = predictions.text_pairs
    texts: Sequence[Text] = first if pairs is None else [(a, pairs[b.row]) for a, b in zip(first, told, strict=True)]
    rule = find_length_rule(data)
    treatment = Treatment(rule, data.window_pooling, settings.temperature)

    def score(given: Sequence[Text]) -> np.ndarray:
        return np.stack(list(score_texts(trainer.network, trainer.tokenizer, given, treatment=treatment)))

    logger.info("leaving out words of %d rows to see what they do (%.0f seconds at most)", len(told), SECONDS)
    trainer.network.eval()
    find_end = len if pairs is not None else _end_finder(trainer, rule)
    write_attributions(
        session.directory, explain_rows(told, texts, score, part=evaluation.judged_part, find_end=find_end)
    )


def _end_finder(trainer: PlannedTrainer, rule: LengthRule) -> Callable[[str], int]:
    """Return a function that says how many signs of a text the model reads; all, where it is not the head alone."""
    tokenizer = trainer.tokenizer
    if rule.max_length is None or rule.long_texts != "head" or not tokenizer.is_fast:
        return len
    room = rule.room(tokenizer.num_special_tokens_to_add())

    def find_end(text: str) -> int:
        # a tokenizer file may carry a truncation of its own, and would apply it silently
        encoded = tokenizer(text, add_special_tokens=False, truncation=False, return_offsets_mapping=True)
        offsets = encoded["offset_mapping"]
        return int(offsets[room - 1][1]) if len(offsets) > room else len(text)

    return find_end
