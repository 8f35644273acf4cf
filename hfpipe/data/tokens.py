"""Texts and pairs of texts as token ids in flat arrays, cut by a rule, with what was cut on record.

Truncation and padding are always stated: a tokenizer file may carry its own (that of all-MiniLM-L6-v2
cuts and pads to 128) and would apply it silently. Of a pair that is too long the longer text gives way, token by
token, as transformers does it ('longest_first'); other ways to cut are for single texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from hfpipe.data.cutting import (
    HEAD,
    LengthRule,
    SpecialTokens,
    count_lost,
    cut_text,
    find_length_rule,
    find_special_tokens,
)
from hfpipe.data.progress import progress_options

__all__ = ["LengthRule", "TokenizedTexts", "find_length_rule", "reads_token_types", "tokenize_texts"]

TEXTS_PER_CALL = 1_000
TOKEN_TYPES = "token_type_ids"


@dataclass(frozen=True)
class TokenizedTexts:
    """Rows of token ids, a text a row, each one window or several.

    Window w is `ids[offsets[w]:offsets[w + 1]]`, and row i is the windows `window_offsets[i]` up to
    `window_offsets[i + 1]`; None where every text is one window. `type_ids`, of the length of `ids`, tell the first
    text of a pair (0) from the second (1). `full_lengths` (rows,) counts the tokens of each text before it was cut,
    special tokens included, and `lost_tokens` (rows,) those that no window holds.
    """

    ids: np.ndarray
    offsets: np.ndarray
    full_lengths: np.ndarray
    lost_tokens: np.ndarray
    window_offsets: np.ndarray | None = None
    type_ids: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.full_lengths)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row as kept, (rows,): those of all its windows together."""
        return np.diff(self.offsets if self.window_offsets is None else self.offsets[self.window_offsets])

    @property
    def cut_rows(self) -> np.ndarray:
        """Ids of the rows that lost tokens."""
        return np.flatnonzero(self.lost_tokens)

    def windows(self, row: int) -> range:
        """Return the ids of the windows of one row."""
        if self.window_offsets is None:
            return range(row, row + 1)
        return range(self.window_offsets[row], self.window_offsets[row + 1])

    def window(self, index: int) -> slice:
        """Return where one window stands in `ids`."""
        return slice(self.offsets[index], self.offsets[index + 1])

    def row(self, index: int) -> np.ndarray:
        """Return the token ids of one row, (length,) int32, its windows one after another."""
        windows = self.windows(index)
        return self.ids[self.offsets[windows.start] : self.offsets[windows.stop]]


class _Encoded(NamedTuple):
    ids: list[int]
    type_ids: list[int]


class _Text(NamedTuple):
    windows: list[_Encoded]
    full_length: int
    lost: int


def reads_token_types(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether the tokenizer tells the texts of a pair apart for its model."""
    return TOKEN_TYPES in tokenizer.model_input_names


def tokenize_texts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    text_pairs: Sequence[str] | None = None,
    rule: LengthRule,
    add_special_tokens: bool = True,
    description: str = "tokenizing",
) -> TokenizedTexts:
    """Return `texts`, or pairs of them with `text_pairs`, as token ids cut by `rule`.

    Raises:
        ConfigError: If the tokenizer's special tokens cannot be told from a text.
    """
    assert text_pairs is None or rule.long_texts == HEAD, "the configuration refuses other cuts of pairs"
    assert add_special_tokens or (rule.max_length is None and text_pairs is None), "only whole texts go without"
    special = find_special_tokens(tokenizer) if rule.max_length and text_pairs is None else SpecialTokens()
    found: list[_Text] = []
    with tqdm(total=len(texts), desc=description, unit="text", **progress_options()) as bar:
        for start in range(0, len(texts), TEXTS_PER_CALL):
            part = slice(start, start + TEXTS_PER_CALL)
            chunk = list(texts[part])
            if text_pairs is None:
                whole = _encode(tokenizer, chunk, add_special_tokens=add_special_tokens)
                found += [_cut_single(text, special, rule) for text in whole]
            else:
                found += _encode_pairs(tokenizer, list(zip(chunk, text_pairs[part], strict=True)), rule)
            bar.update(len(chunk))
    return _flatten(found, rule, typed=text_pairs is not None and reads_token_types(tokenizer))


def _encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str] | Sequence[tuple[str, str]],
    *,
    max_length: int | None = None,
    add_special_tokens: bool = True,
) -> list[_Encoded]:
    if not texts:
        return []
    typed = isinstance(texts[0], tuple) and reads_token_types(tokenizer)
    encoded = tokenizer(
        list(texts),
        add_special_tokens=add_special_tokens,
        truncation="longest_first" if max_length is not None else False,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=typed,
        verbose=False,
    )
    ids: list[list[int]] = encoded["input_ids"]
    types: list[list[int]] = encoded[TOKEN_TYPES] if typed else [[]] * len(ids)
    return [_Encoded(*row) for row in zip(ids, types, strict=True)]


def _cut_single(text: _Encoded, special: SpecialTokens, rule: LengthRule) -> _Text:
    windows = [_Encoded(window, []) for window in cut_text(text.ids, special, rule)]
    return _Text(windows, len(text.ids), count_lost(len(text.ids), special, rule))


def _encode_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]], rule: LengthRule
) -> Iterator[_Text]:
    """Yield each pair, encoded anew where it is too long: only the tokenizer knows its special tokens."""
    whole = _encode(tokenizer, pairs)
    limit = rule.max_length
    too_long = [index for index, pair in enumerate(whole) if limit is not None and len(pair.ids) > limit]
    shortened = _encode(tokenizer, [pairs[index] for index in too_long], max_length=limit)
    kept = dict(zip(too_long, shortened, strict=True))
    for index, pair in enumerate(whole):
        window = kept.get(index, pair)
        yield _Text([window], len(pair.ids), len(pair.ids) - len(window.ids))


def _flatten(texts: Sequence[_Text], rule: LengthRule, *, typed: bool) -> TokenizedTexts:
    windows = [window for text in texts for window in text.windows]
    offsets = _offsets([len(window.ids) for window in windows])
    ids = np.empty(int(offsets[-1]), dtype=np.int32)
    type_ids = np.empty(len(ids), dtype=np.int8) if typed else None
    for index, window in enumerate(windows):
        ids[offsets[index] : offsets[index + 1]] = window.ids
        if type_ids is not None:
            type_ids[offsets[index] : offsets[index + 1]] = window.type_ids
    return TokenizedTexts(
        ids,
        offsets,
        np.asarray([text.full_length for text in texts], dtype=np.int64),
        np.asarray([text.lost for text in texts], dtype=np.int64),
        _offsets([len(text.windows) for text in texts]) if rule.is_windowed else None,
        type_ids,
    )


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
