"""Weights of a run on disk: the whole model, or where an adapter is trained that alone.

Everything is safetensors and JSON. Loading is strict: a file that lacks a parameter, or has one more, is refused.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from hfpipe.errors import CheckpointError, Problem
from hfpipe.models.adapters import is_adapted, read_adapter, save_adapter
from hfpipe.records.manifest import find_damage
from hfpipe.records.run_directory import checkpoint_folder
from hfpipe.training.agreement import raise_in_all
from hfpipe.training.gathering import is_sharded, put_tensor, put_weights, whole_shape

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)


def save_weights(trainer: "PlannedTrainer", folder: Path, state_dict: dict[str, torch.Tensor] | None) -> None:
    """Save model or adapter, config and tokenizer; no pickled TrainingArguments, which would carry tokens.

    `state_dict` is given where the model's own tensors are not whole, as under sharding.
    """
    if not trainer.args.should_save:
        return
    if is_adapted(trainer.network):
        save_adapter(trainer.network, folder, state_dict=state_dict)
    else:
        trainer.network.save_pretrained(folder, state_dict=state_dict)
    trainer.tokenizer.save_pretrained(folder)


def read_model(network: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return a model like `network`, which has no adapter, with the weights in `folder`; no random numbers are drawn.

    Names of parameters in a file can differ from those in the model, and experts be stored one by one:
    only `from_pretrained` knows how they go together.

    Raises:
        CheckpointError: If the folder cannot be read, or lacks or has parameters that `network` does not.
    """
    remedy = "put its files back as they were saved"
    try:
        with torch.random.fork_rng(devices=[]):  # weights are read on the CPU
            loaded, info = cast("Any", type(network)).from_pretrained(
                folder,
                dtype=network.dtype,
                attn_implementation=network.config._attn_implementation,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        rule = f"its weights cannot be loaded ({reason})"
        raise CheckpointError(Problem(str(folder), rule=rule, remedy=remedy)) from error
    strange = sorted({*info["missing_keys"], *info["unexpected_keys"]})
    if strange:
        rule = f"its weights are not those of the model: {strange[0]} is in only one of them"
        raise CheckpointError(Problem(str(folder), rule=rule, remedy=remedy))
    return cast("PreTrainedModel", loaded)


def load_weights(network: PreTrainedModel, folder: Path) -> None:
    """Put the weights in `folder` into `network`, or into its adapter, all of them.

    Raises:
        CheckpointError: If they cannot be read, or are not those of `network`.
    """
    if is_adapted(network):
        spread = is_sharded(network)
        for own, saved in read_adapter(network, folder, shape_of=whole_shape):
            put_tensor(own, saved, broadcast=spread)
    else:
        put_weights(network, read_model(network, folder).state_dict())


def load_best_weights(trainer: "PlannedTrainer") -> None:
    """Put the weights of the best step back into the model, wherever the run directory lies now.

    Raises:
        CheckpointError: If that checkpoint is not as it was written.
    """
    step = trainer.state.best_global_step
    if step is None or step == trainer.state.global_step:
        return
    folder = checkpoint_folder(trainer.checkpoints, step)
    raise_in_all(_find_refusal(folder, step) if trainer.args.process_index == 0 else None, trainer.args)
    load_weights(trainer.network, folder)
    logger.info(
        "best weights: step %s, %s %s", f"{step:,}", trainer.args.metric_for_best_model, trainer.state.best_metric
    )


def _find_refusal(folder: Path, step: int) -> CheckpointError | None:
    """Return what keeps the best weights from being loaded."""
    remedy = "put it back as it was saved; the same command goes on from the newest checkpoint that does without it"
    problems = find_damage(folder, step=step)
    return CheckpointError([replace(each, remedy=remedy) for each in problems]) if problems else None
