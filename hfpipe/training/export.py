"""The finished model at the top of the run directory, reloaded and compared before the run says done."""

import logging
from pathlib import Path
from typing import cast

import torch
from transformers import AutoTokenizer, PreTrainedModel

from hfpipe.errors import CheckpointError, Problem
from hfpipe.training.checkpoints import read_model
from hfpipe.training.datasets import Rows
from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)

ROWS_COMPARED = 4
# Same weights, same inputs, same kernels: anything above rounding means that something was not saved.
TOLERANCE = 1e-5
TOLERANCE_IN_EPSILONS = 4


def export_model(trainer: PlannedTrainer, rows: Rows) -> None:
    """Save model and tokenizer at the top of the run directory and check that they come back.

    Raises:
        CheckpointError: If the model as reloaded gives other outputs on a few of `rows`.
    """
    folder = trainer.run_directory
    if trainer.args.should_save:
        model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False, keep_torch_compile=False)
        model.config.use_cache = True  # Trainer switches it off for training; generating without it is slow
        model.save_pretrained(folder)
        trainer.tokenizer.save_pretrained(folder)
        check_reload(model, folder, rows)
    trainer.accelerator.wait_for_everyone()


@torch.inference_mode()
def check_reload(model: PreTrainedModel, folder: Path, rows: Rows) -> None:
    """Raise a CheckpointError unless what lies in `folder` gives the outputs of `model`."""
    reloaded = cast("torch.nn.Module", read_model(model, folder)).to(model.device).eval()
    AutoTokenizer.from_pretrained(folder, local_files_only=True)
    batch = rows.__getitems__(list(range(min(ROWS_COMPARED, len(rows)))))
    inputs = {name: value.to(model.device) for name, value in batch.items() if name != "labels"}
    model.eval()
    trained, saved = model(**inputs).logits.float(), reloaded(**inputs).logits.float()
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
    logger.info(
        "saved and reloaded: outputs agree on %d rows (largest difference %.1g)", len(batch["labels"]), difference
    )
