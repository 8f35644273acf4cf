"""The performance plan: how a run computes, decided once before its model is made.

What a user has set stays. What nobody has set is chosen for the hardware, and a run that goes on keeps what was chosen
when it began, where this machine can: other kernels round otherwise and draw other random numbers. Records of versions
without a plan go on as those versions computed. Refused is what the hardware cannot do, where a user asks for it.

The decision worth knowing: nothing here changes what is learnt. Each choice computes the same numbers as plain float32
within a tolerance that a test states, and dropout drops as the checkpoint says.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from transformers.utils import is_flash_attn_2_available, is_liger_kernel_available, is_torch_tf32_available

from hfpipe.config import RunConfig
from hfpipe.config.given import Origin
from hfpipe.config.model_settings import OWN_ATTENTION
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.errors import CheckpointError, ConfigError, Problem
from hfpipe.models.hardware import has_bfloat16
from hfpipe.records.opening import read_begun
from hfpipe.training.precision import LAUNCHER_VARIABLE, Precision, decide_precision
from hfpipe.training.schedule import find_argument

PERFORMANCE_PLAN = "performance_plan"
"""Key of a record: each choice with its value, its origin, and why it is not what was planned, if it is not."""
PLANNED = "plan"
FLASH = "flash_attention_2"
POOLED_LAYER = "pooled_last_layer"
PADDING_FREE = "padding_free"

SETTINGS: Mapping[str, str] = {
    "attention": "attn_implementation",
    "quick_dropout": "quick_dropout",
    "fused_loss": "fused_loss",
    "compile": "torch_compile",
    "optim": "optim",
    "liger": "use_liger_kernel",
    "tf32": "tf32",
    "workers": "dataloader_num_workers",
    # the last ones: they follow from those before
    POOLED_LAYER: POOLED_LAYER,
    PADDING_FREE: PADDING_FREE,
}
"""The setting that overrides a choice; the precision has two, and the launcher's."""


@dataclass(frozen=True)
class Hardware:
    """What a plan depends on; `is_sharded` says that the launcher cuts up parameters, which are whole nowhere."""

    device: str
    has_bfloat16: bool
    has_flash_attention: bool = False
    has_liger: bool = False
    has_tf32: bool = False
    is_sharded: bool = False


@dataclass(frozen=True)
class PerformancePlan:
    """How a run computes. `attention` None is what transformers chooses; None elsewhere is for a task without it.

    `origins` tells by name who decided, `plan` where nobody did, and `reasons` why a choice is not what it would be.
    """

    precision: Precision
    attention: str | None
    quick_dropout: bool
    fused_loss: bool | None
    pooled_last_layer: bool | None
    padding_free: bool | None
    compile: bool
    optim: str
    liger: bool
    tf32: bool
    workers: int
    origins: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        told = [
            f"{words or f'no {SETTINGS[name]}'} ({self.reasons[name]})" if name in self.reasons else words
            for name, words in _tell(self)
        ]
        return f"performance plan: {', '.join(words for words in told if words)}"

    def to_json(self) -> dict[str, dict[str, object]]:
        """Return the plan as it is recorded."""
        recorded: dict[str, dict[str, object]] = {}
        for name in _NAMES:
            recorded[name] = {"value": vars(self)[name], "origin": self.origins.get(name, PLANNED)}
            if name in self.reasons:
                recorded[name]["reason"] = self.reasons[name]
        return recorded


_NAMES = tuple(each.name for each in fields(PerformancePlan) if each.name not in ("origins", "reasons"))


def find_plan(config: RunConfig) -> PerformancePlan:
    """Return the plan of a run on this machine.

    Raises:
        ConfigError: If settings, launcher and hardware disagree.
    """
    hardware = find_hardware(config, os.environ)
    begun: Mapping[str, Any] = {}
    # a record that cannot be read is refused by all processes together, when the run is opened
    with suppress(CheckpointError):
        begun = read_begun(config.output_dir, fresh_start=config.training.fresh_start)
    return resolve_plan(config, hardware, environ=os.environ, begun=begun)


def find_hardware(config: RunConfig, environ: Mapping[str, str]) -> Hardware:
    """Return what this process can compute with under `config`, as launched."""
    use_cpu = find_argument(config, "use_cpu") or not torch.accelerator.is_available()
    accelerator = None if use_cpu else torch.accelerator.current_accelerator()
    device = "cpu" if accelerator is None else accelerator.type
    return Hardware(
        device,
        has_bfloat16(use_cpu=use_cpu),
        # its kernels want the same GPUs as bfloat16, whatever type they compute in
        has_flash_attention=device == "cuda" and has_bfloat16(use_cpu=False) and is_flash_attn_2_available(),
        has_liger=device == "cuda" and is_liger_kernel_available(),
        # not on AMD's GPUs, which are "cuda" as well
        has_tf32=device == "cuda" and is_torch_tf32_available(),
        is_sharded="true" in (environ.get("ACCELERATE_USE_FSDP"), environ.get("ACCELERATE_USE_DEEPSPEED")),
    )


def resolve_plan(
    config: RunConfig, hardware: Hardware, *, environ: Mapping[str, str], begun: Mapping[str, Any]
) -> PerformancePlan:
    """Return the plan of `config` on `hardware`; `begun` is the record of the run that goes on, empty for a new one.

    Raises:
        ConfigError: If settings, launcher and hardware disagree; all of it is told at once.
    """
    precision, origin = _choose_precision(config, hardware, environ, begun)
    values: dict[str, Any] = {"precision": precision, **_plan_for(config, hardware, precision)}
    origins, reasons, problems = {"precision": origin}, dict[str, str](), list[Problem]()
    recorded = _read_choices(config, begun)
    for name, key in SETTINGS.items():
        given, origin = _find_given(config, key)
        if name in (POOLED_LAYER, PADDING_FREE) and config.recipe == FINETUNE:
            values[name] = not _find_obstacle(name, True, hardware, values)
        impossible = _find_obstacle(name, recorded.get(name) if given is None else given, hardware, values)
        if given is not None:
            values[name], origins[name] = given, origin
            problems += [Problem(config.place(key), str(given).lower(), impossible, "remove it")] if impossible else []
        elif name in recorded and impossible:
            began = key if recorded[name] is True else recorded[name]
            reasons[name] = f"the run began with {began}, which {impossible}"
        elif name in recorded:
            values[name] = recorded[name]
            told = begun.get(PERFORMANCE_PLAN, {}).get(name, {}).get("reason")
            reasons |= {name: told} if told else {}
    if problems:
        raise ConfigError(problems)
    return PerformancePlan(**values, origins=origins, reasons=reasons)


def _choose_precision(
    config: RunConfig, hardware: Hardware, environ: Mapping[str, str], begun: Mapping[str, Any]
) -> tuple[Precision, str]:
    for key in ("fp16", "bf16"):
        if vars(config.training)[key] is not None:
            return decide_precision(config, environ, use_cpu=hardware.device == "cpu"), _origin(config, key)
    if environ.get(LAUNCHER_VARIABLE, "no") != "no":
        return decide_precision(config, environ, use_cpu=hardware.device == "cpu"), LAUNCHER_VARIABLE
    best: Precision = "bf16" if hardware.has_bfloat16 else "no"
    choice = begun.get(PERFORMANCE_PLAN, {}).get("precision", {"value": begun.get("precision"), "origin": PLANNED})
    # what a user or launcher had asked for then is not asked for now
    is_kept = choice["origin"] == PLANNED and choice["value"] == "no"
    return ("no" if is_kept else best), PLANNED


def _plan_for(config: RunConfig, hardware: Hardware, precision: Precision) -> dict[str, Any]:
    """Return what is best on `hardware` where nobody says anything."""
    on_cpu = hardware.device == "cpu"
    is_mixed = precision != "no"
    # it tells documents apart only where a batch is one row
    flashes = hardware.has_flash_attention and is_mixed and config.data.cross_document_attention
    return {
        "attention": OWN_ATTENTION if on_cpu else FLASH if flashes else None,
        "quick_dropout": on_cpu,
        "fused_loss": _plan_loss(config, hardware, precision),
        "compile": False,
        "optim": find_argument(config, "optim"),
        "liger": hardware.has_liger and not hardware.is_sharded,
        # what is left in float32 beside bfloat16; without that, float32 was asked for
        "tf32": hardware.has_tf32 and precision == "bf16",
        "workers": 0,
        POOLED_LAYER: None,
        PADDING_FREE: None,
    }


def _plan_loss(config: RunConfig, hardware: Hardware, precision: Precision) -> bool | None:
    if config.recipe != PRETRAIN:
        return None
    chosen = {"precision": precision}
    return hardware.device in ("cpu", "cuda") and not _find_obstacle("fused_loss", True, hardware, chosen)


def _find_obstacle(name: str, value: object, hardware: Hardware, chosen: Mapping[str, Any]) -> str:
    """Return why `value` of a choice cannot be had here, '' where it can; other kinds of attention are not judged.

    `chosen` are the choices before it.
    """
    if name in (POOLED_LAYER, PADDING_FREE):
        return _find_layer_obstacle(name, hardware, chosen) if value else ""
    obstacles: Mapping[tuple[str, object], tuple[bool, str]] = {
        ("attention", OWN_ATTENTION): (hardware.device != "cpu", "is for CPUs"),
        ("attention", FLASH): (not hardware.has_flash_attention, "needs a GPU and the package flash-attn"),
        ("liger", True): (
            not hardware.has_liger or hardware.is_sharded,
            "needs a model that is whole, to be compared: the launcher shards it"
            if hardware.has_liger
            else "needs a GPU and the package liger-kernel",
        ),
        ("tf32", True): (not hardware.has_tf32, "needs a GPU that has it"),
        ("fused_loss", True): (
            hardware.is_sharded or chosen["precision"] == "fp16",
            "needs weights that are whole: the launcher shards them"
            if hardware.is_sharded
            else "float16 cannot hold its gradients, which are scaled afterwards",
        ),
    }
    is_in_the_way, rule = obstacles.get((name, value), (False, ""))
    return rule if is_in_the_way else ""


def _find_layer_obstacle(name: str, hardware: Hardware, chosen: Mapping[str, Any]) -> str:
    """Return why layers cannot be run in the way of that name, before any model is asked."""
    if name == PADDING_FREE and chosen["attention"] not in (OWN_ATTENTION, FLASH):
        return f"needs attn_implementation: {OWN_ATTENTION} on a CPU, {FLASH} on a GPU"
    if name == POOLED_LAYER and chosen["attention"] not in (OWN_ATTENTION, "sdpa", None):
        return f"needs attn_implementation: sdpa, or {OWN_ATTENTION} on a CPU"
    if hardware.is_sharded:
        return "needs layers that are whole: the launcher shards them"
    return "is for models that are not compiled" if chosen["compile"] else ""


def _read_choices(config: RunConfig, begun: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was chosen for a run when it began; what its user had decided then is chosen anew."""
    if not begun:
        return {}
    loss, layers = (False if config.recipe == recipe else None for recipe in (PRETRAIN, FINETUNE))
    later = {POOLED_LAYER: layers, PADDING_FREE: layers}
    if PERFORMANCE_PLAN not in begun:  # a version that had none
        return {"attention": None, "quick_dropout": False, "fused_loss": loss, "liger": False, "tf32": False} | later
    plan = begun[PERFORMANCE_PLAN]
    before = {name: value for name, value in later.items() if name not in plan}  # a version without that choice
    return before | {name: plan[name]["value"] for name in SETTINGS if name in plan and plan[name]["origin"] == PLANNED}


def _find_given(config: RunConfig, key: str) -> tuple[Any, str]:
    """Return the value that settings have for a choice and who decided it; None where they have none."""
    value = config.flat().get(key)
    return value, _origin(config, key)


def _origin(config: RunConfig, key: str) -> str:
    return str(config.origins.get(key, Origin("default")))


def _tell(plan: PerformancePlan) -> list[tuple[str, str]]:
    own = f"attention {plan.attention} (matrix products where these pay, elsewhere sdpa)"
    other = "as transformers chooses" if plan.attention is None else plan.attention
    attention = own if plan.attention == OWN_ATTENTION else f"attention {other}"
    loss = {None: "", True: "fused loss", False: "plain loss"}[plan.fused_loss]
    return [
        ("precision", "float32" if plan.precision == "no" else plan.precision),
        ("tf32", "TF32" if plan.tf32 else ""),
        ("attention", attention),
        ("quick_dropout", "quick dropout" if plan.quick_dropout else "dropout of torch"),
        ("fused_loss", loss),
        (POOLED_LAYER, "last layer for the pooled token" if plan.pooled_last_layer else ""),
        (PADDING_FREE, {None: "", True: "padding-free", False: "padded batches"}[plan.padding_free]),
        ("liger", "Liger kernels" if plan.liger else ""),
        ("compile", "compiled" if plan.compile else "not compiled"),
        ("optim", f"optimizer {plan.optim}"),
        ("workers", f"{plan.workers or 'no'} data worker{'' if plan.workers == 1 else 's'}"),
    ]
