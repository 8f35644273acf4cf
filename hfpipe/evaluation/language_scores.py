"""What a language model is worth on blocks whose losses are known: loss, perplexity and bits per byte with intervals.

A block is what is resampled: tokens of one text are too much alike to be told apart by chance. Loss and bits per byte
are ratios of sums, of the tokens and of the bytes that the tokens of a block stand for; the perplexity's interval is
that of the loss, raised.
"""

import math
from collections.abc import Mapping

import numpy as np

from hfpipe.evaluation.intervals import mean_interval
from hfpipe.evaluation.language_metrics import exponential
from hfpipe.evaluation.record import MetricRecord, PartRecord


def describe_blocks(
    losses: np.ndarray, tokens: np.ndarray, byte_counts: np.ndarray, *, scores: Mapping[str, float], seed: int
) -> PartRecord:
    """Return the record of a part of blocks.

    Args:
        losses: The summed loss of each block in nats, (blocks,).
        tokens: The tokens that are predicted in each block, (blocks,).
        byte_counts: The bytes these stand for, (blocks,); one that has none ends in a document's separator alone.
        scores: All scores of the part; those of a mixture's sources are among them.
        seed: What blocks are drawn by.
    """
    loss = mean_interval(losses, tokens, seed=seed)
    bits = mean_interval(losses / math.log(2), byte_counts, seed=seed)
    ends = {
        "loss": (loss.low, loss.high),
        "perplexity": (_raise(loss.low), _raise(loss.high)),
        "bits_per_byte": (bits.low, bits.high),
    }
    metrics = {name: MetricRecord(value, *ends.get(name, (None, None))) for name, value in scores.items()}
    return PartRecord(len(losses), metrics)


def _raise(loss: float | None) -> float | None:
    return None if loss is None else exponential(loss)
