"""What each optimizer needs, reads and keeps, as the installed Trainer builds it.

Refuses, before anything is loaded, an optimizer whose package is not installed, and one whose state no checkpoint
without pickle can hold: a run that was stopped could not go on. A name that stands in no family, as one of a later
transformers, is left to Trainer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hfpipe.config.installed import find_package
from hfpipe.config.settled import Settled
from hfpipe.errors import Problem

ADAM_SETTINGS = ("adam_beta1", "adam_beta2", "adam_epsilon")
OPTIMIZER_SETTINGS = ("optim_args", "optim_target_modules", *ADAM_SETTINGS)
_DEFAULT = "adamw_torch_fused"
_BETAS = ("adam_beta1", "adam_beta2")
_ARGS = ("optim_args",)
_LOW_RANK = ("optim_args", "optim_target_modules")
# What a checkpoint would have to hold, as their sources keep it; only pickle could store the objects among it.
_PROJECTORS = "projector objects"
_QUANTIZED = "quantized tensors of a class of torchao's own"
_DTYPES = "torch dtypes among its options"
_HIDDEN = "moments outside the state it gives out"


@dataclass(frozen=True)
class Family:
    """Optimizers by a pattern of their names: which settings they read, which package they come from.

    `module` is what is imported, `distribution` what pip calls it, `unsaved` what of its state cannot be stored.
    """

    names: str
    reads: tuple[str, ...]
    module: str = ""
    distribution: str = ""
    unsaved: str = ""


FAMILIES = (
    Family("adamw_torch(_fused)?", ADAM_SETTINGS),
    Family("adamw_torch_xla", ADAM_SETTINGS, "torch_xla", "torch-xla"),
    Family("adamw_torch_npu_fused", ADAM_SETTINGS, "torch_npu", "torch-npu"),
    Family("adamw_torch_[48]bit", (*ADAM_SETTINGS, *_ARGS), "torchao", "torchao", _QUANTIZED),
    Family("adamw_anyprecision", (*ADAM_SETTINGS, *_ARGS), "torchdistx", "torchdistx", _DTYPES),
    Family("adafactor", ()),
    Family("sgd|adagrad|rmsprop", _ARGS),
    Family("adamw_bnb_8bit|adamw_8bit|paged_adamw_(8|32)bit", ADAM_SETTINGS, "bitsandbytes", "bitsandbytes"),
    Family("(paged_)?ademamix(_8bit|_32bit)?", (*ADAM_SETTINGS, *_ARGS), "bitsandbytes", "bitsandbytes"),
    Family("(paged_)?lion_(8|32)bit", _BETAS, "bitsandbytes", "bitsandbytes"),
    Family("rmsprop_bnb.*", _ARGS, "bitsandbytes", "bitsandbytes"),
    Family("galore_.*", _LOW_RANK, "galore_torch", "galore-torch", _PROJECTORS),
    Family("apollo_.*", (*ADAM_SETTINGS, *_LOW_RANK), "apollo_torch", "apollo-torch", _PROJECTORS),
    Family("lomo", (), "lomo_optim", "lomo-optim"),
    Family("adalomo", (), "lomo_optim", "lomo-optim", _HIDDEN),
    Family("grokadamw", _ARGS, "grokadamw", "grokadamw"),
    Family("schedule_free_(radam|adamw)", (*ADAM_SETTINGS, *_ARGS), "schedulefree", "schedulefree"),
    Family("schedule_free_sgd", _ARGS, "schedulefree", "schedulefree"),
    Family("stable_adamw", (*ADAM_SETTINGS, *_ARGS), "optimi", "torch-optimi"),
)


def reads_setting(settled: Settled, key: str) -> bool:
    """Whether the chosen optimizer reads `key`, one of `OPTIMIZER_SETTINGS`; True for an unknown optimizer."""
    family = _chosen_family(settled)
    return family is None or key in family.reads


def warms_up_by_itself(settled: Settled) -> bool:
    """Whether the chosen optimizer reads `warmup_steps`, whatever the schedule."""
    return settled.get("optim") in ("schedule_free_adamw", "schedule_free_sgd")


def check_optimizer(settled: Settled) -> Iterator[Problem]:
    """Yield a problem where no checkpoint can hold the chosen optimizer's state, or what it needs is missing.

    What it needs is its package, and a setting that it cannot do without.
    """
    family = _chosen_family(settled)
    if family is None:
        return
    if family.unsaved:
        rule = f"keeps {family.unsaved}, which a checkpoint without pickle cannot hold"
        yield settled.problem("optim", rule, f"use another, such as {_DEFAULT} or adafactor")
        return
    if family.module and find_package(family.module) is None:
        yield settled.problem(
            "optim", f"{family.distribution} is not installed", f"pip install {family.distribution}, or use another"
        )
    if "optim_target_modules" in family.reads and not settled.has("optim_target_modules"):
        yield settled.problem("optim", "needs optim_target_modules", "add optim_target_modules: all-linear")


def _chosen_family(settled: Settled) -> Family | None:
    name = str(settled.get("optim") or _DEFAULT)
    return next((family for family in FAMILIES if re.fullmatch(family.names, name)), None)
