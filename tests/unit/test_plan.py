"""The performance plan: settings and hardware in, choices and who made them out; what a resumed run keeps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hfpipe.config import load_config
from hfpipe.data.batches import BatchPlan
from hfpipe.data.token_batches import TokenBatchPlan
from hfpipe.errors import ConfigError
from hfpipe.training.plan import Hardware, PerformancePlan, resolve_plan
from hfpipe.training.precision import has_bfloat16
from hfpipe.training.schedule import Schedule
from hfpipe.training.settling import weigh_padding

CPU = Hardware("cpu", has_bfloat16=True)
OLD_CPU = Hardware("cpu", has_bfloat16=False)
GPU = Hardware("cuda", has_bfloat16=True, has_flash_attention=True, has_liger=True, has_tf32=True)
PLAIN_GPU = Hardware("cuda", has_bfloat16=True, has_tf32=True)
OLD_GPU = Hardware("cuda", has_bfloat16=False, has_flash_attention=True)
ON_CPU = {"attention": "hfpipe", "quick_dropout": True, "fused_loss": True, "liger": False, "tf32": False}
ON_GPU = {"attention": None, "quick_dropout": False, "fused_loss": True, "liger": False, "tf32": True}
COMMON = {"compile": False, "optim": "adamw_torch_fused", "workers": 0}
NAMES = ("precision", *ON_CPU, *COMMON)
FINETUNE = "finetune_classifier"
OTHER_ATTENTION = "needs attn_implementation: hfpipe on a CPU, flash_attention_2 on a GPU"


def resolve(hardware: Hardware, *arguments: str, recipe: str = "pretrain_causal_lm", **given: Any) -> PerformancePlan:
    data = ["--train_file", "t.txt"] if recipe == "pretrain_causal_lm" else ["--train_file", "t.csv"]
    model = [] if recipe == "pretrain_causal_lm" else ["--model_name_or_path", "x"]
    config = load_config([*data, *model, *arguments], recipe=recipe)
    return resolve_plan(config, hardware, **{"environ": {}, "begun": {}, **given})


def values(plan: PerformancePlan) -> dict[str, object]:
    return {name: vars(plan)[name] for name in NAMES}


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        (CPU, {"precision": "bf16", **ON_CPU}),
        (OLD_CPU, {"precision": "no", **ON_CPU}),
        (GPU, {"precision": "bf16", **ON_GPU, "attention": "flash_attention_2", "liger": True}),
        (PLAIN_GPU, {"precision": "bf16", **ON_GPU}),
        (OLD_GPU, {"precision": "no", **ON_GPU, "tf32": False}),
        (replace(PLAIN_GPU, is_sharded=True), {"precision": "bf16", **ON_GPU, "fused_loss": False}),
        (Hardware("mps", has_bfloat16=False), {"precision": "no", **ON_GPU, "fused_loss": False, "tf32": False}),
    ],
)
def test_what_nobody_sets_is_chosen_for_the_hardware(hardware: Hardware, expected: dict[str, object]) -> None:
    plan = resolve(hardware)
    assert values(plan) == {**expected, **COMMON}
    assert {choice["origin"] for choice in plan.to_json().values()} == {"plan"}
    assert (plan.pooled_last_layer, plan.padding_free) == (None, None)
    packs = expected["attention"] is not None
    pools = expected["attention"] != "flash_attention_2" and not hardware.is_sharded
    layers = {"pooled_last_layer": pools, "padding_free": packs}
    assert resolve(hardware, recipe=FINETUNE) == replace(plan, fused_loss=None, **layers)


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--attn_implementation", "eager"], "attention", "eager"),
        (["--quick_dropout", "false"], "quick_dropout", False),
        (["--fused_loss", "false"], "fused_loss", False),
        (["--torch_compile"], "compile", True),
        (["--optim", "adafactor"], "optim", "adafactor"),
        (["--dataloader_num_workers", "2"], "workers", 2),
        (["--bf16", "false"], "precision", "no"),
    ],
)
def test_what_a_user_sets_stays(arguments: list[str], name: str, value: object) -> None:
    plan, usual = resolve(CPU, *arguments), resolve(CPU)
    assert values(plan) == {**values(usual), name: value}
    assert {key: choice["origin"] for key, choice in plan.to_json().items() if choice["origin"] != "plan"} == {
        name: arguments[0]
    }


@pytest.mark.skipif(not has_bfloat16(use_cpu=True), reason="the launcher may ask for bfloat16 only where it is there")
def test_the_launcher_decides_the_precision_where_nobody_else_does() -> None:
    plan = resolve(OLD_CPU, environ={"ACCELERATE_MIXED_PRECISION": "bf16"})
    assert (plan.precision, plan.origins["precision"]) == ("bf16", "ACCELERATE_MIXED_PRECISION")


def test_float32_that_was_asked_for_stays_float32_on_a_gpu() -> None:
    plan = resolve(GPU, "--bf16", "false")
    assert (plan.tf32, plan.attention) == (False, None)
    assert resolve(GPU, "--bf16", "false", "--tf32", "true").tf32


def test_what_cannot_be_had_is_refused_where_a_user_asks_for_it() -> None:
    with pytest.raises(ConfigError) as error:
        resolve(replace(CPU, is_sharded=True), "--fused_loss", "true", "--tf32", "true", "--use_liger_kernel", "true")
    assert str(error.value) == (
        "the configuration has 3 problems:\n"
        "  - --fused_loss: true: needs weights that are whole: the launcher shards them; remove it\n"
        "  - --use_liger_kernel: true: needs a GPU and the package liger-kernel; remove it\n"
        "  - --tf32: true: needs a GPU that has it; remove it"
    )


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        (
            resolve(CPU),
            "performance plan: bf16, attention hfpipe (matrix products where these pay, elsewhere sdpa), quick "
            "dropout, fused loss, not compiled, optimizer adamw_torch_fused, no data workers",
        ),
        (
            resolve(GPU, "--torch_compile", "--dataloader_num_workers", "1", recipe=FINETUNE),
            "performance plan: bf16, TF32, attention flash_attention_2, dropout of torch, padded batches, Liger "
            "kernels, compiled, optimizer adamw_torch_fused, 1 data worker",
        ),
        (
            resolve(OLD_CPU, recipe=FINETUNE),
            "performance plan: float32, attention hfpipe (matrix products where these pay, elsewhere sdpa), quick "
            "dropout, last layer for the pooled token, padding-free, not compiled, optimizer adamw_torch_fused, "
            "no data workers",
        ),
        (
            replace(resolve(PLAIN_GPU, "--bf16", "false"), fused_loss=False, reasons={"fused_loss": "it scales them"}),
            "performance plan: float32, attention as transformers chooses, dropout of torch, plain loss (it scales "
            "them), not compiled, optimizer adamw_torch_fused, no data workers",
        ),
    ],
)
def test_a_plan_is_one_line(plan: PerformancePlan, line: str) -> None:
    assert str(plan) == line


@pytest.mark.parametrize(
    ("hardware", "arguments", "rule"),
    [
        (CPU, ["--attn_implementation", "sdpa"], OTHER_ATTENTION),
        (PLAIN_GPU, [], OTHER_ATTENTION),
        (CPU, ["--torch_compile"], "is for models that are not compiled"),
        (replace(GPU, is_sharded=True), [], "needs layers that are whole: the launcher shards them"),
    ],
)
def test_batches_without_padding_want_attention_that_keeps_texts_apart(
    hardware: Hardware, arguments: list[str], rule: str
) -> None:
    plan = resolve(hardware, *arguments, recipe=FINETUNE)
    assert (plan.padding_free, plan.reasons) == (False, {})
    with pytest.raises(ConfigError) as error:
        resolve(hardware, *arguments, "--padding_free", "true", recipe=FINETUNE)
    assert str(error.value) == f"the configuration has 1 problem:\n  - --padding_free: true: {rule}; remove it"
    begun = {**recorded(plan), "performance_plan": {"padding_free": {"value": True, "origin": "plan"}}}
    told = resolve(hardware, *arguments, recipe=FINETUNE, begun=begun)
    assert told.reasons == {"padding_free": f"the run began with padding_free, which {rule}"}
    assert not told.padding_free


@pytest.mark.parametrize(
    ("hardware", "arguments", "rule"),
    [
        (CPU, ["--attn_implementation", "eager"], "needs attn_implementation: sdpa, or hfpipe on a CPU"),
        (GPU, [], "needs attn_implementation: sdpa, or hfpipe on a CPU"),
        (CPU, ["--torch_compile"], "is for models that are not compiled"),
        (replace(PLAIN_GPU, is_sharded=True), [], "needs layers that are whole: the launcher shards them"),
    ],
)
def test_a_pooled_last_layer_wants_attention_of_fewer_queries(
    hardware: Hardware, arguments: list[str], rule: str
) -> None:
    plan = resolve(hardware, *arguments, recipe=FINETUNE)
    assert (plan.pooled_last_layer, plan.reasons) == (False, {})
    with pytest.raises(ConfigError) as error:
        resolve(hardware, *arguments, "--pooled_last_layer", "true", recipe=FINETUNE)
    assert str(error.value) == f"the configuration has 1 problem:\n  - --pooled_last_layer: true: {rule}; remove it"


def test_padding_is_left_out_unless_somebody_says_otherwise() -> None:
    assert resolve(CPU, "--padding_free", "false", recipe=FINETUNE).padding_free is False
    asked = resolve(CPU, "--padding_free", "true", recipe=FINETUNE)
    assert asked.padding_free is True and asked.origins["padding_free"] == "--padding_free"
    assert resolve(CPU, "--attn_implementation", "hfpipe", recipe=FINETUNE).padding_free is True


@pytest.mark.parametrize("name", ["pooled_last_layer", "padding_free"])
def test_a_run_that_a_version_before_began_goes_on_with_its_layers_as_they_were(name: str) -> None:
    plan = resolve(CPU, recipe=FINETUNE)
    assert vars(plan)[name] is True
    begun: dict[str, Any] = recorded(plan)
    assert resolve(CPU, recipe=FINETUNE, begun=begun) == plan
    del begun["performance_plan"][name]
    without: dict[str, Any] = {name: False}
    assert resolve(CPU, recipe=FINETUNE, begun=begun) == replace(plan, **without)
    assert vars(resolve(CPU, recipe=FINETUNE, begun={"precision": "no"}))[name] is False
    assert resolve(CPU, f"--{name}", "true", recipe=FINETUNE, begun=begun) == replace(
        plan, origins={**plan.origins, name: f"--{name}"}
    )


def test_layers_that_a_model_does_not_allow_stay_as_they_are() -> None:
    plan = resolve(CPU, recipe=FINETUNE)
    left_out = replace(plan, padding_free=False, reasons={"padding_free": "the layers are odd"})
    assert resolve(CPU, recipe=FINETUNE, begun=recorded(left_out)) == left_out


def test_little_padding_stays_in_the_batches_of_a_new_run_that_nobody_has_decided_on() -> None:
    plan, rows = resolve(CPU, recipe=FINETUNE), BatchPlan(2, 2, 1, 1, seed=0)
    little, enough = (Schedule(rows, 1, np.array([shorter, 20])) for shorter in (15, 14))  # 5 and 6 of 40 positions
    kept = weigh_padding(plan, little, begun={})
    assert kept.padding_free is False
    assert kept.reasons == {"padding_free": "12 % padding, too little to gain from"}
    assert weigh_padding(plan, enough, begun={}) == plan
    by_tokens = replace(little, plan=TokenBatchPlan(little.lengths, 40, 1, 1, seed=0))
    asked = resolve(CPU, "--padding_free", "true", recipe=FINETUNE)
    on_gpu = resolve(GPU, recipe=FINETUNE)
    for settled, schedule in ((plan, by_tokens), (asked, little), (on_gpu, little), (kept, enough)):
        assert weigh_padding(settled, schedule, begun={}) == settled
    # as it began, whatever share a later version takes for little
    assert weigh_padding(plan, little, begun={"rows_per_epoch": 2}) == plan


def recorded(plan: PerformancePlan) -> dict[str, object]:
    return {"precision": plan.precision, "performance_plan": plan.to_json()}


def test_a_run_goes_on_with_the_plan_it_began_with() -> None:
    begun = replace(resolve(CPU), attention="sdpa", quick_dropout=False, fused_loss=False, precision="no")
    begun = replace(begun, reasons={"fused_loss": "it scales them"})
    assert resolve(CPU, begun=recorded(begun)) == begun
    # what is set now counts, and what was set then and is not any more is chosen anew
    asked = resolve(CPU, "--quick_dropout", "true", begun=recorded(begun))
    assert (asked.quick_dropout, asked.fused_loss) == (True, False)
    lifted = resolve(CPU, begun=recorded(resolve(CPU, "--fused_loss", "false", "--attn_implementation", "eager")))
    assert lifted == resolve(CPU)


def test_a_run_of_a_version_without_plans_goes_on_as_it_computed() -> None:
    plan = resolve(CPU, begun={"precision": "no"})
    plain = {"attention": None, "quick_dropout": False, "fused_loss": False, "liger": False, "tf32": False}
    assert values(plan) == {"precision": "no", **plain, **COMMON}
    assert resolve(CPU, begun={"precision": "no"}, recipe="finetune_classifier").fused_loss is None


def test_what_another_machine_chose_and_this_one_cannot_is_told() -> None:
    plan = resolve(CPU, begun=recorded(resolve(GPU)))
    assert values(plan) == {**values(resolve(CPU)), "quick_dropout": False}
    assert plan.reasons == {
        "attention": "the run began with flash_attention_2, which needs a GPU and the package flash-attn",
        "liger": "the run began with use_liger_kernel, which needs a GPU and the package liger-kernel",
        "tf32": "the run began with tf32, which needs a GPU that has it",
    }
    assert "attention hfpipe (matrix products where these pay, elsewhere sdpa) (the run began with fl" in str(plan)
    assert ", no tf32 (the run began with tf32, which needs a GPU that has it), " in str(plan)
    back = resolve(PLAIN_GPU, begun=recorded(resolve(CPU)))
    assert back.attention is None and back.quick_dropout
    assert back.reasons == {"attention": "the run began with hfpipe, which is for CPUs"}
    # the precision is no choice of kernels: another one is refused when the run is opened
    assert resolve(OLD_CPU, begun=recorded(resolve(CPU))).precision == "no"
