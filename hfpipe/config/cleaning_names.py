"""The steps that `cleaning_steps` may name.

Steps that change a text come first, each taking what the one before it left; a step that compares rows comes last.
What is stored for prediction are the steps that change a text alone: rows are compared for training only.
"""

from collections.abc import Sequence

TEXT_STEPS = (
    "unescape_html",
    "strip_html",
    "normalize_nfc",
    "normalize_nfkc",
    "remove_invisible",
    "mask_urls",
    "remove_urls",
    "mask_personal",
    "lowercase",
    "remove_stop_words",
    "remove_punctuation",
    "collapse_whitespace",
    "tidy_lines",
)
DEDUPLICATE, DEDUPLICATE_NEAR = "deduplicate", "deduplicate_near"
ROW_STEPS = (DEDUPLICATE, DEDUPLICATE_NEAR)
CLEANING_STEPS = (*TEXT_STEPS, *ROW_STEPS)


def select_text_steps(steps: Sequence[str]) -> tuple[str, ...]:
    """Return those of `steps` that change a text, in their order."""
    return tuple(step for step in steps if step in TEXT_STEPS)


def find_row_step(steps: Sequence[str]) -> str | None:
    """Return the step that compares rows, None where there is none."""
    return next((step for step in steps if step in ROW_STEPS), None)
