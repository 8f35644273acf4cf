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
from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.data.corpus import IGNORED
from hfpipe.data.parts import LabelledParts
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.fused_head import FusedLosses

BALANCED = "balanced"
NO_ROW = "no training row has this label"


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
class MultiLabelObjective:
    """Binary cross entropy of each label, averaged over the labels of a row; a row is an item.

    `class_weights` (labels,) says what a label that is there weighs against one that is not, as `pos_weight` of
    `torch.nn.BCEWithLogitsLoss`. Smoothing moves targets from 0 and 1 towards a half. Labels are NaN in a row that is
    ignored.
    """

    class_weights: torch.Tensor | None = None
    label_smoothing: float = 0.0

    def loss_sum(self, outputs: SequenceClassifierOutput, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a row's labels summed over rows; logits and labels (rows, labels)."""
        known, logits = _known_logits(outputs, labels)
        targets = labels.nan_to_num() * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(
            logits,
            targets,
            pos_weight=None if self.class_weights is None else self.class_weights.to(logits.device),
            reduction="none",
        )
        return losses.where(known, 0.0).mean(dim=1).sum()

    def count(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the rows that have labels, or are known to have none."""
        return (~labels[:, 0].isnan()).sum().float()


@dataclass(frozen=True)
class RegressionObjective:
    """Squared error of the one number a row has; the label of a row that is ignored is NaN."""

    def loss_sum(self, outputs: SequenceClassifierOutput, labels: torch.Tensor) -> torch.Tensor:
        """Return the squared errors summed over rows; logits (rows, 1), labels (rows,)."""
        known, predicted = _known_logits(outputs, labels[:, None])
        return ((predicted - labels[:, None].nan_to_num()).where(known, 0.0) ** 2).sum()

    def count(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the rows that have a number."""
        return (~labels.isnan()).sum().float()


def _known_logits(outputs: SequenceClassifierOutput, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where `labels` are known, and the logits with 0 elsewhere: what is ignored must not spoil a gradient."""
    assert outputs.logits is not None
    known = ~labels.isnan()
    return known, outputs.logits.float().where(known, 0.0)


@dataclass(frozen=True)
class CausalLMObjective:
    """Cross entropy of each next token; labels (rows, tokens) equal the inputs and are shifted here."""

    label_smoothing: float = 0.0

    def loss_sum(self, outputs: CausalLMOutputWithPast | FusedLosses, labels: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy summed over predicted tokens; logits (rows, tokens, vocabulary)."""
        if isinstance(outputs, FusedLosses):
            return outputs.losses.sum()
        assert outputs.logits is not None
        logits = outputs.logits[:, :-1].flatten(0, 1).float()
        return functional.cross_entropy(
            logits,
            labels[:, 1:].flatten(),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )

    def row_losses(self, outputs: CausalLMOutputWithPast | FusedLosses, labels: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy of each row summed over its predicted tokens, (rows,) float32, unsmoothed."""
        if isinstance(outputs, FusedLosses):
            return outputs.losses
        assert outputs.logits is not None
        logits, targets = outputs.logits[:, :-1].flatten(0, 1).float(), labels[:, 1:]
        losses = functional.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, reduction="none")
        return losses.view_as(targets).sum(dim=1)

    def count(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the tokens that are predicted: all but the first of each row."""
        return (labels[:, 1:] != IGNORED).sum().float()


LabelObjective = ClassificationObjective | MultiLabelObjective | RegressionObjective


def build_classification_objective(config: RunConfig, parts: LabelledParts) -> LabelObjective:
    """Return the objective of a fine-tuning run on `parts`.

    Raises:
        ConfigError: If `class_weights` do not fit the labels.
    """
    if parts.problem_type == REGRESSION:
        return RegressionObjective()
    smoothing = config.trainer_arguments.get("label_smoothing_factor", 0.0)
    wanted, targets, names = config.training.class_weights, parts.train.targets, parts.label_names
    if parts.problem_type == MULTI_LABEL:
        return MultiLabelObjective(build_positive_weights(wanted, targets, names), smoothing)
    return ClassificationObjective(build_class_weights(wanted, targets, names), smoothing)


def plain_classification_objective(problem_type: str, label_smoothing: float = 0.0) -> LabelObjective:
    """Return the objective of a problem without weights of classes."""
    if problem_type == REGRESSION:
        return RegressionObjective()
    kind = MultiLabelObjective if problem_type == MULTI_LABEL else ClassificationObjective
    return kind(None, label_smoothing)


def build_causal_lm_objective(config: RunConfig) -> CausalLMObjective:
    """Return the objective of a pretraining run."""
    return CausalLMObjective(config.trainer_arguments.get("label_smoothing_factor", 0.0))


def build_class_weights(
    wanted: str | Mapping[str, float] | None, label_ids: np.ndarray, label_names: Sequence[str]
) -> torch.Tensor | None:
    """Return the weight of each label, (labels,) float32, or None where none are wanted.

    'balanced' is rows / (labels x rows of the label), scikit-learn's rule.

    Raises:
        ConfigError: If a mapping leaves a label out, names one there is not, or holds a weight that is not positive, or
            if 'balanced' meets a label without rows: the share of a mixture may leave it none.
    """
    if wanted is None:
        return None
    if wanted == BALANCED:
        counts = np.bincount(label_ids, minlength=len(label_names))
        _check_counts(counts, label_names, {0: NO_ROW})
        return torch.tensor(len(label_ids) / (len(label_names) * counts), dtype=torch.float32)
    return _weights_by_name(wanted, label_names)


def build_positive_weights(
    wanted: str | Mapping[str, float] | None, targets: np.ndarray, label_names: Sequence[str]
) -> torch.Tensor | None:
    """Return what each label weighs where it is there, (labels,) float32, or None where no weights are wanted.

    'balanced' is rows without the label / rows with it, the rule torch gives for `pos_weight`; `targets` are
    (rows, labels).

    Raises:
        ConfigError: As `build_class_weights`, or if 'balanced' meets a label that all rows have, or none.
    """
    if wanted is None:
        return None
    if wanted != BALANCED:
        return _weights_by_name(wanted, label_names)
    positives = targets.sum(axis=0)
    _check_counts(positives, label_names, {0: NO_ROW, len(targets): "every training row has this label"})
    return torch.tensor((len(targets) - positives) / positives, dtype=torch.float32)


def _check_counts(counts: np.ndarray, label_names: Sequence[str], refused: Mapping[int, str]) -> None:
    """Raise a ConfigError for each label whose rows are so many that it cannot be balanced."""
    remedy = "leave it out of the data, or give weights by name"
    problems = [
        Problem("class_weights", name, refused[int(count)], remedy)
        for name, count in zip(label_names, counts, strict=True)
        if int(count) in refused
    ]
    if problems:
        raise ConfigError(problems)


def _weights_by_name(wanted: str | Mapping[str, float], label_names: Sequence[str]) -> torch.Tensor:
    if isinstance(wanted, str):
        rule = "neither 'balanced' nor a mapping"
        raise ConfigError(Problem("class_weights", wanted, rule, "write class_weights: balanced"))
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
