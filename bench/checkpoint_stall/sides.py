"""The two sides: a plain Trainer and ours over the same model, each with the optimizer state of one step."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, Trainer

from bench.plain_trainer import ours, tiny
from bench.plain_trainer.plain import build_plain, labelled_rows, plain_arguments
from bench.quiet import silence
from hfpipe.models.tokenizers import special_ids, train_tokenizer

LAYERS = 6
PARAMETERS_OF_A_LAYER = 12
"""In squares of the width: attention has 4, the feed-forward network of four times the width 8."""
ROWS = 32
SAVES_KEPT = 2
"""hfpipe's default."""


@dataclass(frozen=True)
class Sides:
    """Both trainers after one step, which they save again and again."""

    plain: Trainer
    ours: Trainer
    parameters: int
    seconds_a_step: float

    def save(self, side: Trainer) -> None:
        """Let `side` save, as the checkpoint of a step of its own."""
        side.state.global_step += 1
        with silence():
            side._save_checkpoint(cast("torch.nn.Module", side.model), trial=None)


def build_sides(folder: Path, *, millions: float) -> Sides:
    """Return both trainers over a BERT of about so many million parameters, with everything they write in `folder`."""
    checkpoint = _save_model(folder / "start", millions)
    train, validation = folder / "train.csv", folder / "validation.csv"
    tiny.write_reviews(train, tiny.make_reviews(range(ROWS)))
    tiny.write_reviews(validation, tiny.make_reviews(range(ROWS, 2 * ROWS)))
    steps: dict[str, Any] = {**ours.STEPS_ONLY, "num_train_epochs": 1, "per_device_train_batch_size": 8}
    assembled = ours.assemble(ours.classify(checkpoint, train, validation, output_dir=folder / "ours", **steps))
    model = tiny.load_checkpoint(checkpoint)
    plain = build_plain(
        model,
        plain_arguments(folder / "plain", max_steps=1, per_device_train_batch_size=8, save_total_limit=SAVES_KEPT),
        assembled.trainer.tokenizer,
        train=labelled_rows(assembled.rows.train),
    )
    with silence():
        plain.train()
    pace = assembled.train()
    count = model.num_parameters()
    return Sides(plain, assembled.trainer, count, 1 / pace["train_steps_per_second"])


def _save_model(folder: Path, millions: float) -> Path:
    texts = [text for text, _ in tiny.make_reviews(range(64))]
    tokenizer = train_tokenizer(texts, 400, show_progress=False)
    width = max(64, round((millions * 1e6 / LAYERS / PARAMETERS_OF_A_LAYER) ** 0.5 / 64) * 64)
    config = AutoConfig.for_model(
        "bert",
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=LAYERS,
        num_attention_heads=width // 64,
        max_position_embeddings=64,
        vocab_size=len(tokenizer),
        id2label=dict(enumerate(tiny.LABEL_NAMES)),
        label2id={name: index for index, name in enumerate(tiny.LABEL_NAMES)},
        **special_ids(tokenizer),
    )
    torch.manual_seed(0)
    with silence():
        AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder
