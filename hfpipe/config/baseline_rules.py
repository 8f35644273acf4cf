"""What `baselines` may name in a kind of run: each once, and of language models those that are one."""

from collections.abc import Iterator

from hfpipe.config.baseline_models import LANGUAGE_BASELINES
from hfpipe.config.sections import PRETRAIN
from hfpipe.config.settled import Settled
from hfpipe.errors import Problem


def check_baselines(settled: Settled) -> Iterator[Problem]:
    """Yield a problem for a baseline that is named twice, or that cannot do what the model is trained for."""
    names = settled.get("baselines")
    if not isinstance(names, tuple):
        return
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield settled.problem("baselines", f"names {name} twice", "write it once")
    unfit = [name for name in dict.fromkeys(names) if name not in LANGUAGE_BASELINES]
    if settled.recipe == PRETRAIN and unfit:
        rule = (
            f"{' and '.join(unfit)} cannot predict a next token"
            if len(unfit) < 3
            else "they cannot predict a next token"
        )
        yield settled.problem("baselines", rule, f"use {' or '.join(LANGUAGE_BASELINES)}")
