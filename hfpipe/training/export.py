"""The finished model at the top of the run directory, reloaded and compared before the run says done."""

import logging
import shutil
from pathlib import Path
from typing import cast

import torch
from transformers import AutoTokenizer, PreTrainedModel

from hfpipe.errors import CheckpointError, Problem
from hfpipe.inference.forward import run_model
from hfpipe.models.adapters import copy_whole, is_adapted, merge_adapter, save_adapter
from hfpipe.models.hardware import exact_float32
from hfpipe.models.windows import MEAN
from hfpipe.records.durable import publish_files, remove_folder
from hfpipe.records.run_directory import STAGING
from hfpipe.training.agreement import Attempt, raise_in_all
from hfpipe.training.datasets import Rows
from hfpipe.training.finite_weights import check_weights
from hfpipe.training.gathering import whole_weights
from hfpipe.training.trainer import PlannedTrainer
from hfpipe.training.weights import read_model

logger = logging.getLogger(__name__)

ADAPTER_FOLDER = "adapter"
ROWS_COMPARED = 4
# Same weights, same inputs, same kernels: anything above rounding means that something was not saved.
TOLERANCE = 1e-5
TOLERANCE_IN_EPSILONS = 4


def export_model(trainer: PlannedTrainer, rows: Rows) -> None:
    """Save model and tokenizer at the top of the run directory, once they came back from beside it.

    They are published file by file, and count when the record says that the run is done: a kill in between is made
    good by the same command.

    An adapter is saved beside them, in `adapter/`, and merged into the weights: the trainer has the merged model then,
    and the main process of a sharded run the whole one, as reloaded.

    Raises:
        CheckpointError: If the model as reloaded gives other outputs on a few of `rows`, or cannot be written.
        TrainingError: If a weight is not finite.
    """
    check_weights(trainer)
    staging = trainer.run_directory / STAGING
    attempt = Attempt(staging)
    network = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False, keep_torch_compile=False)
    leave_flash_attention(network)
    # a sharded model needs all processes, to be gathered and to compute
    weights = whole_weights(trainer)
    trained = compute_outputs(network, rows) if trainer.args.should_save or weights is not None else torch.empty(0)
    with attempt:
        if trainer.args.should_save:
            remove_folder(staging)
            staging.mkdir()
    if is_adapted(network):
        with attempt:
            if trainer.args.should_save:
                save_adapter(network, staging / ADAPTER_FOLDER, state_dict=weights)
                trainer.tokenizer.save_pretrained(staging / ADAPTER_FOLDER)
        if weights is None:
            network = trainer.model = merge_adapter(network)
        elif trainer.args.should_save:
            network = merge_adapter(copy_whole(network, weights)).to(network.device)
            weights = dict(network.state_dict())
    with attempt:
        if trainer.args.should_save and not attempt.has_failed:
            network.config.use_cache = True  # Trainer switches it off for training; generating without it is slow
            network.save_pretrained(staging, state_dict=weights)
            trainer.tokenizer.save_pretrained(staging)
            reloaded = check_reload(network, trained, folder=staging, rows=rows)
            trainer.model = reloaded if weights is not None else trainer.model
            publish_files(staging, trainer.run_directory)
    _agree(trainer, attempt, network)


def _agree(trainer: PlannedTrainer, attempt: Attempt, network: torch.nn.Module) -> None:
    """Return when the model is published; where that failed, all processes raise, and what was staged is gone."""
    if attempt.has_failed:
        shutil.rmtree(attempt.folder, ignore_errors=True)
    needed = sum(parameter.nbytes for parameter in network.parameters())
    remedy = "free some, then give the same command again: it goes on from the newest checkpoint"
    raise_in_all(attempt.error(needed=needed, remedy=remedy), trainer.args)


def leave_flash_attention(network: PreTrainedModel) -> None:
    """Have `network` attend by sdpa, or eagerly: it computes in float32 from now on, which FlashAttention refuses."""
    if str(network.config._attn_implementation).startswith("flash_attention"):
        network.set_attn_implementation("sdpa" if network._supports_sdpa else "eager")


def check_reload(model: PreTrainedModel, trained: torch.Tensor, *, folder: Path, rows: Rows) -> torch.nn.Module:
    """Return the model in `folder`.

    Raises:
        CheckpointError: Unless it gives the outputs `trained` on the first of `rows`.
    """
    reloaded = cast("torch.nn.Module", read_model(model, folder)).to(model.device)
    AutoTokenizer.from_pretrained(folder, local_files_only=True)
    saved = compute_outputs(reloaded, rows)
    difference = (trained - saved).abs().max().item()
    tolerance = max(TOLERANCE, TOLERANCE_IN_EPSILONS * torch.finfo(model.dtype).eps)
    if not difference <= tolerance * max(1.0, trained.abs().max().item()):
        raise CheckpointError(
            Problem(
                str(folder),
                f"outputs differ by {difference:.2g} after reloading",
                "the saved model is not the trained one",
                "use the newest folder under checkpoints/ and report this with run.json",
            )
        )
    logger.info("saved and reloaded: outputs agree on %d rows (largest difference %.1g)", _compared(rows), difference)
    return reloaded


@torch.inference_mode()
def compute_outputs(model: torch.nn.Module, rows: Rows) -> torch.Tensor:
    """Return the logits of the first rows in float32."""
    batch = rows.__getitems__(list(range(_compared(rows))))
    device = next(model.parameters()).device
    inputs = {name: value.to(device) for name, value in batch.items() if name != "labels"}
    with exact_float32(device):
        return run_model(model.eval(), inputs, rows=_compared(rows), pooling=MEAN).logits.float()


def _compared(rows: Rows) -> int:
    return min(ROWS_COMPARED, len(rows))
