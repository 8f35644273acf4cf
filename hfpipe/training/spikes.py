"""Losses far above what the steps before them let expect.

Each training loss is compared with the median of those before it, on the log scale: noise of a loss is in proportion to
it, and a rise from 0.01 to 0.02 is no news. How far losses stand off such medians is known from the last few hundred
steps, by the median absolute deviation (Hampel 1974: a few outliers do not move it) and by the largest rise among them.
A spike is over both: the first knows quiet curves, the second those with heavy tails. The bars are those that found
every spike and no other in the curves of the tests.

The decision worth knowing: what was found to be a spike is not learnt from, until the loss has stayed there for so long
that it is the new level. A fall is never a spike, and nothing is said before there is enough to compare with.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

LOSSES_OF_CENTRE = 16
RISES_KEPT = 256
RISES_NEEDED = 32
"""With the losses of the centre before them, the first 48 steps of a run are not judged."""

DEVIATIONS = 7.0
TIMES_LARGEST_RISE = 1.5
SMALLEST_RISE = math.log(1.4)
SMALLEST_LOSS = 1e-6
_DEVIATION_OF_NORMAL = 1.4826  # median absolute deviation to standard deviation
_NEW_LEVEL_AFTER = LOSSES_OF_CENTRE // 2 + 1  # the median is theirs then


@dataclass(frozen=True)
class Spike:
    """A loss that is too high, and the range it was expected in."""

    loss: float
    lowest: float
    highest: float


class SpikeFinder:
    """The losses of the last steps and what they let expect of the next one; its state travels in checkpoints."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rises: list[float] = []
        self.high: list[float] = []

    def observe(self, loss: float, *, share: float = 1.0) -> Spike | None:
        """Take the finite mean loss of a step; return a spike where one begins with it, None within one.

        `share` is that of the rows of a full window: the last one of an epoch is shorter, so its mean is noisier.
        """
        logarithm = math.log(max(loss, SMALLEST_LOSS))
        if len(self.losses) < LOSSES_OF_CENTRE:
            self.losses.append(logarithm)
            return None
        centre = median(self.losses)
        rise = _damp(logarithm - centre, share)
        limit = self._limit()
        if limit is None or rise <= limit:
            self._learn([logarithm], [rise])
            return None
        self.high.append(logarithm)
        found = Spike(loss, math.exp(centre - limit), math.exp(centre + _undamp(limit, share)))
        is_first = len(self.high) == 1
        if len(self.high) == _NEW_LEVEL_AFTER:
            self._learn(self.high, [])
        return found if is_first else None

    def state(self) -> dict[str, list[float]]:
        """Return what a checkpoint has to hold."""
        return {"losses": list(self.losses), "rises": list(self.rises), "high": list(self.high)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.losses, self.rises, self.high = (list(state[name]) for name in ("losses", "rises", "high"))

    def _limit(self) -> float | None:
        if len(self.rises) < RISES_NEEDED:
            return None
        sizes = [abs(rise) for rise in self.rises]
        # noise grows when a classifier begins to learn: the last rises tell before the median of all does
        deviation = _DEVIATION_OF_NORMAL * max(median(sizes), median(sizes[-RISES_NEEDED:]))
        return max(DEVIATIONS * deviation, TIMES_LARGEST_RISE * max(self.rises), SMALLEST_RISE)

    def _learn(self, logarithms: list[float], rises: list[float]) -> None:
        self.losses = [*self.losses, *logarithms][-LOSSES_OF_CENTRE:]
        self.rises = [*self.rises, *rises][-RISES_KEPT:]
        self.high = []


def _damp(rise: float, share: float) -> float:
    """Return the rise of a loss that a full window would have had, were its other rows as expected."""
    # of a fall from a huge loss nothing is left but -1, which has no logarithm
    return rise if share == 1 else math.log1p(math.expm1(rise) * share)


def _undamp(rise: float, share: float) -> float:
    return math.log1p(math.expm1(rise) / share)
