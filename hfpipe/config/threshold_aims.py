"""What thresholds may be chosen for, as `threshold_for` states it.

A threshold is the probability from which on a label is given. Without an aim it is a half, and of two labels the
likelier one is given.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hfpipe.config.sections import FINETUNE, REGRESSION
from hfpipe.config.settled import Settled
from hfpipe.errors import ConfigError, Problem

AIMS = "f1, precision_at_recall=0.9, recall_at_precision=0.9, cost=1:5 (of a false alarm and of a miss)"
_NUMBER = r"(\d+(?:\.\d+)?)"
_SHARE_AIMS = ("precision_at_recall", "recall_at_precision")


@dataclass(frozen=True)
class Aim:
    """What thresholds are chosen for: `kind`, the share that must be reached, or the costs of the two mistakes."""

    kind: str
    at_least: float = 0.0
    false_positive_cost: float = 1.0
    false_negative_cost: float = 1.0


def read_aim(text: str, *, place: str = "threshold_for") -> Aim:
    """Return the aim that `text` states; `place` is where the user stated it.

    Raises:
        ConfigError: If it is none of the aims, or its numbers are out of range.
    """
    if text == "f1":
        return Aim("f1")
    share = re.fullmatch(f"({'|'.join(_SHARE_AIMS)})={_NUMBER}", text, re.ASCII)
    if share and 0 < float(share[2]) <= 1:
        return Aim(share[1], at_least=float(share[2]))
    costs = re.fullmatch(f"cost={_NUMBER}:{_NUMBER}", text, re.ASCII)
    if costs and float(costs[1]) > 0 and float(costs[2]) > 0:
        return Aim("cost", false_positive_cost=float(costs[1]), false_negative_cost=float(costs[2]))
    rule = "no such aim" if not (share or costs) else "a share is over 0 and at most 1" if share else "costs are over 0"
    raise ConfigError(Problem(place, repr(text), rule, f"use one of {AIMS}"))


def check_thresholds(settled: Settled) -> Iterator[Problem]:
    """Yield the problems of `threshold_for`; how many labels there are is known when the data are."""
    aim = settled.get("threshold_for")
    if settled.recipe != FINETUNE or aim is None:
        return
    if settled.get("problem_type") == REGRESSION:
        rule = "has no effect on a number to predict (problem_type: regression)"
        yield settled.problem("threshold_for", rule, "remove it")
        return
    try:
        read_aim(str(aim))
    except ConfigError as error:
        problem = error.problems[0]
        yield settled.problem("threshold_for", problem.rule, problem.remedy)
