"""What the loss of a window is divided by where windows differ in rows, and what is logged of it then.

Under a budget of tokens a window of short texts has several times the rows of one of long texts. Divided by its own
rows, each would count as much, so a row of a long text would weigh several times one of a short text. So every window
is divided by the same number, the items (rows, or their weights) that a full one has on average: every row weighs the
same over an epoch, and the gradient of a step drawn at random is on average that of all rows.

The decision worth knowing: what Trainer adds up is in that unit, and is put right where it is logged. So a log event
tells the mean over the items since the one before, and `train_loss` that over all.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hfpipe.data.batches import Plan
from hfpipe.data.token_batches import TokenBatchPlan
from hfpipe.training.datasets import LabelledRows, Rows
from hfpipe.training.objectives import Objective


def find_step_items(rows: Rows, plan: Plan, objective: Objective) -> float | None:
    """Return what every window's loss is divided by; None where that is the window's own count."""
    if not isinstance(plan, TokenBatchPlan):
        return None
    assert isinstance(rows, LabelledRows), "the setting is one of fine-tuning"
    items = float(objective.count(rows.labels(np.arange(len(rows)))))
    return items * plan.mean_rows_per_step / plan.num_rows


@dataclass
class Shares:
    """Windows trained on, and the sum of their shares: items of a window over what its loss was divided by."""

    windows: int = 0
    shares: float = 0.0
    logged_windows: int = 0
    logged_shares: float = 0.0

    @property
    def mean(self) -> float:
        """Mean share of all windows; 1 where each is divided by its own items."""
        return self.shares / self.windows if self.windows else 1.0

    def add(self, share: float) -> None:
        """Take a window that was trained on."""
        self.windows += 1
        self.shares += share

    def correct(self, logs: dict[str, float]) -> dict[str, float]:
        """Return `logs` with the loss of the windows since the last such event as a mean over their items."""
        windows, shares = self.windows - self.logged_windows, self.shares - self.logged_shares
        if "loss" not in logs or not shares:
            return logs
        self.logged_windows, self.logged_shares = self.windows, self.shares
        return {**logs, "loss": logs["loss"] / (shares / windows)}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        return asdict(self)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint; one of an earlier version has none, and its shares were 1."""
        self.windows, self.shares = int(state.get("windows", 0)), float(state.get("shares", 0.0))
        self.logged_windows = int(state.get("logged_windows", 0))
        self.logged_shares = float(state.get("logged_shares", 0.0))
