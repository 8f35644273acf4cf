"""The recipes there are: what each trains, and where its `TrainingArguments` defaults differ from Trainer's.

hfpipe's own settings have their defaults in `sections`; `settings` holds those that are others in this kind of run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hfpipe.config.sections import FINETUNE, PRETRAIN


@dataclass(frozen=True)
class Recipe:
    """A kind of run: `name` is the module under `recipes/`, `defaults` go to `TrainingArguments`, `settings` to us."""

    name: str
    summary: str
    defaults: Mapping[str, object]
    settings: Mapping[str, object] = field(default_factory=dict)


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name=PRETRAIN,
            summary="Pretrain a causal language model from scratch, or continue one, on texts.",
            defaults={
                "learning_rate": 6e-4,
                "lr_scheduler_type": "cosine",
                "warmup_steps": 0.03,
                "weight_decay": 0.1,
                "adam_beta2": 0.95,
                "num_train_epochs": 1.0,
                "per_device_train_batch_size": 8,
                "eval_strategy": "epoch",
                "logging_steps": 10,
                # Trainer's own default searches the graph for them at every step.
                "ddp_find_unused_parameters": False,
                "metric_for_best_model": "loss",
            },
            # Those there are would take as long as the model itself.
            settings={"baselines": ()},
        ),
        Recipe(
            name=FINETUNE,
            summary="Fine-tune a text classifier on labelled texts.",
            defaults={
                "learning_rate": 5e-5,
                "warmup_steps": 0.06,
                "weight_decay": 0.01,
                "num_train_epochs": 3.0,
                "per_device_train_batch_size": 16,
                "per_device_eval_batch_size": 32,
                "eval_strategy": "epoch",
                "logging_steps": 10,
                # Trainer's own default searches the graph for them at every step.
                "ddp_find_unused_parameters": False,
                # Scores tie on small data, and the earliest of equals would win; the loss goes on telling them apart.
                "metric_for_best_model": "loss",
            },
        ),
    )
}
