"""How long the texts are in tokens, and what a limit would cut off."""

from collections.abc import Iterator

import numpy as np

PERCENTILES = (50, 90, 99)
FACTORS = (0.25, 0.5, 1, 2, 4)


def describe_lengths(lengths: np.ndarray, *, unit: str) -> str:
    """Return smallest, median, 90th and 99th percentile and largest of `lengths` (texts,), in a line."""
    median, p90, p99 = np.percentile(lengths, PERCENTILES)
    middle = f"median {median:,.0f}, p90 {p90:,.0f}, p99 {p99:,.0f}"
    return f"tokens of a {unit}: min {lengths.min():,}, {middle}, max {lengths.max():,}"


def describe_cuts(lengths: np.ndarray, max_seq_length: int, *, limit: int) -> Iterator[str]:
    """Yield a table of the shares of texts and tokens that are cut, at `max_seq_length` and lengths around it.

    `lengths` (texts,) are whole texts; none above `limit`, what the model takes, is shown but `max_seq_length`.
    """
    yield "  max_seq_length  texts cut  tokens cut"
    around = {round(max_seq_length * factor) for factor in FACTORS}
    for length in sorted(each for each in around if each <= limit or each == max_seq_length):
        texts, tokens = cut_shares(lengths, length)
        chosen = "  <- this run" if length == max_seq_length else ""
        yield f"  {length:>14,}  {100 * texts:>7.1f} %  {100 * tokens:>8.1f} %{chosen}"


def cut_shares(lengths: np.ndarray, max_length: int) -> tuple[float, float]:
    """Return the shares of texts and of tokens that a cut at `max_length` takes from texts of `lengths` (texts,)."""
    lost = np.maximum(lengths - max_length, 0)
    return float((lost > 0).mean()), float(lost.sum() / lengths.sum())
