"""Texts of random words, a tokenizer that knows each of them, and models with random weights: nothing is downloaded.

What a step costs depends on shapes and lengths alone, so these stand for real ones wherever no score is measured.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

LABELS = ("neg", "pos")
POSITIONS = 512
IMDB_LENGTHS = (228.0, 0.74)
"""Median, and standard deviation of the logarithm, of a log-normal law: mean 300, one in ten over 590 tokens."""
SHORT_LENGTHS = (16.0, 0.5)
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<|endoftext|>")


@dataclass(frozen=True)
class Shape:
    """A model: layers, width, heads, tokens it knows, and the rows and tokens of a batch."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    rows: int
    length: int

    @property
    def matrix_parameters(self) -> int:
        """Parameters of the layers' matrices: attention has 4 squares of the width, the rest of a layer 8."""
        return 12 * self.layers * self.width**2

    def training_flops(self, length: float, *, has_head: bool) -> float:
        """Return the floating-point operations of training on a token that stands in a row of so many.

        As counted for PaLM (Chowdhery et al. 2022, appendix B): 6 a parameter, and 12 x width x length a layer for
        attention, causal or not.
        """
        head = self.vocabulary * self.width if has_head else 0
        return 6.0 * (self.matrix_parameters + head) + 12.0 * self.layers * self.width * length


def make_texts(count: int, shape: Shape, *, seed: int, lengths: tuple[float, float] = IMDB_LENGTHS) -> list[str]:
    """Return texts of random words, as long as film reviews are."""
    draws = np.random.default_rng(seed)
    sizes = np.clip(draws.lognormal(np.log(lengths[0]), lengths[1], count), 8, 2500).astype(int)
    words = shape.vocabulary - len(_SPECIAL)
    return [" ".join(f"w{word}" for word in draws.integers(words, size=size)) for size in sizes]


def write_labelled(file: Path, texts: Sequence[str], labels: Sequence[int]) -> None:
    """Write rows of text and label, one JSON a line."""
    rows = zip(texts, labels, strict=True)
    lines = (json.dumps({"text": text, "label": LABELS[label]}) for text, label in rows)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_tokenizer(vocabulary: int, *, marks_texts: bool) -> PreTrainedTokenizerFast:
    """Return a tokenizer of so many tokens, a word each.

    That of a classifier `marks_texts` by [CLS] and [SEP], and takes 512 tokens.
    """
    words = [*_SPECIAL, *(f"w{number}" for number in range(vocabulary - len(_SPECIAL)))]
    ids = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special: dict[str, Any] = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "<|endoftext|>"}
    if marks_texts:
        marks = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=marks
        )
        special = {name: token for name, token in special.items() if name != "eos_token"}
        special |= {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "model_max_length": POSITIONS}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special)


def save_language_model(folder: Path, shape: Shape) -> None:
    """Save a GPT-2 of this shape, its dropout at the usual 0.1, and a tokenizer."""
    tokenizer = make_tokenizer(shape.vocabulary, marks_texts=False)
    end = tokenizer.eos_token_id
    config = AutoConfig.for_model(
        "gpt2",
        n_layer=shape.layers,
        n_embd=shape.width,
        n_head=shape.heads,
        vocab_size=shape.vocabulary,
        n_positions=shape.length,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_classifier(folder: Path, shape: Shape, *, head_scale: float = 1.0) -> None:
    """Save a BERT of this shape, its dropout at the usual 0.1, with two labels and a tokenizer."""
    tokenizer = make_tokenizer(shape.vocabulary, marks_texts=True)
    config = AutoConfig.for_model(
        "bert",
        hidden_size=shape.width,
        intermediate_size=4 * shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=POSITIONS,
        vocab_size=shape.vocabulary,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(LABELS)),
        label2id={name: index for index, name in enumerate(LABELS)},
    )
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        model.classifier.weight.mul_(head_scale)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
