"""Texts as token ids in two flat arrays, cut to a length, with what was cut on record.

Truncation and padding are always stated: a tokenizer file may carry its own (that of all-MiniLM-L6-v2
cuts and pads to 128) and would apply it silently.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from hfpipe.data.progress import progress_options

TEXTS_PER_CALL = 1_000


@dataclass(frozen=True)
class TokenizedTexts:
    """Rows of token ids: row i is `ids[offsets[i]:offsets[i + 1]]`.

    `full_lengths` (rows,) counts the tokens of each text before it was cut, special tokens included.
    """

    ids: np.ndarray
    offsets: np.ndarray
    full_lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row as kept, (rows,)."""
        return np.diff(self.offsets)

    def row(self, index: int) -> np.ndarray:
        """Return the token ids of one row, (length,) int32."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    @property
    def cut_rows(self) -> np.ndarray:
        """Ids of the rows that lost tokens."""
        return np.flatnonzero(self.full_lengths > self.lengths)


def tokenize_texts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    max_length: int | None,
    add_special_tokens: bool = True,
    description: str = "tokenizing",
) -> TokenizedTexts:
    """Return `texts` as token ids, each cut at its end to `max_length` tokens where that is given."""
    rows: list[list[int]] = []
    full_lengths: list[int] = []
    with tqdm(total=len(texts), desc=description, unit="text", **progress_options()) as bar:
        for start in range(0, len(texts), TEXTS_PER_CALL):
            chunk = list(texts[start : start + TEXTS_PER_CALL])
            whole = _encode(tokenizer, chunk, None, add_special_tokens)
            full_lengths += map(len, whole)
            rows += whole if max_length is None else _cut(tokenizer, chunk, whole, max_length, add_special_tokens)
            bar.update(len(chunk))
    return _flatten(rows, full_lengths)


def _encode(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int | None, add_special_tokens: bool
) -> list[list[int]]:
    encoded = tokenizer(
        texts,
        add_special_tokens=add_special_tokens,
        truncation=max_length is not None,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return encoded["input_ids"]


def _cut(
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    whole: list[list[int]],
    max_length: int,
    add_special_tokens: bool,
) -> list[list[int]]:
    """Encode anew what is too long: only the tokenizer knows which special tokens end a cut text."""
    too_long = [index for index, ids in enumerate(whole) if len(ids) > max_length]
    if not too_long:
        return whole
    shortened = _encode(tokenizer, [texts[index] for index in too_long], max_length, add_special_tokens)
    rows = list(whole)
    for index, ids in zip(too_long, shortened, strict=True):
        rows[index] = ids
    return rows


def _flatten(rows: list[list[int]], full_lengths: list[int]) -> TokenizedTexts:
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    ids = np.empty(int(offsets[-1]), dtype=np.int32)
    for index, row in enumerate(rows):
        ids[offsets[index] : offsets[index + 1]] = row
    return TokenizedTexts(ids, offsets, np.asarray(full_lengths, dtype=np.int64))
