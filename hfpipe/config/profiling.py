"""A run that is only there to be looked at while it makes a few steps: how many, and what else is switched off.

It trains as the run it stands for: the same data, model, batches and performance plan. What is no part of a step is
left out: evaluations, saves, baselines, samples, the Hub, trackers. It has a run directory of its own, so that of the
real run is neither read nor written.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hfpipe.config.run_config import RunConfig
from hfpipe.config.sections import HubSettings
from hfpipe.config.stepping import ProfileWindow

# Trainer's own arguments that say what happens between steps, or how far a run goes.
_LEFT_OUT = (
    "eval_steps",
    "eval_delay",
    "eval_on_start",
    "logging_first_step",
    "logging_steps",
    "torch_empty_cache_steps",
)


def derive_profiled(config: RunConfig, window: ProfileWindow, *, folder: Path) -> RunConfig:
    """Return the configuration that makes the steps of `window` as the run of `config` would, in `folder`."""
    given: Mapping[str, Any] = {
        **{key: value for key, value in config.trainer_arguments.items() if key not in _LEFT_OUT},
        "max_steps": window.steps,
        "eval_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    training = replace(
        config.training,
        output_dir=str(folder),
        fresh_start=False,
        resume_from_checkpoint=None,
        save_strategy="no",
        load_best_model_at_end=False,
        early_stopping_patience=None,
    )
    return replace(
        config,
        training=training,
        evaluation=replace(config.evaluation, baselines=(), sample_texts=(), sample_prompts=()),
        hub=HubSettings(),
        trainer_arguments=given,
        profiled=window,
    )
