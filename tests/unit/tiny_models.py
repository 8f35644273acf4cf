"""Tiny models and a tokenizer for tests, with weights large enough that different texts score differently."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from hfpipe.errors import CheckpointError
from hfpipe.models.tokenizers import train_tokenizer

SENTENCES = [
    "A film that stays with you.",
    "bad",
    "The plot is thin, the pace is slow, and nobody seems to have read the script before the camera ran.",
    "I liked it",
    "Two hours of my life that I shall not see again; avoid it, avoid everything its director ever touched.",
    "Wonderful!",
]
SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def make_tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(SENTENCES, 300, show_progress=False)


def bert_config(**changes: Any) -> BertConfig:
    labels = {"id2label": {0: "neg", 1: "mid", 2: "pos"}, "label2id": {"neg": 0, "mid": 1, "pos": 2}}
    return BertConfig(
        **{"vocab_size": 300, "pad_token_id": 1, "max_position_embeddings": 64, **SHAPE, **labels, **changes}
    )


def llama_config(**changes: Any) -> LlamaConfig:
    fields = {"vocab_size": 300, "max_position_embeddings": 48, "num_key_value_heads": 2, **SHAPE}
    return LlamaConfig(**{**fields, "eos_token_id": 0, "bos_token_id": 0, "pad_token_id": 1, **changes})


def make_classifier(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():  # weights of 0.02 would make every text score alike
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return model


def make_generator(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
    return model


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def message(call: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as caught:
        call()
    return str(caught.value).removeprefix("the run directory has 1 problem:\n  - ")
