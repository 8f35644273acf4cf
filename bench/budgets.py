"""Budgets of tokens that make as many steps as batches of rows do: only so do both sides of a comparison learn alike.

The recipe itself is asked, run up to its training: what a budget holds is the plan's to say.
"""

from bisect import bisect_left
from dataclasses import replace
from pathlib import Path

from bench.recipe_run import run_to_training
from hfpipe.config import RunConfig
from hfpipe.data.cutting import WINDOWS
from hfpipe.data.token_batches import TokenBatchPlan
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer

_FILE = "max_tokens_per_batch"


def save_budget(folder: Path, config: RunConfig, *, rows: int) -> None:
    """Find the budget for the run of `config`, which has one already, and leave it in `folder`."""
    plans: list[TokenBatchPlan] = []

    def planned(session: Session, trainer: PlannedTrainer) -> None:
        assert isinstance(trainer.plan, TokenBatchPlan), "a run with a budget has such a plan"
        plans.append(trainer.plan)

    run_to_training(config, planned)
    windows = config.data.max_windows if config.data.long_texts == WINDOWS else 1
    least = config.data.max_seq_length * windows  # a budget holds any text by itself
    (folder / _FILE).write_text(str(find_budget(plans[0], rows=rows, least=least)))


def read_budget(folder: Path) -> int:
    """Return the budget that `save_budget` has left in `folder`."""
    return int((folder / _FILE).read_text())


def find_budget(plan: TokenBatchPlan, *, rows: int, least: int) -> int:
    """Return the smallest budget, `least` or more, of no more steps an epoch than batches of so many rows make.

    It is a little over `rows` times the mean length of a row: no batch is filled to the last token.
    """
    steps = -(-plan.num_rows // (rows * plan.micro_batches_per_step))
    budgets = range(least, max(least, int(plan.positions.sum())) + 1)
    found = bisect_left(
        budgets, True, key=lambda budget: replace(plan, max_tokens_per_batch=budget).steps_per_epoch <= steps
    )
    return budgets[min(found, len(budgets) - 1)]
