"""The shares of a mixture before it runs: counted where all texts were tokenized, else estimated from their bytes."""

from collections.abc import Callable

import numpy as np

from hfpipe.data.mixture import describe_mixture, plan_mixture
from hfpipe.data.parts import DocumentPart, DocumentParts
from hfpipe.training.mixing import divide_by_source


def survey_mixture(
    parts: DocumentParts, count_tokens: Callable[[DocumentPart], int], *, block_size: int, note: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the tokens of training and validation blocks, (blocks,) each, and the table of the mixture.

    Raises:
        DataError: If a source does not fill one block, or its share of an epoch would be none.
    """
    there = [count_tokens(part) // block_size for part in divide_by_source(parts.train, parts.sources).values()]
    counts = plan_mixture(there, parts.sources)
    held_out = divide_by_source(parts.validation, parts.sources).values()
    scored = sum(-(-count_tokens(part) // (block_size - 1)) for part in held_out)
    lines = describe_mixture(parts.sources, there, counts.tolist(), unit="blocks")
    return np.full(int(counts.sum()), block_size), np.full(scored, block_size), [f"{lines[0]}{note}", *lines[1:]]
