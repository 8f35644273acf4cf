"""What a classifier says of texts: any number of them, in order, the same at any batch size.

Refuses a text without a single token and scores that are not finite. Texts are taken in portions, bounded by number and
size, and sorted by length inside one into batches of equally many tokens, so that a stream of any length needs the
memory of one portion and little padding. Texts are cut, or become windows, as in training, by the same code.
The decision worth knowing: without a padding id of its own a causal model's head cannot tell text from padding, so
its texts are scored one by one; truncation and padding of the tokenizer's file never apply.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.data.tokens import LengthRule, TokenizedTexts, tokenize_texts
from hfpipe.errors import CheckpointError, DataError, Problem
from hfpipe.inference.batching import plan_batches, take_portions
from hfpipe.inference.forward import collate_texts, run_model
from hfpipe.inference.precision import FLOAT32, ScoringPrecision, check_precision, computing_in
from hfpipe.inference.texts import Text
from hfpipe.models.prepacked import prepacked

TOKENS_FOR_PACKING = 4_096
"""From so many on it pays to lay weights out for a portion: it costs what some hundred tokens gain."""


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
    batch_size: int | None = None,
    precision: ScoringPrecision = FLOAT32,
) -> Iterator[np.ndarray]:
    """Yield the scores of each text, (labels,) float32, in the order of `texts`.

    They are probabilities: of one label each time, summing to 1, or of each label by itself under multi-label
    problems; under regression the number itself.

    Raises:
        ConfigError, DataError, CheckpointError: As `compute_logits`.
    """
    problem_type = find_problem_type(model.config)
    found = compute_logits(model, tokenizer, texts, treatment=treatment, batch_size=batch_size, precision=precision)
    for logits in found:
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
    batch_size: int | None = None,
    precision: ScoringPrecision = FLOAT32,
) -> Iterator[np.ndarray]:
    """Yield the logits of each text, (labels,) float32, in the order of `texts`, those of its windows pooled.

    `texts` is read one portion ahead of what is yielded, and are all single or all pairs. The model must be in
    evaluation mode, its weights in float32. `batch_size` texts are scored at once, by default as many as make the
    tokens the device likes; it says nothing about the scores. Under bf16 they depend on the texts beside, in the third
    decimal; docs/performance.md has how much.

    Raises:
        ConfigError: If the hardware does not compute in that precision.
        DataError: If a text has no tokens.
        CheckpointError: If a logit is not a finite number.
    """
    assert not model.training, "dropout would make the scores random: call model.eval()"
    check_precision(precision, model.device)
    has_padding = model.config.get_text_config().pad_token_id is not None
    seen = 0
    for portion in take_portions(texts):
        tokenized = _tokenize(tokenizer, portion, treatment.rule, seen)
        batches = plan_batches(tokenized, batch_size if has_padding else 1, device=model.device.type)
        yield from _run_batches(model, tokenized, batches, treatment.pooling, precision)
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


def _run_batches(
    model: PreTrainedModel,
    texts: TokenizedTexts,
    batches: Sequence[np.ndarray],
    pooling: str,
    precision: ScoringPrecision,
) -> np.ndarray:
    """Return the logits of all texts of a portion, (texts, labels), in their order."""
    with ExitStack() as computing:
        computing.enter_context(torch.inference_mode())
        computing.enter_context(computing_in(precision, model.device))
        if texts.lengths.sum() >= TOKENS_FOR_PACKING:
            computing.enter_context(prepacked(model, model.device))
        # fetched at the end: a GPU computes one batch while the next is collated
        found = [_run_batch(model, texts, batch, pooling) for batch in batches]
        logits = torch.cat(found).cpu().numpy()
    if not np.isfinite(logits).all():
        place, rule = str(model.name_or_path), "the model's scores are not finite numbers"
        raise CheckpointError(Problem(place, rule=rule, remedy="its weights are damaged, or its training diverged"))
    restored = np.empty_like(logits)
    restored[np.concatenate(batches)] = logits
    return restored


def _run_batch(model: PreTrainedModel, texts: TokenizedTexts, rows: np.ndarray, pooling: str) -> torch.Tensor:
    padding_id = model.config.get_text_config().pad_token_id
    batch = collate_texts(texts, [texts.windows(int(row)) for row in rows], padding_id or 0)
    inputs = {name: tensor.to(model.device, non_blocking=True) for name, tensor in batch.items()}
    logits: torch.Tensor = run_model(model, inputs, rows=len(rows), pooling=pooling).logits
    return logits.float()
