"""Runs of hfpipe through its own recipes: what a user gets is what is measured.

The recipe is run as it stands, up to its call of `train`; a function of the case takes that one's place, and then the
recipe is left: what follows training is not compared.
"""

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hfpipe.config import RunConfig, find_recipe_module, load_config
from hfpipe.data.cache_places import VARIABLE as CACHE
from hfpipe.records.run_directory import RUN_FILE, read_json
from hfpipe.training import corpus_rows, loop
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

STEPS_ONLY = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": "false", "disable_tqdm": "true"}
"""Neither side evaluates or saves while it is timed."""

train = loop.train
tokenize_corpus = corpus_rows.tokenize_corpus


class Enough(BaseException):
    """Leaves a recipe; no mistake, so nothing on the way may take it for one."""


def configure(recipe: str, output_dir: Path, **settings: Any) -> RunConfig:
    """Return the configuration that the recipe would read from such a command line.

    From here on this process keeps hfpipe's cache beside the run, so that the user's own is neither used nor filled.
    """
    os.environ[CACHE] = str(output_dir.parent / "cache")
    given = {"output_dir": output_dir, **STEPS_ONLY, **settings}
    return load_config([word for key, value in given.items() for word in (f"--{key}", str(value))], recipe=recipe)


def read_settings(words: Sequence[str]) -> dict[str, str]:
    """Return the settings that words like 'learning_rate=1e-4' give, as `--set` takes them.

    Raises:
        SystemExit: If a word has no value.
    """
    if bare := [word for word in words if "=" not in word]:
        raise SystemExit(f"--set {bare[0]}: has no value; write KEY=VALUE")
    return dict(word.split("=", 1) for word in words)


def run_to_training(config: RunConfig, trained: Callable[[Session, PlannedTrainer], None]) -> None:
    """Run the recipe of `config` with `trained` in the place of `train`, and leave it then."""

    def instead(session: Session, trainer: PlannedTrainer) -> None:
        trained(session, trainer)
        raise Enough

    with patch("hfpipe.training.loop.train", instead), suppress(Enough):
        load_recipe(config.recipe)(config)


def run_to_rows(config: RunConfig, tokenized: Callable[..., Any]) -> None:
    """Run the recipe of `config` with `tokenized` in the place of `tokenize_corpus`, and leave it then."""

    def instead(*arguments: Any) -> None:
        tokenized(*arguments)
        raise Enough

    with patch("hfpipe.training.corpus_rows.tokenize_corpus", instead), suppress(Enough):
        load_recipe(config.recipe)(config)


def load_recipe(name: str) -> Callable[[RunConfig], None]:
    """Return `run` of the recipe, which is loaded by its path as a launch does."""
    path = find_recipe_module(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    run: Callable[[RunConfig], None] = recipe.run
    return run


def read_plan(session: Session) -> dict[str, Any]:
    """Return the performance plan as the run has recorded it, each value as 'value (origin)'."""
    plan: Mapping[str, Mapping[str, Any]] = read_json(session.directory / RUN_FILE).get("performance_plan", {})
    return {name: f"{choice['value']} ({choice['origin']})" for name, choice in plan.items()}
