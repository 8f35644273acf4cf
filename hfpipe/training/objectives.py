"""What a task minimises: a sum of losses and the count it is divided by.

The mean is taken over the whole global window (all processes, all micro-batches), never over a batch:
Trainer's sequence-classification heads return batch means, which it then adds up over accumulation steps
and processes, so the gradient grows with both. Label smoothing and class weights are part of the
objective, since Trainer ignores `label_smoothing_factor` beside a loss function of one's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional
from transformers.modeling_outputs import CausalLMOutputWithPast, SequenceClassifierOutput

from hfpipe.config import RunConfig
from hfpipe.data.corpus import IGNORED
from hfpipe.errors import ConfigError, Problem


class Objective(Protocol):
    """A loss as a sum over items; what an item is (row, token, weight) is the objective's to say."""

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """Return the summed loss in nats, a float32 scalar; `outputs` are the model's."""
        ...

    def count(self, labels: torch.Tensor) -> torch.Tensor:
        """Return what the sum is divided by, a float32 scalar; ignored labels count nothing."""
        ...


@dataclass(frozen=True)
class ClassificationObjective:
    """Cross entropy of one label a row.

    `class_weights` (labels,) weighs each row by its label and divides by the sum of weights, as
    `torch.nn.CrossEntropyLoss(weight=...)` does within one batch.
    """

    class_weights: torch.Tensor | None = None
    label_smoothing: float = 0.0

    def loss_sum(self, outputs: SequenceClassifierOutput, labels: torch.Tensor) -> torch.Tensor:
        """Return the (weighted) cross entropy summed over rows; logits (rows, labels), labels (rows,)."""
        assert outputs.logits is not None
        logits = outputs.logits.float()
        return functional.cross_entropy(
            logits,
            labels,
            weight=None if self.class_weights is None else self.class_weights.to(logits.device),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )

    def count(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the rows that have a label, or the sum of their weights."""
        known = labels[labels != IGNORED]
        if self.class_weights is None:
            return torch.tensor(known.numel(), dtype=torch.float32, device=labels.device)
        return self.class_weights.to(labels.device)[known].sum()


@dataclass(frozen=True)
class CausalLMObjective:
    """Cross entropy of each next token; labels (rows, tokens) equal the inputs and are shifted here."""

    label_smoothing: float = 0.0

    def loss_sum(self, outputs: CausalLMOutputWithPast, labels: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy summed over predicted tokens; logits (rows, tokens, vocabulary)."""
        assert outputs.logits is not None
        logits = outputs.logits[:, :-1].flatten(0, 1).float()
        return functional.cross_entropy(
            logits,
            labels[:, 1:].flatten(),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )

    def count(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the tokens that are predicted: all but the first of each row."""
        return (labels[:, 1:] != IGNORED).sum().float()


def build_classification_objective(
    config: RunConfig, label_ids: np.ndarray, label_names: Sequence[str]
) -> ClassificationObjective:
    """Return the objective of a classification run; `label_ids` (rows,) are those of the training part.

    Raises:
        ConfigError: If `class_weights` do not fit the labels.
    """
    weights = build_class_weights(config.training.class_weights, label_ids, label_names)
    return ClassificationObjective(weights, config.trainer_arguments.get("label_smoothing_factor", 0.0))


def build_causal_lm_objective(config: RunConfig) -> CausalLMObjective:
    """Return the objective of a pretraining run."""
    return CausalLMObjective(config.trainer_arguments.get("label_smoothing_factor", 0.0))


def build_class_weights(
    wanted: str | Mapping[str, float] | None, label_ids: np.ndarray, label_names: Sequence[str]
) -> torch.Tensor | None:
    """Return the weight of each label, (labels,) float32, or None where none are wanted.

    'balanced' is rows / (labels x rows of the label), scikit-learn's rule.

    Raises:
        ConfigError: If a mapping leaves a label out, names one there is not, or holds a weight that is not positive.
    """
    if wanted is None:
        return None
    if wanted == "balanced":
        counts = np.bincount(label_ids, minlength=len(label_names))
        return torch.tensor(len(label_ids) / (len(label_names) * counts), dtype=torch.float32)
    if isinstance(wanted, str):
        raise ConfigError(
            Problem("class_weights", wanted, "neither 'balanced' nor a mapping", "write class_weights: balanced")
        )
    return _weights_by_name(wanted, label_names)


def _weights_by_name(wanted: Mapping[str, float], label_names: Sequence[str]) -> torch.Tensor:
    listed = ", ".join(label_names)
    problems = [
        Problem("class_weights", name, "no label of this data", f"the labels are {listed}")
        for name in wanted
        if name not in label_names
    ]
    problems += [
        Problem("class_weights", name, "has no weight", "give every label one")
        for name in label_names
        if name not in wanted
    ]
    problems += [
        Problem("class_weights", f"{name}={weight}", "not above zero", "give a positive weight")
        for name, weight in wanted.items()
        if weight <= 0
    ]
    if problems:
        raise ConfigError(problems)
    return torch.tensor([wanted[name] for name in label_names], dtype=torch.float32)
