"""LoRA adapters: small matrices beside frozen weights, trained in their place (Hu et al. 2021), through peft.

Whatever no checkpoint brought is trained whole and saved with the adapter: peft itself knows the heads it has names
for, and would leave DeBERTa's pooler or ModernBERT's head as random as they began. A finished run merges the adapter
into the weights, so that what lies at the top of its directory is a plain model.
"""

import copy
import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hfpipe.config import ModelSettings
from hfpipe.errors import CheckpointError, ConfigError, Problem
from hfpipe.models.sources import DEMO_ENCODER, DEMO_ENCODER_HUB_NAME

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

logger = logging.getLogger(__name__)

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
ALL_LINEAR = "all-linear"


def add_adapter(
    settings: ModelSettings, model: PreTrainedModel, *, new_parameters: Sequence[str] = ()
) -> PreTrainedModel:
    """Return `model` with the adapter that `settings` ask for, or as it is; seed before, the adapter draws numbers.

    With an adapter it is a `PeftModel`, which answers for the model it holds. Of the weights only the adapter's and
    `new_parameters`, those no checkpoint brought, are trained.

    Raises:
        ConfigError: If a module that is to have an adapter is not there, or can have none.
    """
    if not settings.use_peft:
        return model
    # an extra: plain runs neither need it nor wait for its import
    from peft import get_peft_model

    _check_targets(settings, model)
    config = _build_config(settings, model, new_parameters)
    try:
        with warnings.catch_warnings():
            # peft 0.21 probes a property that transformers 5.23 has renamed
            warnings.simplefilter("ignore", FutureWarning)
            adapted = get_peft_model(model, config)
    except ValueError as error:
        reason = str(error).strip().split(". ")[0]
        value = ", ".join(settings.lora_target_modules or ())
        remedy = f"name linear layers, or write lora_target_modules: {ALL_LINEAR}"
        raise ConfigError(Problem("lora_target_modules", value, reason, remedy)) from error
    # peft has put the folder of the weights there
    adapted.peft_config["default"].base_model_name_or_path = _public_name(settings)
    found = sorted({name.rpartition(".")[2] for name in adapted.targeted_module_names})
    count = len(adapted.targeted_module_names)
    logger.info("LoRA of rank %d on %s modules: %s", settings.lora_r, f"{count:,}", ", ".join(found))
    return cast("PreTrainedModel", adapted)


def outline_adapter(settings: ModelSettings, model: PreTrainedModel) -> PreTrainedModel:
    """Return what `add_adapter` gives, for a model without weights: all outside its body counts as new.

    Raises:
        ConfigError: As `add_adapter`.
    """
    body = f"{model.base_model_prefix}."
    head = [name for name, _ in model.named_parameters() if not name.startswith(body)]
    is_classifier = "ForSequenceClassification" in type(model).__name__
    return add_adapter(settings, model, new_parameters=head if is_classifier else ())


def is_adapted(model: torch.nn.Module) -> bool:
    """Return whether `model` carries an adapter of peft."""
    return any(each.__name__ == "PeftModel" for each in type(model).__mro__)


def copy_whole(model: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> PreTrainedModel:
    """Return a model like `model`, which is adapted and may be sharded, with whole `weights` on the CPU."""
    from peft import get_peft_model

    adapted = cast("PeftModel", model)
    base = cast("PreTrainedModel", adapted.get_base_model())
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        plain = type(base)._from_config(
            copy.deepcopy(base.config), dtype=base.dtype, attn_implementation=base.config._attn_implementation
        )
        whole = get_peft_model(plain, copy.deepcopy(adapted.peft_config["default"]))
    whole.load_state_dict(weights)
    return cast("PreTrainedModel", whole)


def merge_adapter(model: PreTrainedModel) -> PreTrainedModel:
    """Return the plain model with the adapter added to its weights; `model` must not be used afterwards."""
    if not is_adapted(model):
        return model
    return cast("PreTrainedModel", cast("PeftModel", model).merge_and_unload())


def save_adapter(model: PreTrainedModel, folder: Path, *, state_dict: dict[str, torch.Tensor] | None = None) -> None:
    """Write the adapter and the new parts trained beside it to `folder`, as `PeftModel.from_pretrained` reads them.

    `state_dict` are the weights of `model` where those it holds are not whole, as under sharding.
    """
    from peft import get_peft_model_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    # tied and sliced tensors share memory, which safetensors refuses
    adapted = cast("PeftModel", model)
    state = get_peft_model_state_dict(adapted, state_dict=state_dict, save_embedding_layers=False)
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    save_file(weights, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = adapted.peft_config["default"].to_dict()
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    text = json.dumps({**plain, "inference_mode": True}, indent=2, sort_keys=True)
    (folder / ADAPTER_CONFIG).write_text(text + "\n", encoding="utf-8")


def read_adapter(
    model: PreTrainedModel, folder: Path, *, shape_of: Callable[[torch.Tensor], torch.Size]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return each tensor of the adapter in `model`, beside what the one in `folder` has for it.

    `shape_of` gives the shape of a tensor of `model` when it is whole, for under sharding it may have another.

    Raises:
        CheckpointError: If the file cannot be read, or its tensors are not those of this adapter.
    """
    from peft import get_peft_model_state_dict

    file, remedy = folder / ADAPTER_WEIGHTS, "put its files back as they were saved"
    try:
        saved = load_file(file)
    except (OSError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(Problem(str(file), rule=f"cannot be loaded ({reason})", remedy=remedy)) from error
    adapted = cast("PeftModel", model)
    tensors = adapted.state_dict(keep_vars=True)
    own = get_peft_model_state_dict(adapted, state_dict=tensors, save_embedding_layers=False)
    strange = sorted({*own} ^ {*saved}) or [name for name in own if shape_of(own[name]) != saved[name].shape]
    if strange:
        rule = f"its weights are not those of the adapter: {strange[0]} differs"
        raise CheckpointError(Problem(str(file), rule=rule, remedy=remedy))
    return [(own[name], saved[name]) for name in own]


def find_new_modules(model: torch.nn.Module, new_parameters: Sequence[str]) -> list[str]:
    """Return the outermost modules all of whose parameters are in `new_parameters`.

    Raises:
        ConfigError: If a parameter is new in a module that has others: an adapter could not save it.
    """
    new = set(new_parameters)
    chosen: list[str] = []
    for name, module in model.named_modules():
        own = {f"{name}.{parameter}" for parameter, _ in module.named_parameters()}
        if name and own and own <= new and not any(name.startswith(f"{outer}.") for outer in chosen):
            chosen.append(name)
    left = [name for name in new_parameters if not any(name.startswith(f"{module}.") for module in chosen)]
    if left:
        rule = f"the checkpoint lacks {left[0]}, which an adapter cannot bring"
        raise ConfigError(Problem("use_peft", "true", rule, "leave use_peft out to train all weights"))
    return chosen


def _build_config(settings: ModelSettings, model: PreTrainedModel, new_parameters: Sequence[str]) -> "LoraConfig":
    from peft import LoraConfig, TaskType

    is_classifier = "ForSequenceClassification" in type(model).__name__
    # where this revision is no branch's name, loading the adapter by itself must find the same weights
    revision = settings.model_revision if settings.model_revision != "main" else None
    return LoraConfig(
        task_type=TaskType.SEQ_CLS if is_classifier else TaskType.CAUSAL_LM,
        revision=revision,
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=_find_targets(settings, model),
        modules_to_save=find_new_modules(model, new_parameters) or None,
        # GPT-2 keeps its weights transposed
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )


def _public_name(settings: ModelSettings) -> str | None:
    name = settings.model_name_or_path
    return DEMO_ENCODER_HUB_NAME if name == DEMO_ENCODER else name


def _find_targets(settings: ModelSettings, model: PreTrainedModel) -> str | list[str] | None:
    """Return the modules that get an adapter: as set, as peft chooses (None), or every linear one where it does not."""
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    given = settings.lora_target_modules
    if given is not None:
        return ALL_LINEAR if given == (ALL_LINEAR,) else list(given)
    known = model.config.model_type in TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    return None if known else ALL_LINEAR


def _check_targets(settings: ModelSettings, model: PreTrainedModel) -> None:
    """Raise a ConfigError for each name no module ends in: peft speaks up only where none of them fits."""
    linear = sorted({name.rpartition(".")[2] for name, module in model.named_modules() if _is_linear(module) and name})
    names = [name for name, _ in model.named_modules()]
    problems = [
        Problem("lora_target_modules", wanted, "no module has this name", f"linear modules: {', '.join(linear)}")
        for wanted in settings.lora_target_modules or ()
        if wanted != ALL_LINEAR and not any(name == wanted or name.endswith(f".{wanted}") for name in names)
    ]
    if problems:
        raise ConfigError(problems)


def _is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear | Conv1D)
