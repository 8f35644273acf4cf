"""How long the texts are in tokens, and what a limit would cut off."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from hfpipe.data.cutting import HEAD, HEAD_TAIL, TAIL
from hfpipe.data.tokens import LengthRule, TokenizedTexts

PERCENTILES = (50, 90, 99)
FACTORS = (0.25, 0.5, 1, 2, 4)
_KEPT: Mapping[str, str] = {HEAD: "", TAIL: " to their tail", HEAD_TAIL: " to head and tail"}


def describe_lengths(lengths: np.ndarray, *, unit: str) -> str:
    """Return smallest, median, 90th and 99th percentile and largest of `lengths` (texts,), in a line."""
    # lengths that occur, as `hfpipe inspect` tells them
    median, p90, p99 = np.percentile(lengths, PERCENTILES, method="lower").tolist()
    middle = f"median {median:,}, p90 {p90:,}, p99 {p99:,}"
    return f"tokens of a {unit}: min {lengths.min():,}, {middle}, max {lengths.max():,}"


def describe_kept(texts: TokenizedTexts, rule: LengthRule) -> str:
    """Return how many texts are over the limit of `rule`, what became of them and what share of all tokens is lost."""
    over = int((texts.full_lengths > (rule.max_length or np.inf)).sum())
    share = 100 * texts.lost_tokens.sum() / texts.full_lengths.sum()
    told = f"{over:,} of {len(texts):,} texts are over {rule.max_length or 0:,} tokens"
    if texts.window_offsets is None:
        return f"{told} and were cut{_KEPT[rule.long_texts]} ({share:.1f} % of all tokens)"
    windows, cut = texts.window_offsets[-1], len(texts.cut_rows)
    return (
        f"{told}: {windows:,} windows in all; {cut:,} were cut after {rule.max_windows:,} ({share:.1f} % of all tokens)"
    )


def describe_cuts(lengths: np.ndarray, rule: LengthRule, *, limit: int, special_tokens: int) -> Iterator[str]:
    """Yield a table of the shares of texts and tokens that are lost, at the rule's `max_length` and lengths around it.

    `lengths` (texts,) are whole texts; no length above `limit`, what the model takes, is shown but the rule's own.
    """
    assert rule.max_length is not None, "a run of fine-tuning has a limit"
    yield f"  max_seq_length (train)  texts cut  tokens cut{_title(rule)}"
    around = {round(rule.max_length * factor) for factor in FACTORS}
    for length in sorted(each for each in around if each <= limit or each == rule.max_length):
        other = replace(rule, max_length=length)
        if other.step(special_tokens) > 0:
            texts, tokens = cut_shares(lengths, other.kept_length(special_tokens))
            chosen = "  <- this run" if length == rule.max_length else ""
            yield f"  {length:>22,}  {100 * texts:>7.1f} %  {100 * tokens:>8.1f} %{chosen}"


def cut_shares(lengths: np.ndarray, kept: int) -> tuple[float, float]:
    """Return the shares of texts and of tokens that go where texts of `lengths` (texts,) keep `kept` at most."""
    lost = np.maximum(lengths - kept, 0)
    return float((lost > 0).mean()), float(lost.sum() / lengths.sum())


def find_largest_batch(lengths: np.ndarray, rows: int, *, window_length: int | None) -> tuple[int, int]:
    """Return windows and tokens a window of the largest batch of so many `rows` that can come up.

    `lengths` (rows,) are the tokens of all windows of a text, every window but its last being `window_length` long;
    None where a text is one window.
    """
    longest = int(lengths.max(initial=1))
    if window_length is None:
        return min(rows, max(len(lengths), 1)), longest
    windows = np.sort(count_windows(lengths, window_length))[::-1]
    return max(int(windows[:rows].sum()), 1), min(longest, window_length)


def find_largest_by_tokens(lengths: np.ndarray, budget: int, *, window_length: int | None) -> tuple[int, int]:
    """Return windows and tokens a window of the batch that takes the most memory under a budget of token positions.

    That is the one of the longest texts: attention grows with the square of a length. `lengths` are as above.
    """
    longest = min(int(lengths.max(initial=1)), window_length or budget)
    windows = len(lengths) if window_length is None else int(count_windows(lengths, window_length).sum())
    return max(min(budget // longest, windows), 1), longest


def count_windows(lengths: np.ndarray, window_length: int) -> np.ndarray:
    """Return the windows of each text, (rows,): all but its last are `window_length` long."""
    return np.maximum(-(-lengths // window_length), 1)


def count_positions(lengths: np.ndarray, window_length: int | None) -> np.ndarray:
    """Return the token positions each text takes by itself, (rows,): its windows times the longest of them."""
    if window_length is None:
        return lengths
    return count_windows(lengths, window_length) * np.minimum(lengths, window_length)


def _title(rule: LengthRule) -> str:
    if not rule.is_windowed:
        return ""
    return f"  (at most {rule.max_windows:,} windows sharing {rule.doc_stride:,} tokens)"
