"""`TrainingArguments` of a run, built inside the launched process: building them joins the process group."""

import os
from collections.abc import Mapping

import torch
from transformers import TrainingArguments

from hfpipe.config import RunConfig
from hfpipe.config.baseline_models import CLASSICAL
from hfpipe.config.decays import DECAYS
from hfpipe.errors import ConfigError, Problem, TrainingError
from hfpipe.training.plan import PerformancePlan
from hfpipe.training.sharding import check_launcher


def build_arguments(config: RunConfig, plan: PerformancePlan) -> TrainingArguments:
    """Return the arguments of this process, which computes as `plan` says.

    Raises:
        ConfigError: If a baseline cannot be trained.
        TrainingError: If another number of processes started than `num_processes` asks for, or the launcher asks for
            a way of sharding that is not supported.
    """
    given = dict(config.trainer_arguments)
    # With an accelerate file for several CPU processes, only use_cpu keeps accelerate from looking for GPUs.
    use_cpu = given.pop("use_cpu", False) or not torch.accelerator.is_available()
    # The objective smooths; Trainer would warn that it does not for several labels a row.
    given.pop("label_smoothing_factor", None)
    if given.get("lr_scheduler_type") in DECAYS:
        # Trainer's enumeration refuses the name; its `create_scheduler` is never asked for this one
        given.pop("lr_scheduler_kwargs", None)
        given["lr_scheduler_type"] = "constant"
    # The others would warn that Trainer does not load the best model by itself; the first process is told not to.
    given.setdefault("log_level_replica", "error")
    given.setdefault("optim", plan.optim)
    # kernels of Liger are in the model already, where they compute the same
    given.pop("use_liger_kernel", None)
    given |= {"tf32": True} if plan.tf32 else {}
    args = TrainingArguments(
        output_dir=str(config.output_dir),
        seed=config.training.seed,
        bf16=plan.precision == "bf16",
        fp16=plan.precision == "fp16",
        use_cpu=use_cpu,
        save_strategy=config.training.save_strategy,
        save_steps=config.training.save_steps,
        save_total_limit=config.training.save_total_limit,
        push_to_hub=False,
        # A NaN would be logged as 0.0 and trained on.
        logging_nan_inf_filter=False,
        # Without it a resumed run forgets the patience that early stopping has used up.
        restore_callback_states_from_checkpoint=True,
        remove_unused_columns=False,
        **given,
    )
    # One process takes one GPU: on a machine with several, Trainer would split batches among them behind our plan.
    args._n_gpu = min(args.n_gpu, 1)
    check_world_size(config, args.world_size)
    check_launcher(args, os.environ)
    check_baselines(config, args, os.environ)
    return args


def check_world_size(config: RunConfig, started: int) -> None:
    """Raise a TrainingError where the launcher started another number of processes than was asked for."""
    wanted = config.training.num_processes
    if wanted is not None and wanted != started:
        raise TrainingError(
            Problem(
                config.place("num_processes"),
                str(wanted),
                f"{started:,} started",
                "launch with an accelerate file that starts as many; for CPUs accelerate_configs/multi_cpu.yaml",
            )
        )


def check_baselines(config: RunConfig, args: TrainingArguments, environ: Mapping[str, str]) -> None:
    """Raise a ConfigError where a network is to be trained beside a model that the launcher shards.

    A process shards one model: what accelerate and DeepSpeed have set up for it would be that of the other.
    """
    trained = [name for name in config.evaluation.baselines if name not in CLASSICAL]
    is_sharded = environ.get("ACCELERATE_USE_FSDP") == "true" or args.deepspeed_plugin is not None
    if trained and is_sharded:
        rule = "networks are not trained as baselines where the launcher shards the model"
        remedy = "leave them out, or train each as a run of its own, like recipes/imdb/lstm.yaml"
        raise ConfigError(Problem(config.place("baselines"), ", ".join(trained), rule, remedy))
