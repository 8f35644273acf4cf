"""Precision: settings, launcher and hardware agree, or the run is refused with the key and the variable."""

import pytest

from hfpipe.config import load_config
from hfpipe.errors import ConfigError
from hfpipe.models.hardware import has_bfloat16
from hfpipe.training.precision import decide_precision

BASE = ["--train_file", "t.csv", "--model_name_or_path", "x"]


def decide(arguments: list[str], launched: str | None) -> str:
    environ = {} if launched is None else {"ACCELERATE_MIXED_PRECISION": launched}
    return decide_precision(load_config([*BASE, *arguments], recipe="finetune_classifier"), environ, use_cpu=True)


@pytest.mark.parametrize("launched", [None, "no"])
def test_the_launchers_no_is_no_opinion(launched: str | None) -> None:
    assert decide(["--bf16", "false"], launched) == "no"
    assert decide([], launched) == ("bf16" if has_bfloat16(use_cpu=True) else "no")


def test_a_conflict_names_key_and_variable() -> None:
    with pytest.raises(ConfigError) as error:
        decide(["--bf16", "false"], "bf16")
    assert str(error.value) == (
        "the configuration has 1 problem:\n"
        "  - --bf16: asks for mixed precision 'no', the launcher's ACCELERATE_MIXED_PRECISION for 'bf16'; "
        "remove one of the two: bf16, or mixed_precision of the accelerate file"
    )


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(ConfigError, match="--fp16: needs a GPU; use bf16 or leave it out"):
        decide(["--fp16", "true"], None)


def test_an_unknown_precision_of_the_launcher_is_refused() -> None:
    with pytest.raises(ConfigError, match="ACCELERATE_MIXED_PRECISION: fp8: not supported"):
        decide([], "fp8")
