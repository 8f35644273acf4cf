"""Finds settings that would have no effect beside the others: believing they had one is worse than an error.

A setting that a stronger source switched off (the command line over the file) was overridden and is no mistake.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hfpipe.config.optimizers import OPTIMIZER_SETTINGS, reads_setting, warms_up_by_itself
from hfpipe.config.schedules import WITHOUT_WARMUP
from hfpipe.config.sections import REGRESSION
from hfpipe.config.settled import Settled
from hfpipe.errors import Problem

_DEMO = "demo:"
_HUB_NAMES = ("dataset_name", "model_name_or_path", "tokenizer_name")


@dataclass(frozen=True)
class Idle:
    """`keys` do nothing `when` this holds, which the keys `by` decide."""

    keys: tuple[str, ...]
    by: tuple[str, ...]
    when: Callable[[Settled], bool]
    rule: str
    remedy: str = "remove it"


def find_idle_settings(settled: Settled) -> Iterator[Problem]:
    """Yield a problem for each given setting that changes nothing."""
    for idle in _IDLE:
        if idle.when(settled):
            for key in idle.keys:
                if settled.is_given(key) and not _is_overridden(settled, key, idle.by):
                    yield settled.problem(key, f"has no effect {idle.rule}", idle.remedy)


def _is_overridden(settled: Settled, key: str, by: tuple[str, ...]) -> bool:
    return any(settled.origin(other).outranks(settled.origin(key)) for other in by)


def _is_on_hub(settled: Settled, key: str) -> bool:
    """Tell whether `key` is set to a name on the Hub, rather than to a demo or a folder."""
    name = str(settled.get(key) or "")
    return bool(name) and not name.startswith(_DEMO) and not Path(name).expanduser().is_dir()


def _trackio_is_off(settled: Settled) -> bool:
    reporters = settled.get("report_to")
    return not (isinstance(reporters, list | tuple) and {"trackio", "all"} & set(reporters))


def _is_limited_by_steps(settled: Settled) -> bool:
    return settled.get("max_steps") not in (None, -1)


def _is_not_read(key: str, settled: Settled) -> bool:
    return not reads_setting(settled, key)


def _has_idle_warmup(settled: Settled) -> bool:
    is_idle = settled.get("lr_scheduler_type") in WITHOUT_WARMUP and not warms_up_by_itself(settled)
    return is_idle and settled.get("warmup_steps") != 0


_IDLE: tuple[Idle, ...] = (
    *(
        Idle((key,), by=("optim",), when=partial(_is_not_read, key), rule="with this optim, which does not read it")
        for key in OPTIMIZER_SETTINGS
    ),
    Idle(
        ("warmup_steps",),
        by=("lr_scheduler_type", "optim"),
        when=_has_idle_warmup,
        rule="under an lr_scheduler_type without warm-up",
        remedy="write lr_scheduler_type: constant_with_warmup, or remove it",
    ),
    Idle(
        ("validation_fraction",),
        by=("validation_file",),
        when=lambda settled: settled.has("validation_file"),
        rule="beside validation_file",
        remedy="remove one of them",
    ),
    Idle(
        ("validation_fraction",),
        by=("validation_split_name",),
        when=lambda settled: settled.has("validation_split_name"),
        rule="beside validation_split_name",
        remedy="remove one of them",
    ),
    Idle(
        ("validation_file", "test_file", "field_delimiter", "encoding", "document_per"),
        by=("dataset_name",),
        when=lambda settled: settled.has("dataset_name"),
        rule="beside dataset_name, which brings its own parts",
        remedy="remove it, or give your own train_file in place of dataset_name",
    ),
    Idle(
        ("text_column_names", "text_pair_column_name", "label_column_name", "label_names"),
        by=("dataset_name",),
        when=lambda settled: str(settled.get("dataset_name")).startswith(_DEMO),
        rule="beside this dataset_name, which brings its own columns",
        remedy="remove it, or give your own train_file in place of dataset_name",
    ),
    Idle(
        (
            "dataset_config_name",
            "dataset_revision",
            "train_split_name",
            "validation_split_name",
            "test_split_name",
        ),
        by=("dataset_name",),
        when=lambda settled: not _is_on_hub(settled, "dataset_name"),
        rule="without a dataset_name on the Hub",
    ),
    Idle(
        ("cache_dir",),
        by=("dataset_name", "model_name_or_path", "tokenizer_name", "dataset_mixture"),
        when=lambda settled: (
            not settled.has("dataset_mixture") and not any(_is_on_hub(settled, key) for key in _HUB_NAMES)
        ),
        rule="where nothing comes from the Hub",
    ),
    Idle(
        ("max_predict_samples",),
        by=("test_file", "dataset_name"),
        when=lambda settled: not settled.has("test_file") and not settled.has("dataset_name"),
        rule="without test data",
        remedy="add test_file, or remove it",
    ),
    Idle(
        ("model_size", "model_type", "vocab_size"),
        by=("model_name_or_path",),
        when=lambda settled: settled.has("model_name_or_path"),
        rule="beside model_name_or_path, which has them already",
        remedy="remove one of them",
    ),
    Idle(
        ("vocab_size",),
        by=("tokenizer_name",),
        when=lambda settled: settled.has("tokenizer_name") and not settled.has("model_name_or_path"),
        rule="beside tokenizer_name, which has its own vocabulary",
        remedy="remove one of them",
    ),
    Idle(
        ("model_revision",),
        by=("model_name_or_path",),
        when=lambda settled: not _is_on_hub(settled, "model_name_or_path"),
        rule="without a model_name_or_path on the Hub",
    ),
    Idle(
        ("tokenizer_revision",),
        by=("tokenizer_name",),
        when=lambda settled: not _is_on_hub(settled, "tokenizer_name"),
        rule="without a tokenizer_name on the Hub",
    ),
    Idle(
        ("text_column_delimiter",),
        by=("text_column_names",),
        when=lambda settled: len(settled.get("text_column_names") or ()) < 2,  # type: ignore[arg-type]
        rule="with a single text column",
    ),
    Idle(
        ("sample_texts",),
        by=("text_pair_column_name",),
        when=lambda settled: settled.has("text_pair_column_name"),
        rule="beside text_pair_column_name: a sample is one text",
    ),
    Idle(
        ("doc_stride", "max_windows", "window_pooling"),
        by=("long_texts",),
        when=lambda settled: settled.get("long_texts") != "windows",
        rule="without long_texts: windows",
        remedy="add long_texts: windows",
    ),
    Idle(
        ("calibrate",),
        by=("problem_type",),
        when=lambda settled: settled.get("problem_type") == REGRESSION,
        rule="on a number to predict (problem_type: regression)",
    ),
    Idle(
        ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules"),
        by=("use_peft",),
        when=lambda settled: not settled.get("use_peft"),
        rule="without use_peft: true",
        remedy="add use_peft: true",
    ),
    Idle(
        ("hub_strategy", "hub_private_repo", "hub_revision", "hub_tag_steps"),
        by=("push_to_hub",),
        when=lambda settled: not settled.get("push_to_hub"),
        rule="without push_to_hub: true",
        remedy="add push_to_hub: true",
    ),
    Idle(
        ("save_steps",),
        by=("save_strategy", "eval_strategy"),
        when=lambda settled: settled.get("save_strategy") != "steps",
        rule="while save_strategy is not 'steps'",
        remedy="add save_strategy: steps",
    ),
    Idle(
        ("eval_steps",),
        by=("eval_strategy", "save_strategy"),
        when=lambda settled: settled.get("eval_strategy") != "steps",
        rule="while eval_strategy is not 'steps'",
        remedy="add eval_strategy: steps",
    ),
    Idle(
        ("eval_delay",),
        by=("eval_strategy",),
        when=lambda settled: settled.get("eval_strategy") == "no",
        rule="while eval_strategy is 'no'",
    ),
    Idle(
        ("logging_steps",),
        by=("logging_strategy",),
        when=lambda settled: settled.get("logging_strategy") in ("no", "epoch"),
        rule="while logging_strategy is not 'steps'",
    ),
    Idle(
        ("save_total_limit",),
        by=("save_strategy",),
        when=lambda settled: settled.get("save_strategy") == "no",
        rule="while save_strategy is 'no'",
    ),
    Idle(
        ("early_stopping_threshold",),
        by=("early_stopping_patience",),
        when=lambda settled: not settled.has("early_stopping_patience"),
        rule="without early_stopping_patience",
        remedy="add early_stopping_patience",
    ),
    Idle(
        ("num_train_epochs",),
        by=("max_steps",),
        when=_is_limited_by_steps,
        rule="beside max_steps, which decides the length of the run",
        remedy="remove one of them",
    ),
    Idle(
        ("dataloader_prefetch_factor", "dataloader_persistent_workers", "dataloader_multiprocessing_context"),
        by=("dataloader_num_workers",),
        when=lambda settled: not settled.get("dataloader_num_workers"),
        rule="without workers",
        remedy="add dataloader_num_workers",
    ),
    Idle(
        ("activation_checkpointing_kwargs",),
        by=("activation_checkpointing",),
        when=lambda settled: not settled.get("activation_checkpointing"),
        rule="without activation_checkpointing: true",
    ),
    Idle(
        ("gradient_checkpointing_kwargs",),
        by=("gradient_checkpointing",),
        when=lambda settled: not settled.get("gradient_checkpointing"),
        rule="without gradient_checkpointing: true",
    ),
    Idle(
        ("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
        by=("report_to",),
        when=_trackio_is_off,
        rule="without report_to: trackio",
    ),
)
