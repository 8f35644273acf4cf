"""What FSDP2 and ZeRO need of a model before accelerate shards it, and what has to hold afterwards.

Refuses the first version of FSDP, whose flat parameters have no names to be saved by, and models that ZeRO-3 cuts up
while they are loaded, when heads are drawn and sizes told. Two things go wrong in silence or
with a word that helps nobody, and are put right here: parameters that have no memory yet, and layers that accelerate
would shard twice.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from transformers import PreTrainedModel, TrainingArguments
from transformers.integrations import unset_hf_deepspeed_config

from hfpipe.config.accelerate_file import ZERO3_INIT_REMEDY, ZERO3_INIT_RULE
from hfpipe.errors import Problem, TrainingError

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

_PLACE = "the accelerate file"


def check_launcher(args: TrainingArguments, environ: Mapping[str, str]) -> None:
    """Refuse what the launcher asks for and is not supported, and have models loaded whole under DeepSpeed.

    Raises:
        TrainingError: If it is the first version of FSDP, or a model that ZeRO-3 cuts up while it is loaded.
    """
    version = environ.get("FSDP_VERSION", "1")
    if environ.get("ACCELERATE_USE_FSDP") == "true" and version != "2":
        rule = "its flat parameters have no names to be saved by"
        raise TrainingError(Problem(_PLACE, f"fsdp_version {version}", rule, "set fsdp_version: 2"))
    if args.deepspeed_plugin is None:
        return
    if args.deepspeed_plugin.zero3_init_flag:
        raise TrainingError(Problem(_PLACE, "zero3_init_flag true", ZERO3_INIT_RULE, ZERO3_INIT_REMEDY))
    # accelerate (1.15) tells transformers to cut up what it loads whatever the flag says
    unset_hf_deepspeed_config()


def prepare_sharding(trainer: "PlannedTrainer", model: PreTrainedModel) -> None:
    """Make `model` ready for what the launcher asks for; nothing where it shards nothing."""
    if trainer.is_deepspeed_enabled:
        # Trainer has set it again, for whatever is read from here on
        unset_hf_deepspeed_config()
    if trainer.is_fsdp_enabled:
        prepare_fsdp(trainer.accelerator.state.fsdp_plugin, model)


def finish_preparation(trainer: "PlannedTrainer", checkpoint: str | None) -> None:
    """Check what was sharded, and under DeepSpeed, where Trainer leaves it to us, load the checkpoint.

    Raises:
        TrainingError: If the optimizer trains other parameters than the model has.
        CheckpointError: If the checkpoint cannot be loaded.
    """
    if trainer.is_fsdp_enabled:
        check_trained(trainer.network, cast("torch.optim.Optimizer", trainer.optimizer))
    if trainer.is_deepspeed_enabled and checkpoint is not None:
        trainer._load_from_checkpoint(checkpoint)
        trainer._load_optimizer_and_scheduler(checkpoint)


def prepare_fsdp(plugin: FullyShardedDataParallelPlugin, model: PreTrainedModel) -> None:
    """Make `model` ready to be sharded by `plugin`."""
    give_memory(model)
    if plugin.transformer_cls_names_to_wrap is None:
        plugin.transformer_cls_names_to_wrap = choose_units(model)


def give_memory(model: torch.nn.Module) -> None:
    """Replace parameters that have no memory by uninitialised ones; the first process's values are sent to all later.

    Where FSDP loads weights in the first process alone, the others leave a new head without memory. Accelerate tells
    parameters apart by their address, so the optimizer there would train one of them twice and the others never.
    """
    given: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if parameter.is_meta:
                own = torch.nn.Parameter(torch.empty_like(parameter, device="cpu"), parameter.requires_grad)
                setattr(module, name, given.setdefault(parameter, own))


def choose_units(model: PreTrainedModel) -> list[str]:
    """Return the classes of the layers to shard one by one: those transformers never splits, without the embeddings.

    Accelerate shards the input embeddings by themselves; BERT's would be sharded a second time, which torch refuses.
    """
    embeddings = model.get_input_embeddings()
    holders = {type(module).__name__ for module in model.modules() if embeddings in module.children()}
    present = {type(module).__name__ for module in model.modules()}
    return sorted(set(model._no_split_modules or ()) & present - holders)


def check_trained(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Raise a TrainingError unless the optimizer has every trainable parameter of `model`, each once."""
    members = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    trainable = {id(parameter): name for name, parameter in model.named_parameters() if parameter.requires_grad}
    wrong = next((name for each, name in trainable.items() if members.count(each) != 1), None)
    if wrong is not None or len(members) != len(trainable):
        rule = "after sharding, the optimizer does not train it, or not once"
        raise TrainingError(Problem(_PLACE, wrong or "", rule, "set fsdp_cpu_ram_efficient_loading: false"))
