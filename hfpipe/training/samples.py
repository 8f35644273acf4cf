"""What the finished model says to texts of the user's choice: shown, and kept in the record."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.data.cleaning_steps import apply_steps
from hfpipe.data.columns import is_empty
from hfpipe.data.parts import LabelledParts
from hfpipe.data.tokens import find_length_rule
from hfpipe.inference.decisions import find_label, find_labels
from hfpipe.inference.generate import GenerationSettings, continue_prompts
from hfpipe.inference.predict import Treatment, score_texts
from hfpipe.records.inference_settings import read_inference_settings
from hfpipe.records.sessions import add_facts
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)


def show_classified(session: Session, trainer: PlannedTrainer, parts: LabelledParts) -> None:
    """Say what the model makes of `sample_texts`: label and probability, the labels of each, or its number.

    One that `cleaning_steps` leave nothing of is left out.
    """
    if not session.config.evaluation.sample_texts or not session.is_main:
        return
    data, settings = session.config.data, read_inference_settings(session.directory)
    cleaned = {text: apply_steps(text, settings.cleaning_steps) for text in session.config.evaluation.sample_texts}
    texts = [text for text, left in cleaned.items() if not is_empty(left)]
    trainer.network.eval()
    treatment = Treatment(find_length_rule(data), data.window_pooling, settings.temperature)
    read = [cleaned[text] for text in texts]
    scored = score_texts(trainer.network, trainer.tokenizer, read, treatment=treatment)
    samples = [
        {"text": text, **_answer(parts, scores, settings.thresholds)}
        for text, scores in zip(texts, scored, strict=True)
    ]
    for sample in samples:
        logger.info("%s: %s", _show(sample), sample["text"])
    add_facts(session.directory, {"samples": samples})


def _answer(parts: LabelledParts, scores: np.ndarray, thresholds: Mapping[str, float]) -> dict[str, Any]:
    rounded = [round(float(score), 4) for score in scores]
    if parts.problem_type == REGRESSION:
        return {"value": rounded[0]}
    of_label = dict(zip(parts.label_names, rounded, strict=True))
    if parts.problem_type == MULTI_LABEL:
        return {"labels": {name: of_label[name] for name in find_labels(scores, parts.label_names, thresholds)}}
    label = find_label(scores, parts.label_names, thresholds)
    return {"label": label, "probability": of_label[label]}


def _show(sample: Mapping[str, Any]) -> str:
    if "value" in sample:
        return f"{sample['value']:.4g}"
    found = sample["labels"] if "labels" in sample else {sample["label"]: sample["probability"]}
    return ", ".join(f"{name} ({probability:.3f})" for name, probability in found.items()) or "no label"


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
