"""How long texts are, in tokens where a tokenizer is known, else in words and characters, and what a limit cuts.

Tokens are counted as a run counts them, special tokens included; they are not kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from hfpipe.data.progress import progress_options
from hfpipe.inspection.inspected import Inspected, InspectedPart
from hfpipe.inspection.record import LOOK, NOTE, SERIOUS, Cut, Finding, Lengths
from hfpipe.inspection.reporting import found_rows, part_name, percent

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hfpipe.data.cutting import LengthRule

_TEXTS_PER_CALL = 1_000
_AROUND = (0.5, 1, 2, 4)
_PERCENTILES = (0, 50, 90, 99, 100)


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of each row by part, special tokens included, and the rule that a run cuts by; None cuts nothing."""

    lengths: Mapping[str, np.ndarray]
    rule: "LengthRule | None"
    special_tokens: int

    def kept(self, rule: "LengthRule") -> int:
        """Return the tokens of the longest text that `rule` keeps whole."""
        return rule.kept_length(self.special_tokens)


def count_tokens(inspected: Inspected, tokenizer: "PreTrainedTokenizerBase", rule: "LengthRule | None") -> TokenCounts:
    """Return the tokens of all rows."""
    lengths = {}
    with tqdm(total=inspected.row_count, desc="counting tokens", unit="text", **progress_options()) as bar:
        for part in inspected.parts:
            lengths[part.name] = np.array([*_tokens(part, tokenizer, bar)], dtype=np.int64)
    special = tokenizer.num_special_tokens_to_add(pair=inspected.train.text_pairs is not None)
    return TokenCounts(lengths, rule, special)


def describe_lengths(inspected: Inspected, counts: TokenCounts | None) -> tuple[Lengths, ...]:
    """Return the lengths of each part, in tokens where they were counted, else in words and in characters.

    Texts of a corpus that is not read for that are measured in bytes.
    """
    if counts is not None:
        return tuple(_summary(name, "tokens", found) for name, found in counts.lengths.items() if len(found))
    return tuple(found for part in inspected.parts if len(part) for found in _measure(part))


def _measure(part: InspectedPart) -> Iterator[Lengths]:
    sizes = part.sizes
    if sizes is not None:
        yield _summary(part.name, "bytes", sizes)
        return
    measures: Mapping[str, Callable[[str], int]] = {"words": lambda text: len(text.split()), "characters": len}
    for unit, measure in measures.items():
        yield _summary(part.name, unit, np.fromiter(map(measure, part.whole_texts), np.int64, len(part)))


def describe_cuts(counts: TokenCounts | None) -> tuple[Cut, ...]:
    """Return what goes at the run's limit and at lengths around it, over all parts."""
    if counts is None or counts.rule is None or counts.rule.max_length is None:
        return ()
    lengths, chosen = np.concatenate([*counts.lengths.values()]), counts.rule.max_length
    found = []
    for length in sorted({round(chosen * factor) for factor in _AROUND}):
        rule = replace(counts.rule, max_length=length)
        if rule.step(counts.special_tokens) > 0 and len(lengths):
            lost = np.maximum(lengths - counts.kept(rule), 0)
            found.append(Cut(length, float((lost > 0).mean()), float(lost.sum() / lengths.sum()), length == chosen))
    return tuple(found)


def find_truncated(inspected: Inspected, counts: TokenCounts | None) -> Iterator[Finding]:
    """Yield the rows of each part that lose tokens at the run's limit, longest first."""
    if counts is None or counts.rule is None or counts.rule.max_length is None:
        return
    if counts.rule.step(counts.special_tokens) < 1:
        return
    kept = counts.kept(counts.rule)
    for part in inspected.parts:
        lengths = counts.lengths[part.name]
        cut = np.flatnonzero(lengths > kept)
        if not len(cut):
            continue
        ranked = cut[np.argsort(-lengths[cut], kind="stable")]
        lost = float((lengths[cut] - kept).sum() / lengths.sum())
        share = len(cut) / len(part)
        severity = SERIOUS if lost >= 0.5 else LOOK if share >= 0.1 else NOTE
        detail = (
            f"at max_seq_length {counts.rule.max_length:,} ({counts.rule.long_texts}); {percent(lost)} of all tokens go"
        )
        remedy = "raise max_seq_length, or keep all by long_texts: windows"
        rows = found_rows(part, ((int(row), f"{lengths[row]:,} tokens") for row in ranked))
        title, name = "texts that are cut", part_name(inspected, part)
        yield Finding("truncation", severity, name, title, len(cut), len(part), detail, remedy, rows)


def _tokens(part: InspectedPart, tokenizer: "PreTrainedTokenizerBase", bar: "tqdm[None]") -> Iterator[int]:
    for start in range(0, len(part), _TEXTS_PER_CALL):
        chunk = slice(start, start + _TEXTS_PER_CALL)
        # a tokenizer file may carry truncation and padding of its own
        options: dict[str, Any] = {"truncation": False, "padding": False, "verbose": False}
        texts: Sequence[str] = part.texts[chunk]
        pairs = None if part.text_pairs is None else list(part.text_pairs[chunk])
        encoded = tokenizer(list(texts), pairs, return_attention_mask=False, return_token_type_ids=False, **options)
        yield from map(len, encoded["input_ids"])
        bar.update(len(texts))


def _summary(part: str, unit: str, lengths: np.ndarray) -> Lengths:
    numbers = np.percentile(lengths, _PERCENTILES, method="lower").astype(np.int64).tolist()
    return Lengths(part, unit, *numbers)
