"""What is known of a setting: its documentation, its bounds, the recipes it has an effect in, and what a change of it
means to a run that is resumed. All of it lives in the metadata of a dataclass field.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

PRETRAIN = "pretrain_causal_lm"
FINETUNE = "finetune_classifier"

Change = Literal["identity", "extendable", "splitting", "completing", "free"]


@dataclass(frozen=True)
class Setting:
    """What is known of a field beside its name, type and default; lives in the field's metadata."""

    help: str
    change: Change = "identity"
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    recipes: tuple[str, ...] = (PRETRAIN, FINETUNE)


def setting(
    default: object,
    help: str,
    *,
    change: Change = "identity",
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    recipes: tuple[str, ...] = (PRETRAIN, FINETUNE),
) -> Any:
    """Return a dataclass field documented by a `Setting`; `minimum` and `maximum` are inclusive, the others not."""
    details = Setting(help, change, minimum, maximum, above, below, choices, recipes)
    return dataclasses.field(default=default, metadata={"setting": details})
