"""From which probability on a label is given, chosen on validation rows for a stated aim.

One half is the right threshold only where probabilities are true and all mistakes cost the same. `threshold_for`
states what else is sought: the highest F1, the highest precision at a recall or the other way round, the lowest cost.

For two labels the threshold is that of label id 1, the positive one; of several labels a row each has its own. Refused
are more than two labels of which a row has one: there the likeliest is given. Every threshold is tried that gives
another answer for some row, and lies halfway between two probabilities, so that rounding decides nothing; of equally
good ones the nearest to one half is taken. The decision worth knowing: a label without a row in validation keeps one
half under every aim but cost, for nothing is known of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hfpipe.config import RunConfig
from hfpipe.config.sections import SINGLE_LABEL
from hfpipe.config.threshold_aims import Aim, read_aim
from hfpipe.data.parts import LabelledParts
from hfpipe.errors import ConfigError, Problem
from hfpipe.evaluation.resampled_counts import divide

HALF = 0.5


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of `aim` by label, and what they reach on the rows they were chosen on.

    `reached` has precision, recall and F1, under `cost` also the cost a row; of several labels a row as
    `<number>_<label>`.
    """

    aim: str
    values: Mapping[str, float]
    reached: Mapping[str, float]


def choose_thresholds(
    aim: str, probabilities: np.ndarray, targets: np.ndarray, label_names: Sequence[str]
) -> Thresholds:
    """Return the threshold of each label that serves the aim best on these rows.

    Where `recall_at_precision` asks for a precision that no threshold reaches, the highest there is is taken, and
    `reached` tells.

    Args:
        aim: What is sought, as `threshold_for` states it: `f1`, `precision_at_recall=0.9`, `cost=1:5`.
        probabilities: (rows, labels), of two labels a softmax.
        targets: Label ids (rows,) of two labels, or labels (rows, labels) of 0 and 1.
        label_names: In the order of the label ids.

    Raises:
        ConfigError: If there is no such aim, or each row has one of more than two labels.
    """
    sought = read_aim(aim)
    if targets.ndim == 2:
        each = list(zip(label_names, probabilities.T, targets.T == 1, strict=True))
    elif len(label_names) == 2:
        each = [(label_names[1], probabilities[:, 1], targets == 1)]
    else:
        raise ConfigError(_too_many_problem("threshold_for", aim, len(label_names)))
    found = {label: _choose(sought, scores, there) for label, scores, there in each}
    reached = {name: value for label, one in found.items() for name, value in _name(one, label, targets.ndim)}
    return Thresholds(aim, {label: one.value for label, one in found.items()}, reached)


def check_thresholds(config: RunConfig, parts: LabelledParts) -> None:
    """Raise a ConfigError where thresholds are asked for and each row has one of more than two labels.

    How many there are is known when the data are read, which is before anything is launched.
    """
    aim, count = config.evaluation.threshold_for, len(parts.label_names)
    if aim is not None and parts.problem_type == SINGLE_LABEL and count != 2:
        raise ConfigError(_too_many_problem(config.place("threshold_for"), aim, count))


def _too_many_problem(place: str, aim: str, count: int) -> Problem:
    rule = f"thresholds are for 2 labels, or several labels a row, and here a row has one of {count:,}"
    return Problem(place, aim, rule, "remove it, and the likeliest label is given; class_weights can favour a label")


@dataclass(frozen=True)
class _Choice:
    value: float
    reached: Mapping[str, float]


def _name(choice: _Choice, label: str, dimensions: int) -> Iterator[tuple[str, float]]:
    for name, value in choice.reached.items():
        yield (f"{name}_{label}" if dimensions == 2 else name), value


def _choose(aim: Aim, probabilities: np.ndarray, there: np.ndarray) -> _Choice:
    """Return the best threshold of one label."""
    candidates = _find_candidates(probabilities)
    if aim.kind != "cost" and not there.any():
        candidates = np.array([HALF])
    # how many rows, and how many that have the label, are at or above each candidate
    given = len(there) - np.searchsorted(np.sort(probabilities), candidates, side="left")
    right = there.sum() - np.searchsorted(np.sort(probabilities[there]), candidates, side="left")
    numbers = _count(aim, given.astype(np.float64), right.astype(np.float64), there)
    best = _find_best(aim, numbers, candidates)
    return _Choice(float(candidates[best]), {name: float(values[best]) for name, values in numbers.items()})


def _find_candidates(probabilities: np.ndarray) -> np.ndarray:
    """Return a threshold for every set of rows that one can cut off, from all of them to none."""
    values = np.unique(probabilities.astype(np.float64))
    # between two neighbours that differ in the last bit the mean is one of them; the upper one parts them
    middle = np.maximum((values[1:] + values[:-1]) / 2, np.nextafter(values[:-1], np.inf))
    none = max((values[-1] + 1) / 2, np.nextafter(values[-1], np.inf))
    found = np.concatenate(([0.0], middle, [none]))
    found[np.searchsorted(values, HALF, side="left")] = HALF  # what parts the same rows as one half is one half
    return found


def _count(aim: Aim, given: np.ndarray, right: np.ndarray, there: np.ndarray) -> dict[str, np.ndarray]:
    labelled = np.full(len(given), float(there.sum()))
    numbers = {
        "precision": divide(right, given),
        "recall": divide(right, labelled),
        "f1": divide(2 * right, given + labelled),
    }
    if aim.kind == "cost":
        falsely, missed = given - right, labelled - right
        numbers["cost"] = (aim.false_positive_cost * falsely + aim.false_negative_cost * missed) / len(there)
    return numbers


def _find_best(aim: Aim, numbers: Mapping[str, np.ndarray], candidates: np.ndarray) -> int:
    """Return the place of the best candidate; one that misses the share comes after all that reach it."""
    precision, recall = -numbers["precision"], -numbers["recall"]
    if aim.kind == "precision_at_recall":
        keys = [-recall < aim.at_least, precision, recall]
    elif aim.kind == "recall_at_precision":
        missed = -precision < aim.at_least
        keys = [missed, np.where(missed, precision, recall), np.where(missed, recall, precision)]
    else:
        keys = [-numbers["f1"] if aim.kind == "f1" else numbers["cost"]]
    return int(np.lexsort((np.abs(candidates - HALF), *reversed(keys)))[0])
