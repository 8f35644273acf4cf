"""Documents of a block kept apart: its loss is that of the documents alone, and models that mix them are refused."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_review
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel, TrainingArguments

from hfpipe.config import ModelSettings
from hfpipe.data.corpus import count_positions
from hfpipe.data.parts import DocumentPart
from hfpipe.data.places import Places
from hfpipe.errors import ConfigError
from hfpipe.models.causal import load_causal_lm
from hfpipe.models.document_masks import check_document_masks
from hfpipe.models.tokenizers import train_tokenizer
from hfpipe.training.datasets import BlockRows
from hfpipe.training.fused_loss import find_fused_head
from hfpipe.training.objectives import CausalLMObjective
from hfpipe.training.packing import build_packer
from hfpipe.training.tasks import causal_lm_task
from hfpipe.training.trainer import PlannedTrainer

TEXTS = [make_review(index)[0] for index in range(12)]
TOKENIZER = train_tokenizer(TEXTS, 300, show_progress=False)
BLOCK_SIZE = 64
SHAPES = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "llama": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2},
    "opt": {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 1, "num_attention_heads": 2},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 1},
}


def make_model(model_type: str, attention: str) -> tuple[ModelSettings, PreTrainedModel]:
    own = {"num_key_value_heads": 2} if model_type == "llama" else {}
    settings = ModelSettings(
        model_size="tiny",
        model_type=model_type,
        config_overrides=SHAPES[model_type] | own,
        attn_implementation=attention,
    )
    torch.manual_seed(1)
    model = load_causal_lm(settings, TOKENIZER, block_size=BLOCK_SIZE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # far from even odds, so that what a token sees tells
    return settings, model


def pack(*, is_train: bool, masks_documents: bool = True) -> BlockRows:
    places = Places(("d.txt",), np.zeros(len(TEXTS), np.int32), np.arange(len(TEXTS)))
    packer = build_packer(TOKENIZER, block_size=BLOCK_SIZE, masks_documents=masks_documents)
    return packer.pack(DocumentPart(TEXTS, places), "train", is_train=is_train)


def losses_alone(model: PreTrainedModel, rows: BlockRows) -> float:
    """Return the summed loss of the blocks' documents, each run by itself behind its separator."""
    total = 0.0
    for row in range(len(rows)):
        batch = rows.__getitems__([row])
        labels = batch["labels"][0]
        ids = batch["input_ids"][0]
        begins = [0, *(np.flatnonzero(np.diff(batch["position_ids"][0]) != 1) + 1), len(ids)]
        for begin, end in pairwise(begins):
            # what ends a document is the separator of the next, which it predicts and does not see
            alone, wanted = ids[None, begin : end + 1], labels[None, begin : end + 1].clone()
            outputs = model(input_ids=alone, use_cache=False)
            total += CausalLMObjective().loss_sum(outputs, wanted).item()
    return total


def make_trainer(model: PreTrainedModel, rows: BlockRows, folder: Path) -> PlannedTrainer:
    args = TrainingArguments(
        str(folder), use_cpu=True, report_to=[], per_device_eval_batch_size=2, per_device_train_batch_size=2
    )
    task = causal_lm_task(CausalLMObjective())
    return PlannedTrainer(model, args, task=task, train_rows=rows, validation_rows=rows, tokenizer=TOKENIZER)


@pytest.mark.parametrize("is_fused", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager", "hfpipe"])
@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_packed_loss_is_unpacked_loss(model_type: str, attention: str, is_fused: bool, tmp_path: Path) -> None:
    settings, model = make_model(model_type, attention)
    check_document_masks(settings, model)
    rows = pack(is_train=True)
    trainer = make_trainer(model, rows, tmp_path)
    trainer.fused_head = find_fused_head(model) if is_fused else None
    model.train()
    alone = losses_alone(model, rows)
    batch = rows.__getitems__(list(range(len(rows))))
    packed = trainer.compute_loss(model, batch, num_items_in_batch=torch.tensor(1.0))
    assert packed.item() == pytest.approx(alone, rel=1e-5)

    heldout = pack(is_train=False)
    trainer.eval_dataset = heldout
    scored = trainer.evaluate()["eval_loss"] * heldout.predicted_tokens.sum()
    assert scored == pytest.approx(losses_alone(model.eval(), heldout), rel=1e-5)
    plain = pack(is_train=True, masks_documents=False).__getitems__(list(range(len(rows))))
    assert "position_ids" not in plain
    mixed = trainer.compute_loss(model, plain, num_items_in_batch=torch.tensor(1.0)).item()
    assert mixed != pytest.approx(alone, rel=1e-3)


@pytest.mark.parametrize("model_type", ["opt", "mamba"])
def test_a_model_that_reads_across_is_refused(model_type: str) -> None:
    settings, model = make_model(model_type, "eager")
    with pytest.raises(ConfigError, match=f"{model_type}: has no document masks: a document changes what it says"):
        check_document_masks(settings, model)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_positions_begin_anew_with_each_document(begins: list[bool]) -> None:
    expected: list[int] = []
    for begin in begins:
        expected.append(0 if begin or not expected else expected[-1] + 1)
    assert count_positions(np.flatnonzero(begins), len(begins)).tolist() == expected


@pytest.mark.parametrize("is_train", [True, False])
def test_positions_of_a_block_are_counted_from_its_separators(is_train: bool) -> None:
    rows = pack(is_train=is_train)
    batch = rows.__getitems__([0, len(rows) - 1, 1])
    assert (batch["position_ids"][1, 0], batch["position_ids"][0, 0]) == (0, 0)
    for ids, positions in zip(batch["input_ids"], batch["position_ids"], strict=True):
        real = len(ids) - (rows.blocks.padding or 0) - 1
        assert ((ids == 0) == (positions == 0))[1:real].all()
