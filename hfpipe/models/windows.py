"""The windows of a long text become one row again: their logits are pooled before anything looks at them.

A text counts once, however many windows it has. Pooling comes before the loss and before probabilities, so training,
evaluation and prediction see the same number for a text. One window gives its own logits back, bit for bit.
"""

import torch

MEAN = "mean"
MAX = "max"


def pool_windows(logits: torch.Tensor, window_rows: torch.Tensor, row_count: int, pooling: str = MEAN) -> torch.Tensor:
    """Return the logits of each row, (rows, labels) float32.

    Args:
        logits: Shape (windows, labels).
        window_rows: Shape (windows,), int64: the row of each window, in any order; every row has one at least.
        row_count: How many rows there are.
        pooling: The mean over windows, or the maximum label by label.
    """
    windows = logits.float()
    pooled = windows.new_zeros(row_count, windows.shape[1])
    if pooling == MAX:
        index = window_rows[:, None].expand_as(windows)
        return pooled.scatter_reduce(0, index, windows, reduce="amax", include_self=False)
    assert pooling == MEAN, "the configuration knows the two"
    counts = windows.new_zeros(row_count).index_add(0, window_rows, windows.new_ones(len(windows)))
    return pooled.index_add(0, window_rows, windows) / counts[:, None]
