"""Progress bars of transformers: those of weights that load in a moment are hidden, those of downloads stay.

transformers switches huggingface_hub's bars off together with its own, and a download of minutes would look dead.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging


def hide_weight_bars() -> None:
    """Switch the bars of transformers off and leave those of downloads and uploads as they are."""
    were_hidden = are_progress_bars_disabled()
    logging.disable_progress_bar()
    if not were_hidden:
        enable_progress_bars()


@contextmanager
def without_weight_bars() -> Iterator[None]:
    """Do as `hide_weight_bars` for the block alone."""
    were_drawn, were_hidden = logging.is_progress_bar_enabled(), are_progress_bars_disabled()
    hide_weight_bars()
    try:
        yield
    finally:
        if were_drawn:
            logging.enable_progress_bar()
        if were_hidden:
            disable_progress_bars()
