"""What the finished model says to texts of the user's choice: shown, and kept in the record."""

import logging
from collections.abc import Sequence

from hfpipe.inference.generate import GenerationSettings, continue_prompts
from hfpipe.inference.predict import score_texts
from hfpipe.records.sessions import add_facts
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)


def show_classified(session: Session, trainer: PlannedTrainer, label_names: Sequence[str]) -> None:
    """Classify `sample_texts`."""
    texts = session.config.evaluation.sample_texts
    if not texts or not session.is_main:
        return
    trainer.network.eval()
    scores = score_texts(trainer.network, trainer.tokenizer, texts, max_length=session.config.data.max_seq_length)
    samples = []
    for text, probabilities in zip(texts, scores, strict=True):
        best = int(probabilities.argmax())
        samples.append({"text": text, "label": label_names[best], "probability": round(float(probabilities[best]), 4)})
        logger.info("%s (%.3f): %s", label_names[best], probabilities[best], text)
    add_facts(session.directory, {"samples": samples})


def show_continuations(session: Session, trainer: PlannedTrainer) -> None:
    """Continue `sample_prompts`."""
    evaluation = session.config.evaluation
    if not evaluation.sample_prompts or not session.is_main:
        return
    settings = GenerationSettings(max_new_tokens=evaluation.sample_max_new_tokens, seed=session.config.training.seed)
    trainer.network.eval()
    texts = continue_prompts(trainer.network, trainer.tokenizer, evaluation.sample_prompts, settings)
    for text in texts:
        logger.info("continuation: %s", text)
    samples = [{"prompt": prompt, "text": text} for prompt, text in zip(evaluation.sample_prompts, texts, strict=True)]
    add_facts(session.directory, {"samples": samples})
