"""Made-up predictions of every problem, from a seed, with as many labels as asked for."""

import numpy as np

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL


def make_predictions(problem_type: str, rows: int, *, seed: int, labels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (rows, labels) and targets; logits are rounded, so that some tie."""
    rng = np.random.default_rng(seed)
    if problem_type == REGRESSION:
        targets = np.round(rng.normal(size=rows), 1)
        return (0.8 * targets + rng.normal(size=rows) / 2)[:, None], targets
    logits = np.round(rng.normal(size=(rows, labels)), 1)
    if problem_type == SINGLE_LABEL:
        ids = rng.integers(0, labels, rows)
        ids[:labels] = np.arange(labels)
        logits[np.arange(rows), ids] += 1.5
        return logits, ids
    assert problem_type == MULTI_LABEL
    there = (rng.random((rows, labels)) < 0.4).astype(np.float32)
    there[0], there[1] = 1, 0
    return logits + 1.5 * there - 0.7, there
