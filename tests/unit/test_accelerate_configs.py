"""The accelerate files that ship: the installed accelerate knows every key, and starts what each file says."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.dataclasses import DeepSpeedPlugin
from accelerate.utils.launch import (
    _filter_args,
    prepare_deepspeed_cmd_env,
    prepare_multi_gpu_env,
    prepare_simple_launcher_cmd_env,
)
from torch.distributed.run import get_args_parser

from hfpipe.config.accelerate_file import read_accelerate_file

FOLDER = Path(__file__).parents[2] / "accelerate_configs"
FILES = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
# distributed_type, processes, machines, use_cpu
STARTED = {
    "cpu": ("NO", 1, 1, True),
    "deepspeed_zero2": ("DEEPSPEED", 8, 1, False),
    "deepspeed_zero3": ("DEEPSPEED", 8, 1, False),
    "fsdp2": ("FSDP", 8, 1, False),
    # with MULTI_CPU accelerate starts one process and says nothing
    "multi_cpu": ("MULTI_GPU", 2, 1, True),
    "multi_gpu": ("MULTI_GPU", 8, 1, False),
    "multi_node": ("MULTI_GPU", 16, 2, False),
    "single_gpu": ("NO", 1, 1, False),
}
SEVERAL = ("multi_cpu", "multi_gpu", "multi_node", "fsdp2")
FIRST_OF_TWO = ("--machine_rank", "0", "--main_process_ip", "127.0.0.1", "--main_process_port", "29437")


def launched(name: str, *options: str) -> Any:
    """Return what `accelerate launch` makes of a file and options, without launching."""
    words = ["--config_file", str(FILES[name]), *options, "recipe.py", "--learning_rate", "1"]
    args, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    args.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
    return args


def given(name: str, section: str) -> dict[str, Any]:
    return yaml.safe_load(FILES[name].read_text(encoding="utf-8")).get(section, {})


def test_these_ship() -> None:
    assert sorted(FILES) == sorted(STARTED)


@pytest.mark.parametrize("name", STARTED)
def test_accelerate_knows_every_key_and_reads_what_hfpipe_reads(name: str) -> None:
    # raises on a key that it does not know
    config = load_config_from_file(str(FILES[name]))
    found = (config.distributed_type.value, config.num_processes, config.num_machines, config.use_cpu)
    assert found == STARTED[name]
    ours = read_accelerate_file(FILES[name])
    assert (ours.distributed_type, ours.num_processes, ours.num_machines, ours.use_cpu) == found
    # the run's own file decides
    assert config.mixed_precision == "no"
    # told on each machine, for accelerate takes rank 0 where a file of several machines has none
    assert ours.num_machines == 1 or (ours.machine_rank, ours.main_process_ip, ours.main_process_port) == (None,) * 3


@pytest.mark.parametrize("name", SEVERAL)
def test_the_launcher_would_start_a_process_for_each_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    _, processes, machines, _ = STARTED[name]
    args = launched(name, *(FIRST_OF_TWO if machines > 1 else ()))
    environment = prepare_multi_gpu_env(args)
    here = _filter_args(args, get_args_parser(), ["--training_script", "x", "--training_script_args", ""])
    assert here.nproc_per_node == str(processes // machines)
    assert environment["ACCELERATE_MIXED_PRECISION"] == "no"
    if machines > 1:
        assert (here.nnodes, here.node_rank) == ("2", 0)
        assert (here.rdzv_backend, here.rdzv_endpoint) == ("static", "127.0.0.1:29437")
    else:
        # a port of its own, so that two runs do not meet
        assert int(here.master_port) not in (0, 29500)


@pytest.mark.parametrize(("name", "on_cpu"), [("cpu", "True"), ("single_gpu", "False")])
def test_one_process_is_started_plainly(name: str, on_cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    args = launched(name)
    assert not (args.multi_gpu or args.use_fsdp or args.use_deepspeed)
    command, environment = prepare_simple_launcher_cmd_env(args)
    assert command[1:] == ["recipe.py", "--learning_rate", "1"]
    assert (environment["ACCELERATE_USE_CPU"], environment["CUDA_VISIBLE_DEVICES"]) == (on_cpu, "3")


def test_fsdp2_keys_reach_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    keys = given("fsdp2", "fsdp_config")
    fields = {field.name for field in dataclasses.fields(FullyShardedDataParallelPlugin)}
    plugin_names = {key if key in fields else key.removeprefix("fsdp_") for key in keys}
    # these two are named otherwise there
    assert plugin_names - fields == {"offload_params"} and "cpu_offload" in fields
    # every key is an option of the launcher, which would otherwise drop it
    assert keys.keys() <= vars(launch_command_parser().parse_args(["x.py"])).keys()

    environment = prepare_multi_gpu_env(launched("fsdp2"))
    fsdp = {key: value for key, value in environment.items() if key.startswith(("FSDP_", "ACCELERATE_USE_FSDP"))}
    for key in [key for key in os.environ if key.startswith("FSDP_")]:
        monkeypatch.delenv(key)
    for key, value in fsdp.items():
        monkeypatch.setenv(key, value)
    plugin = FullyShardedDataParallelPlugin()
    assert environment["ACCELERATE_USE_FSDP"] == "true"
    assert (plugin.fsdp_version, plugin.reshard_after_forward) == (2, True)
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    assert (plugin.cpu_ram_efficient_loading, plugin.activation_checkpointing) == (False, False)
    # bf16 of the run comes later, from TrainingArguments
    assert plugin.mixed_precision_policy is None
    plugin.set_mixed_precision("bf16")
    assert "bfloat16" in str(plugin.mixed_precision_policy.param_dtype)


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_keys_reach_its_plugin(stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    name = f"deepspeed_zero{stage}"
    keys = given(name, "deepspeed_config").keys()
    fields = {field.name for field in dataclasses.fields(DeepSpeedPlugin)}
    # this one is the launcher's own
    assert keys - fields == {"deepspeed_multinode_launcher"}
    assert keys <= vars(launch_command_parser().parse_args(["x.py"])).keys()

    args = launched(name)
    assert args.use_deepspeed
    _, environment = prepare_deepspeed_cmd_env(args)
    assert args.nproc_per_node == "8"
    assert environment["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == str(stage)
    # from the run's own file: "auto", which TrainingArguments fill in
    assert "ACCELERATE_GRADIENT_ACCUMULATION_STEPS" not in environment
    assert "ACCELERATE_GRADIENT_CLIPPING" not in environment
    for key in [key for key in environment if key.startswith("ACCELERATE_DEEPSPEED_")]:
        monkeypatch.setenv(key, environment[key])
    plugin = DeepSpeedPlugin()
    zero = plugin.deepspeed_config["zero_optimization"]
    assert (zero["stage"], plugin.zero3_init_flag) == (stage, False)
    assert zero["stage3_gather_16bit_weights_on_model_save"] is (stage == 3)
    assert plugin.deepspeed_config["gradient_accumulation_steps"] == "auto"
    assert plugin.deepspeed_config["gradient_clipping"] == "auto"
    plugin.set_mixed_precision("bf16")
    assert plugin.deepspeed_config["bf16"]["enabled"] is True


def test_deepspeed_on_several_machines_has_a_launcher_on_each() -> None:
    args = launched("deepspeed_zero3", "--num_machines", "2", *FIRST_OF_TWO)
    command, _ = prepare_deepspeed_cmd_env(args)
    assert (command, args.nnodes, args.nproc_per_node) == (None, "2", "4")


def test_torch_takes_the_time_it_gives_its_processes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_SHUTDOWN_TIMEOUT", "280")
    args = _filter_args(launched("multi_cpu"), get_args_parser(), ["--training_script", "x"])
    assert args.shutdown_timeout == 280
    assert "\nexport PET_SHUTDOWN_TIMEOUT=280\n" in (FOLDER / "multi_node.sbatch").read_text(encoding="utf-8")
