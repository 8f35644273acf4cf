"""The precision of a run, decided once: the settings, the launcher and the hardware must agree.

`accelerate launch` sets ACCELERATE_MIXED_PRECISION always, to "no" where nothing was asked for, so "no"
counts as no opinion. Where nobody has one, bfloat16 is used if the hardware computes in it.
"""

from collections.abc import Mapping
from typing import Literal

import torch

from hfpipe.config import RunConfig
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.hardware import has_bfloat16

Precision = Literal["no", "bf16", "fp16"]

LAUNCHER_VARIABLE = "ACCELERATE_MIXED_PRECISION"


def decide_precision(config: RunConfig, environ: Mapping[str, str], *, use_cpu: bool) -> Precision:
    """Return the mixed precision of the run, "no" for full float32.

    Raises:
        ConfigError: If the settings contradict the launcher, or the hardware lacks what was asked for.
    """
    wanted = _wanted_by_settings(config)
    launched = environ.get(LAUNCHER_VARIABLE, "no")
    if wanted is not None and launched not in ("no", wanted):
        key = "fp16" if wanted == "fp16" else "bf16"
        raise ConfigError(
            Problem(
                config.place(key),
                rule=f"asks for mixed precision '{wanted}', the launcher's {LAUNCHER_VARIABLE} for '{launched}'",
                remedy=f"remove one of the two: {key}, or mixed_precision of the accelerate file",
            )
        )
    decided = wanted or (launched if launched != "no" else None)
    if decided is None:
        return "bf16" if has_bfloat16(use_cpu=use_cpu) else "no"
    _check_hardware(config, decided, use_cpu=use_cpu)
    return _known(decided, launched)


def _wanted_by_settings(config: RunConfig) -> Precision | None:
    if config.training.fp16:
        return "fp16"
    if config.training.bf16 is None and config.training.fp16 is None:
        return None
    return "bf16" if config.training.bf16 else "no"


def _check_hardware(config: RunConfig, precision: str, *, use_cpu: bool) -> None:
    on_cpu = use_cpu or not torch.accelerator.is_available()
    if precision == "fp16" and on_cpu:
        raise ConfigError(Problem(config.place("fp16"), rule="needs a GPU", remedy="use bf16 or leave it out"))
    if precision == "bf16" and not has_bfloat16(use_cpu=use_cpu):
        raise ConfigError(
            Problem(config.place("bf16"), rule="this hardware does not compute in bfloat16", remedy="leave it out")
        )


def _known(precision: str, launched: str) -> Precision:
    for known in ("no", "bf16", "fp16"):
        if precision == known:
            return known
    raise ConfigError(
        Problem(LAUNCHER_VARIABLE, launched, "not supported", "set mixed_precision to no, bf16 or fp16 in the file")
    )
