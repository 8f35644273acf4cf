"""Probabilities of texts by a classifier: any number of texts, in order, the same at any batch size.

Refuses a text without a single token and scores that are not finite. Texts are taken in windows of 32 batches and
sorted by length inside a window, so that a stream of any length needs the memory of one window and little padding.
The decision worth knowing: without a padding id of its own a causal model's head cannot tell text from padding, so
its texts are scored one by one; truncation and padding of the tokenizer's file never apply.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfpipe.errors import CheckpointError, DataError, Problem

BATCHES_PER_WINDOW = 32


def score_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    *,
    max_length: int,
    batch_size: int = 32,
) -> Iterator[np.ndarray]:
    """Yield the probabilities of each text, (labels,) float32, in the order of `texts`.

    `texts` is read one window ahead of what is yielded. The model must be in evaluation mode.

    Args:
        model: A classifier; it runs where its weights are.
        tokenizer: The model's tokenizer.
        texts: Any iterable, also an endless one.
        max_length: Tokens of a text, special tokens included; the rest at its end is cut off.
        batch_size: Texts scored at once.

    Raises:
        DataError: If a text has no tokens.
        CheckpointError: If a score is not a finite number.
    """
    assert not model.training, "dropout would make the scores random: call model.eval()"
    pad_id = model.config.get_text_config().pad_token_id
    remaining, seen = iter(texts), 0
    rows_at_once = batch_size if pad_id is not None else 1
    while window := list(islice(remaining, batch_size * BATCHES_PER_WINDOW)):
        rows = _encode(tokenizer, window, max_length, seen)
        yield from _score_window(model, rows, rows_at_once, 0 if pad_id is None else pad_id)
        seen += len(window)


def _encode(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int, texts_before: int
) -> list[list[int]]:
    encoded = tokenizer(
        texts,
        truncation=True,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    rows: list[list[int]] = encoded["input_ids"]
    empty = [index for index, row in enumerate(rows) if not row]
    if empty:
        place = f"text {texts_before + empty[0] + 1:,}"
        raise DataError(Problem(place, repr(texts[empty[0]]), "has no tokens to score", "leave it out"))
    return rows


def _score_window(model: PreTrainedModel, rows: list[list[int]], batch_size: int, pad_id: int) -> np.ndarray:
    # The longest first: a batch that does not fit the memory fails at once, not after minutes.
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    scores = np.concatenate([_score_batch(model, [rows[index] for index in batch], pad_id) for batch in batches])
    restored = np.empty_like(scores)
    restored[order] = scores
    return restored


@torch.inference_mode()
def _score_batch(model: PreTrainedModel, rows: Sequence[Sequence[int]], pad_id: int) -> np.ndarray:
    longest = max(len(row) for row in rows)
    input_ids = torch.full((len(rows), longest), pad_id)
    attention_mask = torch.zeros_like(input_ids)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = torch.tensor(row)
        attention_mask[index, : len(row)] = 1
    logits = model(input_ids=input_ids.to(model.device), attention_mask=attention_mask.to(model.device)).logits
    probabilities = logits.float().softmax(dim=-1).cpu().numpy()
    if not np.isfinite(probabilities).all():
        place, rule = str(model.name_or_path), "the model's scores are not finite numbers"
        raise CheckpointError(Problem(place, rule=rule, remedy="its weights are damaged, or its training diverged"))
    return probabilities
