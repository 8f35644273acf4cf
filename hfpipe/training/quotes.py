"""A text of the validation data for each label, quoted in the model card: what a label means is best seen by one."""

import numpy as np

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.data.parts import LabelledParts

LONGEST = 300
SHORTEST = 20  # 'ok' shows nothing
LOOKED_AT = 50


def quote_labels(parts: LabelledParts) -> list[tuple[str, str]]:
    """Return (label, text) for each label that the validation part has: its first text of more than a few words.

    Numbers to predict have no labels to show. Texts of a pair are joined by a slash.
    """
    if parts.problem_type == REGRESSION:
        return []
    targets = parts.validation.targets
    quoted = []
    for label_id, label in enumerate(parts.label_names):
        has_label = targets[:, label_id] > 0 if parts.problem_type == MULTI_LABEL else targets == label_id
        rows = np.flatnonzero(has_label)[:LOOKED_AT].tolist()
        texts = [_text(parts, row) for row in rows]
        if texts:
            quoted.append((label, next((text for text in texts if len(text) >= SHORTEST), texts[0])[:LONGEST]))
    return quoted


def _text(parts: LabelledParts, row: int) -> str:
    part = parts.validation
    return part.texts[row] if part.text_pairs is None else f"{part.texts[row]} / {part.text_pairs[row]}"
