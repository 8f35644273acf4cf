"""How large a batch is: so many rows, or as many as a budget of token positions holds; one of the two.

A budget must hold any text by itself: what would not fit is known before a text is read.
"""

from collections.abc import Iterator

from hfpipe.config.sections import FINETUNE
from hfpipe.config.settled import Settled
from hfpipe.errors import Problem

BUDGET = "max_tokens_per_batch"
ROWS_OF_A_BATCH = ("per_device_train_batch_size", "per_device_eval_batch_size")


def plan_batch_size(settled: Settled) -> Settled:
    """Return the values without the rows of a batch that the recipe says, where a budget is given."""
    idle = [key for key in ROWS_OF_A_BATCH if settled.has(BUDGET) and not settled.is_given(key)]
    values = {key: value for key, value in settled.values.items() if key not in idle}
    return Settled(settled.recipe, values, {key: settled.origins[key] for key in values})


def check_batch_size(settled: Settled) -> Iterator[Problem]:
    """Yield what is wrong with a budget: rows given beside it, or no room for a text."""
    budget = settled.get(BUDGET)
    if settled.recipe != FINETUNE or not isinstance(budget, int):
        return
    for key in ROWS_OF_A_BATCH:
        if settled.is_given(key):
            rule = f"given beside {key} ({settled.origin(key)}), and the one or the other says how large a batch is"
            yield settled.problem(BUDGET, rule, f"set {key} to null, or remove {BUDGET}")
    least, factors = _find_least(settled)
    if budget < least:
        yield settled.problem(
            BUDGET, f"does not hold the longest text there may be, {factors}", f"write at least {least:,}"
        )


def _find_least(settled: Settled) -> tuple[int, str]:
    """Return the positions of the longest text, and what they are."""
    length, windows = settled.get("max_seq_length"), settled.get("max_windows")
    assert isinstance(length, int) and isinstance(windows, int), "both have a default"
    if settled.get("long_texts") != "windows":
        return length, f"max_seq_length {length:,}"
    return length * windows, f"max_windows {windows:,} x max_seq_length {length:,} = {length * windows:,}"
