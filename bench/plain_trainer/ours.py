"""Runs of hfpipe: whole recipes, loaded by their path, and their parts put together where a run must be watched."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.quiet import silence
from hfpipe.config import RunConfig, find_recipe_module, load_config
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.data.parts import load_document_parts, load_labelled_parts
from hfpipe.models.causal import load_causal_lm
from hfpipe.models.classifiers import load_classifier
from hfpipe.models.tokenizers import load_tokenizer
from hfpipe.records.run_directory import HISTORY_FILE, read_history
from hfpipe.training.corpus_rows import tokenize_corpus
from hfpipe.training.loop import score, train
from hfpipe.training.objectives import build_causal_lm_objective, build_classification_objective
from hfpipe.training.preparation import RowsByPart, build_trainer, tokenize_labelled_parts
from hfpipe.training.recording import begin
from hfpipe.training.session import Session, open_session
from hfpipe.training.tasks import causal_lm_task, classification_task
from hfpipe.training.trainer import PlannedTrainer

STEPS_ONLY = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": "false"}

_SHARED = {
    "use_cpu": "true",
    "bf16": "false",
    "learning_rate": 1e-3,
    "num_train_epochs": 2,
    "logging_steps": 1,
    "disable_tqdm": "true",
}


@dataclass(frozen=True)
class Assembled:
    """The parts of a run of hfpipe before it trains."""

    session: Session
    trainer: PlannedTrainer
    rows: RowsByPart[Any]

    def train(self) -> dict[str, float]:
        """Train as the recipe does."""
        with silence():
            return train(self.session, self.trainer)

    def validation_loss(self) -> float:
        """Return the loss of the validation rows under the present weights."""
        with silence():
            return score(self.trainer, self.rows.validation, prefix="eval")["eval_loss"]


def classify(checkpoint: Path, train: Path, validation: Path, **settings: Any) -> RunConfig:
    """Return the configuration of a run of the classifier."""
    given = {
        "model_name_or_path": checkpoint,
        "train_file": train,
        "validation_file": validation,
        "max_seq_length": 24,
        **_SHARED,
        **settings,
    }
    return load_config(_to_argv(given), recipe=FINETUNE)


def pretrain(checkpoint: Path, train: Path, validation: Path, **settings: Any) -> RunConfig:
    """Return the configuration of a run of the language model; documents are the lines of the files."""
    given = {
        "model_name_or_path": checkpoint,
        "train_file": train,
        "validation_file": validation,
        "document_per": "line",
        "block_size": 16,
        **_SHARED,
        **settings,
    }
    return load_config(_to_argv(given), recipe=PRETRAIN)


def run_whole(config: RunConfig) -> list[dict[str, float]]:
    """Run the recipe and return the log events of its steps; what it raises comes through."""
    path = find_recipe_module(config.recipe)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    with silence():
        recipe.run(config)
    return [event for event in read_history(config.output_dir / HISTORY_FILE) if "loss" in event]


def assemble(config: RunConfig) -> Assembled:
    """Put the parts of a run together in the order of its recipe, up to the trainer."""
    with silence():
        session = open_session(config)
        return _assemble_classifier(session) if config.recipe == FINETUNE else _assemble_causal_lm(session)


def _assemble_classifier(session: Session) -> Assembled:
    config = session.config
    parts = load_labelled_parts(config.data, seed=config.training.seed)
    begin(session, parts.summary, label_names=parts.label_names)
    tokenizer = load_tokenizer(config.model)
    loaded = load_classifier(config.model, parts.label_names, tokenizer, problem_type=parts.problem_type)
    rows = tokenize_labelled_parts(session, parts, tokenizer, loaded.model.config)
    objective = build_classification_objective(config, parts)
    task = classification_task(objective, config, parts)
    trainer = build_trainer(session, loaded.model, tokenizer, rows=rows, task=task)
    return Assembled(session, trainer, rows)


def _assemble_causal_lm(session: Session) -> Assembled:
    config = session.config
    parts = load_document_parts(config.data, seed=config.training.seed)
    begin(session, parts.summary)
    tokenizer = load_tokenizer(config.model)
    model = load_causal_lm(config.model, tokenizer, block_size=config.data.block_size)
    rows = tokenize_corpus(session, parts, tokenizer)
    assert isinstance(rows, RowsByPart)
    task = causal_lm_task(build_causal_lm_objective(config))
    trainer = build_trainer(session, model, tokenizer, rows=rows, task=task)
    return Assembled(session, trainer, rows)


def _to_argv(settings: Mapping[str, Any]) -> list[str]:
    return [word for key, value in settings.items() for word in (f"--{key}", str(value))]
