"""The configuration of a run: settings, the `TrainingArguments` table, and reading both from YAML and command line.

Nothing here imports torch, transformers or numpy, so a mistake is answered in a fraction of a second.
"""

from hfpipe.config.describe import describe_config
from hfpipe.config.entry import run_recipe
from hfpipe.config.given import Origin
from hfpipe.config.keys import change_of
from hfpipe.config.recipes import RECIPES, Recipe
from hfpipe.config.resolve import load_config
from hfpipe.config.run_config import RunConfig
from hfpipe.config.sections import DataSettings, EvaluationSettings, HubSettings, ModelSettings, TrainingSettings
from hfpipe.config.shipped import (
    NamedRun,
    find_accelerate_config,
    find_named_run,
    find_recipe_module,
    list_named_runs,
)

__all__ = [
    "RECIPES",
    "DataSettings",
    "EvaluationSettings",
    "HubSettings",
    "ModelSettings",
    "NamedRun",
    "Origin",
    "Recipe",
    "RunConfig",
    "TrainingSettings",
    "change_of",
    "describe_config",
    "find_accelerate_config",
    "find_named_run",
    "find_recipe_module",
    "list_named_runs",
    "load_config",
    "run_recipe",
]
