"""What a classifier says of texts: any number of them, in order, the same at any batch size.

Refuses a text without a single token and scores that are not finite. Texts are taken in portions of 32 batches and
sorted by length inside one, so that a stream of any length needs the memory of one portion and little padding.
Texts are cut, or become windows, as in training, by the same code.
The decision worth knowing: without a padding id of its own a causal model's head cannot tell text from padding, so
its texts are scored one by one; truncation and padding of the tokenizer's file never apply.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.data.tokens import LengthRule, TokenizedTexts, tokenize_texts
from hfpipe.errors import CheckpointError, DataError, Problem
from hfpipe.inference.forward import collate_texts, run_model
from hfpipe.inference.texts import Text

BATCHES_PER_PORTION = 32


@dataclass(frozen=True)
class Treatment:
    """How texts become scores: how long they may be, what becomes of longer ones, and how windows are pooled.

    Logits are divided by `temperature` before they become probabilities.
    """

    rule: LengthRule
    pooling: str = "mean"
    temperature: float = 1.0


def find_problem_type(config: PreTrainedConfig) -> str:
    """Return what the labels of a classifier are; a model that does not say has one label a text."""
    if config.problem_type is not None:
        return str(config.problem_type)
    return REGRESSION if config.num_labels == 1 else SINGLE_LABEL


def score_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[Text],
    *,
    treatment: Treatment,
    batch_size: int = 32,
) -> Iterator[np.ndarray]:
    """Yield the scores of each text, (labels,) float32, in the order of `texts`.

    They are probabilities: of one label each time, summing to 1, or of each label by itself under multi-label
    problems; under regression the number itself.

    Raises:
        DataError, CheckpointError: As `compute_logits`.
    """
    problem_type = find_problem_type(model.config)
    for logits in compute_logits(model, tokenizer, texts, treatment=treatment, batch_size=batch_size):
        yield to_scores(logits, problem_type, temperature=treatment.temperature)


def to_scores(logits: np.ndarray, problem_type: str, *, temperature: float = 1.0) -> np.ndarray:
    """Return what logits (..., labels) say, as `score_texts` has it; a number has no temperature."""
    if problem_type == REGRESSION:
        return logits
    values = torch.from_numpy(logits) / temperature
    return (values.sigmoid() if problem_type == MULTI_LABEL else values.softmax(dim=-1)).numpy()


def compute_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[Text],
    *,
    treatment: Treatment,
    batch_size: int = 32,
) -> Iterator[np.ndarray]:
    """Yield the logits of each text, (labels,) float32, in the order of `texts`, those of its windows pooled.

    `texts` is read one portion ahead of what is yielded, and are all single or all pairs. The model must be in
    evaluation mode.

    Raises:
        DataError: If a text has no tokens.
        CheckpointError: If a logit is not a finite number.
    """
    assert not model.training, "dropout would make the scores random: call model.eval()"
    has_padding = model.config.get_text_config().pad_token_id is not None
    remaining, seen = iter(texts), 0
    rows_at_once = batch_size if has_padding else 1
    while portion := list(islice(remaining, batch_size * BATCHES_PER_PORTION)):
        tokenized = _tokenize(tokenizer, portion, treatment.rule, seen)
        yield from _run_portion(model, tokenized, treatment.pooling, rows_at_once)
        seen += len(portion)


def _tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], rule: LengthRule, texts_before: int
) -> TokenizedTexts:
    first = [text if isinstance(text, str) else text[0] for text in texts]
    second = [text[1] for text in texts if not isinstance(text, str)]
    tokenized = tokenize_texts(tokenizer, first, text_pairs=second or None, rule=rule)
    empty = np.flatnonzero(tokenized.lengths == 0)
    if len(empty):
        place = f"text {texts_before + empty[0] + 1:,}"
        raise DataError(Problem(place, repr(texts[empty[0]]), "has no tokens to score", "leave it out"))
    return tokenized


def _run_portion(model: PreTrainedModel, texts: TokenizedTexts, pooling: str, batch_size: int) -> np.ndarray:
    # The longest first: a batch that does not fit the memory fails at once, not after minutes.
    order = np.argsort(-texts.lengths, kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    logits = np.concatenate([_run_batch(model, texts, batch, pooling) for batch in batches])
    restored = np.empty_like(logits)
    restored[order] = logits
    return restored


@torch.inference_mode()
def _run_batch(model: PreTrainedModel, texts: TokenizedTexts, rows: np.ndarray, pooling: str) -> np.ndarray:
    padding_id = model.config.get_text_config().pad_token_id
    batch = collate_texts(texts, [texts.windows(int(row)) for row in rows], padding_id or 0)
    inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
    logits = run_model(model, inputs, rows=len(rows), pooling=pooling).logits.float().cpu().numpy()
    if not np.isfinite(logits).all():
        place, rule = str(model.name_or_path), "the model's scores are not finite numbers"
        raise CheckpointError(Problem(place, rule=rule, remedy="its weights are damaged, or its training diverged"))
    return logits
