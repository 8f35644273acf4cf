"""The steps that `hfpipe profile` makes of a run, in their order: to warm up, with a clock, under the profiler."""

from dataclasses import dataclass

MOST_TRACED = 3
"""Steps under the profiler: it keeps an event for each operation, and more of them say nothing new."""


@dataclass(frozen=True)
class ProfileWindow:
    """So many steps to `warm_up`, then so many `measured` ones; a few more are traced."""

    warm_up: int = 3
    measured: int = 5

    @property
    def traced(self) -> int:
        """Steps under the profiler, which makes them slower: their shares are told, not their time."""
        return min(self.measured, MOST_TRACED)

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.warm_up + self.measured + self.traced
