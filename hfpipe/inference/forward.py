"""Texts of token ids as batches, and the model run on them: one way for training, evaluation and prediction.

Texts are padded on the right. A text of several windows is several rows of the model's batch, whose logits are pooled
before anything else sees them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers.modeling_outputs import SequenceClassifierOutput

from hfpipe.data.tokens import TOKEN_TYPES, TokenizedTexts
from hfpipe.models.windows import pool_windows

WINDOW_ROWS = "window_rows"
POSITIONS = "position_ids"

Batch = dict[str, torch.Tensor]


def collate_texts(texts: TokenizedTexts, windows: Sequence[range], padding_id: int) -> Batch:
    """Return the `windows` of some rows as one batch, padded to the longest.

    `input_ids` and `attention_mask` are (windows, longest); `token_type_ids` alike where the texts have them, and
    `window_rows` (windows,), the position in `windows` that each belongs to, where texts may have several.
    """
    chosen = [texts.window(window) for each in windows for window in each]
    lengths = np.array([span.stop - span.start for span in chosen])
    attention_mask = np.arange(lengths.max()) < lengths[:, None]
    batch = {
        "input_ids": _pad(texts.ids, chosen, attention_mask, padding_id),
        "attention_mask": torch.from_numpy(attention_mask.astype(np.int64)),
    }
    if texts.type_ids is not None:
        batch[TOKEN_TYPES] = _pad(texts.type_ids, chosen, attention_mask, 0)
    if texts.window_offsets is not None:
        counts = [len(each) for each in windows]
        batch[WINDOW_ROWS] = torch.from_numpy(np.repeat(np.arange(len(windows)), counts))
    return batch


def run_model(model: Callable[..., Any], inputs: Mapping[str, torch.Tensor], *, rows: int, pooling: str) -> Any:
    """Return the outputs of `model` on a micro-batch of so many `rows`, labels taken out of `inputs`.

    Where rows are windows the outputs are the pooled logits alone, (rows, labels) float32; else all the model gives.
    """
    own = {name: tensor for name, tensor in inputs.items() if name != WINDOW_ROWS}
    # with a cache transformers takes restarting positions for one text, and lets its documents see each other
    outputs = model(**own, use_cache=False) if POSITIONS in own else model(**own)
    if WINDOW_ROWS not in inputs:
        return outputs
    return SequenceClassifierOutput(logits=pool_windows(outputs.logits, inputs[WINDOW_ROWS], rows, pooling))


def _pad(values: np.ndarray, chosen: Sequence[slice], mask: np.ndarray, padding: int) -> torch.Tensor:
    padded = np.full(mask.shape, padding, dtype=np.int64)
    padded[mask] = np.concatenate([values[span] for span in chosen])
    return torch.from_numpy(padded)
