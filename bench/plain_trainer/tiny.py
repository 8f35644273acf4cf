"""Tiny checkpoints and made-up reviews: what both sides of a comparison start from.

The checkpoints hold the head already, so both sides begin with the same weights. Dropout is 0 and the type float32:
what differs then is arithmetic, not chance.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)

from hfpipe.models.tokenizers import special_ids, train_tokenizer

CLASSIFIERS = ("bert", "distilbert", "modernbert", "gpt2", "llama")
LABEL_NAMES = ("neg", "pos")
TRAIN_ROWS = 21
"""Windows of 8, 8 and 5 rows: the last one is uneven for 4x2 and for 2x4."""
VALIDATION_ROWS = 11
OVERFLOWING_WORD = "zzzz"
INITIALIZER_RANGE = 0.1
"""Wide enough for losses that differ from row to row: where all are alike, every mean of them is right."""

_WORDS = {
    "pos": ("good", "great", "lovely", "fine", "superb", "warm"),
    "neg": ("bad", "awful", "poor", "dull", "sad", "cold"),
}
_NEUTRAL = ("a", "the", "film", "plot", "scene", "with", "music", "and")

_WIDE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "bert": {**_WIDE, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "distilbert": {
        "dim": 32,
        "hidden_dim": 64,
        "n_layers": 2,
        "n_heads": 2,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "seq_classif_dropout": 0.0,
    },
    "modernbert": _WIDE,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "llama": _WIDE,
}


def make_reviews(numbers: Sequence[int]) -> list[tuple[str, str]]:
    """Return (text, label) for each number: 3 to 22 words, no two texts alike, one in three rows positive."""
    reviews = []
    for number in numbers:
        label = "neg" if number % 3 else "pos"
        length = 3 + (number * 7) % 20
        words = [(_WORDS[label] if place % 3 else _NEUTRAL)[(number + place * place) % 6] for place in range(length)]
        reviews.append((" ".join([*words, "number", str(number)]), label))
    return reviews


def write_reviews(file: Path, reviews: Sequence[tuple[str, str]]) -> Path:
    """Write reviews as a CSV and return its path."""
    file.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in reviews), encoding="utf-8")
    return file


def flip_labels(reviews: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the reviews with wrong labels: validated on them, a model gets worse as it learns."""
    return [(text, "neg" if label == "pos" else "pos") for text, label in reviews]


def write_documents(file: Path, numbers: Sequence[int]) -> Path:
    """Write the texts of reviews, one a line."""
    file.write_text("".join(f"{text}\n" for text, _ in make_reviews(numbers)), encoding="utf-8")
    return file


def save_checkpoint(architecture: str, folder: Path, *, causal_lm: bool = False) -> Path:
    """Save a model and a tokenizer trained on the reviews to `folder` and return it."""
    texts = [text for text, _ in make_reviews(range(64))]
    tokenizer = train_tokenizer([*texts, OVERFLOWING_WORD], 400, show_progress=False)
    config = AutoConfig.for_model(
        architecture,
        **_SHAPES[architecture],
        max_position_embeddings=64,
        vocab_size=len(tokenizer),
        id2label=dict(enumerate(LABEL_NAMES)),
        label2id={name: index for index, name in enumerate(LABEL_NAMES)},
        initializer_range=INITIALIZER_RANGE,
        **special_ids(tokenizer),
    )
    torch.manual_seed(0)
    family = AutoModelForCausalLM if causal_lm else AutoModelForSequenceClassification
    family.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load_checkpoint(folder: Path, *, causal_lm: bool = False) -> PreTrainedModel:
    """Return the model saved in `folder`, in float32."""
    family = AutoModelForCausalLM if causal_lm else AutoModelForSequenceClassification
    return family.from_pretrained(folder, dtype=torch.float32)


@torch.no_grad()
def make_token_overflow(folder: Path) -> None:
    """Give a token of the checkpoint in `folder` an embedding that is finite but overflows in the first norm."""
    model = load_checkpoint(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    usual = {token for text, _ in make_reviews(range(200)) for token in tokenizer(text)["input_ids"]}
    rare = set(tokenizer(f" {OVERFLOWING_WORD}")["input_ids"]) - usual
    assert rare, "the word has a token of its own"
    cast("torch.nn.Embedding", model.get_input_embeddings()).weight[list(rare)] = 3e38
    model.save_pretrained(folder)
