"""Texts of a stream in portions, and those of a portion in batches of equally many tokens.

A portion is what is in memory at once: so many texts, or fewer where they are large. Inside it texts are sorted by
length, so that hardly any padding is computed: 1 % of the tokens for 2,000 reviews, where batches of 16 in the order of
a file have a third.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from hfpipe.data.tokens import TokenizedTexts
from hfpipe.inference.texts import Text

TEXTS_PER_PORTION = 1_024
SIGNS_PER_PORTION = 8_000_000

TOKENS_PER_BATCH = {"cpu": 4_096}
"""More tokens at once make a CPU no faster (16 texts of 256: 28.3 ms a text, 64: 30.8, 4: 31.2; 2026-11-23)."""
TOKENS_PER_BATCH_ELSEWHERE = 65_536


def take_portions(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Yield all texts in order, in lists of `TEXTS_PER_PORTION`, or of as many as have `SIGNS_PER_PORTION` together."""
    portion: list[Text] = []
    signs = 0
    for text in texts:
        portion.append(text)
        signs += len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
        if len(portion) == TEXTS_PER_PORTION or signs >= SIGNS_PER_PORTION:
            yield portion
            portion, signs = [], 0
    if portion:
        yield portion


def plan_batches(texts: TokenizedTexts, batch_size: int | None, *, device: str) -> list[np.ndarray]:
    """Return the rows of each batch, every row once: `batch_size` of them, or as many as make the tokens of a batch.

    Tokens are counted with padding; a text that has more of them by itself is a batch of its own. The longest come
    first: a batch that does not fit the memory fails at once, not after minutes.
    """
    windows, longest = _count_windows(texts), _find_longest(texts)
    order = np.lexsort((np.arange(len(texts)), -windows, -longest))
    if batch_size is not None:
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    budget = TOKENS_PER_BATCH.get(device, TOKENS_PER_BATCH_ELSEWHERE)
    batches, start, wide, rows = [], 0, 0, 0
    for position, row in enumerate(order):
        # no later row of a batch is longer than its first
        wide = int(longest[row]) if position == start else wide
        if position > start and (rows + int(windows[row])) * wide > budget:
            batches.append(order[start:position])
            start, rows, wide = position, 0, int(longest[row])
        rows += int(windows[row])
    return [*batches, order[start:]]


def _count_windows(texts: TokenizedTexts) -> np.ndarray:
    """Return how many rows of the model's batch each text makes."""
    if texts.window_offsets is None:
        return np.ones(len(texts), dtype=np.int64)
    return np.diff(texts.window_offsets)


def _find_longest(texts: TokenizedTexts) -> np.ndarray:
    """Return the tokens of the longest window of each text."""
    lengths = np.diff(texts.offsets)
    return lengths if texts.window_offsets is None else np.maximum.reduceat(lengths, texts.window_offsets[:-1])
