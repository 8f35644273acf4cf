"""The configuration of a baseline that is trained: a run of its own below the run it is compared with.

Data, seed, splits and processes are the run's own, so that both read the same rows; so is the number of rows a step,
which the processes may share out anew when they go on. Model and learning rate are the baseline's, and a classifier's
epochs too. A language model sees as many tokens as the run's, cut by the same tokenizer: only then are they the same
blocks. It pushes nothing and has no baselines, and leaves findings and report to the
run's own.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hfpipe.config.baseline_models import CLASSIFIER_BASELINES, LANGUAGE_BASELINES, BaselineModel
from hfpipe.config.batch_size import ROWS_OF_A_BATCH
from hfpipe.config.data_settings import DataSettings
from hfpipe.config.given import Origin
from hfpipe.config.model_settings import ModelSettings
from hfpipe.config.recipes import RECIPES
from hfpipe.config.run_config import RunConfig
from hfpipe.config.sections import FINETUNE, HubSettings

FOLDER = "baselines"
"""Where these runs lie in the directory of the one they are compared with."""

# What says how a machine works or how long a run is, rather than what is learnt.
_KEPT = (
    *("max_steps", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "metric_for_best_model"),
    *("greater_is_better", "use_cpu", "tf32", "full_determinism", "disable_tqdm", "log_level", "log_level_replica"),
    *("log_on_each_node", "logging_strategy", "logging_steps", "logging_first_step", "dataloader_num_workers"),
    *("dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor"),
    *("dataloader_multiprocessing_context", "ddp_find_unused_parameters", "ddp_backend", "ddp_timeout"),
)
_KEPT_OF_LANGUAGE_MODELS = ("num_train_epochs", "eval_strategy", "eval_steps", "eval_delay")


def baseline_folder(run_dir: Path, name: str) -> Path:
    """Return the run directory of a baseline of the run in `run_dir`."""
    return run_dir / FOLDER / name


def derive_baseline(config: RunConfig, name: str, *, data: DataSettings, model: ModelSettings) -> RunConfig:
    """Return the configuration of the baseline `name` of the run of `config`.

    `data` and `model` are that run's settings with what is on the Hub at the commits it has begun with.
    """
    known = CLASSIFIER_BASELINES if config.recipe == FINETUNE else LANGUAGE_BASELINES
    baseline = known[name]
    own = baseline.settings()
    trainer = _trainer_arguments(config, baseline)
    derived = replace(
        config,
        data=data,
        model=_model_settings(config, model, own),
        training=_training_settings(config, name),
        evaluation=replace(config.evaluation, baselines=(), sample_texts=(), sample_prompts=()),
        hub=HubSettings(),
        trainer_arguments=trainer,
        baseline_of=config.output_dir,
    )
    return replace(derived, origins=_origins(config, derived, name))


def _model_settings(config: RunConfig, model: ModelSettings, own: Mapping[str, object]) -> ModelSettings:
    names = {field.name for field in fields(ModelSettings)}
    mine: dict[str, Any] = {key: value for key, value in own.items() if key in names}
    mine |= {"vocab_size": model.vocab_size, "cache_dir": model.cache_dir}
    if config.recipe != FINETUNE:
        is_named = model.tokenizer_name is not None
        mine |= {
            "tokenizer_name": model.tokenizer_name or model.model_name_or_path,
            "tokenizer_revision": model.tokenizer_revision if is_named else model.model_revision,
            "trust_remote_code": model.trust_remote_code,
        }
    return ModelSettings(**mine)


def _training_settings(config: RunConfig, name: str) -> Any:
    own = replace(
        config.training,
        output_dir=str(baseline_folder(config.output_dir, name)),
        fresh_start=False,
        resume_from_checkpoint=None,
        early_stopping_patience=None,
        early_stopping_threshold=0.0,
        save_total_limit=1,
    )
    if config.recipe != FINETUNE:
        return own
    return replace(own, save_strategy="epoch", load_best_model_at_end=True)


def _trainer_arguments(config: RunConfig, baseline: BaselineModel) -> Mapping[str, Any]:
    given, own = config.trainer_arguments, baseline.settings()
    is_classifier = config.recipe == FINETUNE
    kept = _KEPT if is_classifier else (*_KEPT, *_KEPT_OF_LANGUAGE_MODELS)
    arguments = {
        **RECIPES[config.recipe].defaults,
        **({"num_train_epochs": own["num_train_epochs"], "eval_strategy": "epoch"} if is_classifier else {}),
        "learning_rate": own["learning_rate"],
        "per_device_eval_batch_size": own["per_device_eval_batch_size"],
        **{key: given[key] for key in kept if key in given},
        **_batch_size(given, baseline),
    }
    if config.training.max_tokens_per_batch is None:
        return arguments
    # the budget is the run's own, and so are its micro-batches
    own_steps = {"gradient_accumulation_steps": given.get("gradient_accumulation_steps", 1)}
    return {key: value for key, value in (arguments | own_steps).items() if key not in ROWS_OF_A_BATCH}


def _batch_size(given: Mapping[str, Any], baseline: BaselineModel) -> Mapping[str, int]:
    """Return how the rows of a step come together."""
    rows = int(given.get("per_device_train_batch_size", 8)) * int(given.get("gradient_accumulation_steps", 1))
    at_once = max(size for size in range(1, baseline.per_device_train_batch_size + 1) if rows % size == 0)
    return {"per_device_train_batch_size": at_once, "gradient_accumulation_steps": rows // at_once}


def _origins(config: RunConfig, derived: RunConfig, name: str) -> dict[str, Origin]:
    """Return who decided each value: what differs from the run's own follows from `baselines`."""
    before, after = config.flat(), derived.flat()
    cause = Origin("plan", f"baselines: {name}")
    default = Origin("default")
    return {
        key: config.origins.get(key, default) if key in before and before[key] == value else cause
        for key, value in after.items()
    }
