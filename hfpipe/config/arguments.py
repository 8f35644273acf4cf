"""Every `TrainingArguments` field of transformers 5.17 to 5.23, and what becomes of it when a user writes it.

*passed* goes to `TrainingArguments` as given; *ours* is a setting of the sections under the same name; *refused* is
answered with the reason and what to use instead; *accepted* is allowed, with a word, because it changes nothing.
A test fails when the installed version has a field that stands in none of the four.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hfpipe.config.sections import Change
from hfpipe.config.values import Bounds

_ANYTHING = Bounds()
_LEVELS = ("detail", "debug", "info", "warning", "error", "critical", "passive")
_AT_LEAST_0 = Bounds(minimum=0)
_AT_LEAST_1 = Bounds(minimum=1)
_BELOW_1 = Bounds(minimum=0, below=1)


@dataclass(frozen=True)
class Passed:
    """A field handed on: what a change means to a resumed run, and the values that make sense."""

    change: Change = "identity"
    bounds: Bounds = _ANYTHING


@dataclass(frozen=True)
class Refused:
    """A field that would break a promise of hfpipe, or would do nothing: why, and what to use."""

    reason: str
    remedy: str


PASSED: Mapping[str, Passed] = {
    "per_device_train_batch_size": Passed("splitting", _AT_LEAST_1),
    "num_train_epochs": Passed("extendable", Bounds(above=0)),
    "max_steps": Passed("extendable", Bounds(minimum=1, also=-1)),
    "learning_rate": Passed(bounds=Bounds(above=0, maximum=10)),
    "lr_scheduler_type": Passed(),
    "lr_scheduler_kwargs": Passed(),
    "warmup_steps": Passed(bounds=Bounds(minimum=0, whole_above_one=True)),
    "optim": Passed(),
    "optim_args": Passed(),
    "optim_target_modules": Passed(),
    "weight_decay": Passed(bounds=Bounds(minimum=0, maximum=10)),
    "adam_beta1": Passed(bounds=_BELOW_1),
    "adam_beta2": Passed(bounds=_BELOW_1),
    "adam_epsilon": Passed(bounds=_AT_LEAST_0),
    "gradient_accumulation_steps": Passed("splitting", _AT_LEAST_1),
    "max_grad_norm": Passed(bounds=_AT_LEAST_0),
    "label_smoothing_factor": Passed(bounds=_BELOW_1),
    "neftune_noise_alpha": Passed(bounds=_AT_LEAST_0),
    "metric_for_best_model": Passed(),
    "greater_is_better": Passed(),
    "tf32": Passed("free"),
    "activation_checkpointing": Passed("free"),
    "activation_checkpointing_kwargs": Passed("free"),
    "gradient_checkpointing": Passed("free"),
    "gradient_checkpointing_kwargs": Passed("free"),
    "use_liger_kernel": Passed("free"),
    "torch_compile": Passed("free"),
    "torch_compile_backend": Passed("free"),
    "torch_compile_mode": Passed("free"),
    "torch_empty_cache_steps": Passed("free", _AT_LEAST_1),
    "full_determinism": Passed("free"),
    "use_cpu": Passed("free"),
    "logging_strategy": Passed("free"),
    "logging_steps": Passed("free", Bounds(above=0, whole_above_one=True)),
    "logging_first_step": Passed("free"),
    "log_on_each_node": Passed("free"),
    "log_level": Passed("free", Bounds(choices=_LEVELS)),
    "log_level_replica": Passed("free", Bounds(choices=_LEVELS)),
    "include_num_input_tokens_seen": Passed("free", Bounds(choices=("all", "non_padding", "no"))),
    "disable_tqdm": Passed("free"),
    "skip_memory_metrics": Passed("free"),
    "report_to": Passed("free"),
    "run_name": Passed("free"),
    "project": Passed("free"),
    "trackio_space_id": Passed("free"),
    "trackio_bucket_id": Passed("free"),
    "trackio_static_space_id": Passed("free"),
    "eval_strategy": Passed("free"),
    # A share of all steps could not be matched with save_steps.
    "eval_steps": Passed("free", Bounds(minimum=1, whole_above_one=True)),
    "eval_delay": Passed("free", _AT_LEAST_0),
    "eval_on_start": Passed("free"),
    "per_device_eval_batch_size": Passed("free", _AT_LEAST_1),
    "dataloader_num_workers": Passed("free", _AT_LEAST_0),
    "dataloader_pin_memory": Passed("free"),
    "dataloader_persistent_workers": Passed("free"),
    "dataloader_prefetch_factor": Passed("free", _AT_LEAST_1),
    "dataloader_multiprocessing_context": Passed("free", Bounds(choices=("fork", "forkserver", "spawn"))),
    "ddp_find_unused_parameters": Passed("free"),
    "ddp_bucket_cap_mb": Passed("free", _AT_LEAST_1),
    "ddp_broadcast_buffers": Passed("free"),
    "ddp_static_graph": Passed("free"),
    "ddp_backend": Passed("free"),
    "ddp_timeout": Passed("free", _AT_LEAST_1),
}

OURS = frozenset(
    {
        "output_dir",
        "resume_from_checkpoint",
        "seed",
        "bf16",
        "fp16",
        "save_strategy",
        "save_steps",
        "save_total_limit",
        "load_best_model_at_end",
        # To the user this is what labels are called; Trainer's own is the list of batch keys that hold labels.
        "label_names",
        "push_to_hub",
        "hub_model_id",
        "hub_strategy",
        "hub_private_repo",
        "hub_revision",
    }
)

ACCEPTED: Mapping[str, Refused] = {
    "do_train": Refused("every recipe trains", "score a finished run with `hfpipe evaluate RUN_DIR FILE`"),
    "do_eval": Refused("a recipe evaluates by eval_strategy", "write eval_strategy: no"),
    "do_predict": Refused("a recipe scores the test data it is given", "leave test_file out"),
}

_LAUNCHER = "set it in accelerate's file: `hfpipe run --accelerate`, or `accelerate launch --config_file`"
_LEAVE_OUT = "leave it out"


def _refuse(names: str, reason: str, remedy: str = _LEAVE_OUT) -> dict[str, Refused]:
    return dict.fromkeys(names.split(), Refused(reason, remedy))


REFUSED: Mapping[str, Refused] = {
    **_refuse("hub_always_push", "every save that hub_strategy names is pushed, and none twice"),
    **_refuse(
        "hub_token",
        "a token in a configuration is saved in clear with the run",
        "put it into the environment as HF_TOKEN, or run `hf auth login` once",
    ),
    **_refuse(
        "auto_find_batch_size",
        "the batch is part of the run's identity and must not change by itself",
        "run `hfpipe check` and lower per_device_train_batch_size, raising gradient_accumulation_steps",
    ),
    **_refuse("save_only_model", "every checkpoint can be resumed", "lower save_total_limit to save disk"),
    **_refuse("save_on_each_node", "a checkpoint is written once, to storage that all nodes share"),
    **_refuse("enable_jit_checkpoint", "a run saves on SIGTERM and SIGINT in any case"),
    **_refuse("ignore_data_skip", "a resumed run goes on with the rows the stopped one had not seen"),
    **_refuse("restore_callback_states_from_checkpoint", "a resumed run restores early stopping in any case"),
    **_refuse("logging_nan_inf_filter", "a loss that is not finite stops the run instead of being logged as 0"),
    **_refuse("debug", "a loss or gradient that is not finite stops the run and is named with its step and rows"),
    **_refuse("average_tokens_across_devices", "the loss is always the mean over the whole global batch"),
    **_refuse("liger_kernel_config", "use_liger_kernel takes all but its losses, which give no exact mean of a batch"),
    **_refuse("use_cache", "training never uses the generation cache"),
    **_refuse(
        "data_seed",
        "one seed decides the split, the data order, new weights and dropout",
        "use seed, or split_seed for the split alone",
    ),
    **_refuse("remove_unused_columns", "the parts hand the model exactly the columns it reads"),
    **_refuse("dataloader_drop_last", "every row is trained on in every epoch"),
    **_refuse("dataloader_in_order", "the order of batches is what makes a resumed run exact"),
    **_refuse("train_sampling_strategy length_column_name", "rows are drawn in an order that the seed decides"),
    **_refuse("bf16_full_eval", "evaluation uses the precision of training", "use bf16, or dtype: bfloat16"),
    **_refuse("fp16_full_eval", "evaluation uses the precision of training", "use fp16, or dtype: float16"),
    **_refuse(
        "prediction_loss_only eval_do_concat_batches eval_use_gather_object eval_accumulation_steps "
        "include_for_metrics batch_eval_metrics",
        "evaluation gathers exact sums and counts in its own way, so this would do nothing",
    ),
    **_refuse("fsdp fsdp_config deepspeed parallelism_config accelerator_config", "the launcher decides it", _LAUNCHER),
    **_refuse("local_rank", "the launcher tells each process its rank"),
}
