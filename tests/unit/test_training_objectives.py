"""Objectives against values worked out by hand and against torch's own means."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_models import bert_config, make_classifier
from torch.nn import functional

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.errors import ConfigError
from hfpipe.training.objectives import (
    CausalLMObjective,
    ClassificationObjective,
    LabelObjective,
    MultiLabelObjective,
    RegressionObjective,
    build_class_weights,
    build_positive_weights,
    plain_classification_objective,
)

NAMES = ("neg", "pos")


def test_cross_entropy_is_summed_over_rows_that_have_a_label() -> None:
    outputs = SimpleNamespace(logits=torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)], [5.0, 1.0]]))
    labels = torch.tensor([0, 1, -100])
    objective = ClassificationObjective()
    # -ln(1/2) - ln(3/4)
    assert objective.loss_sum(outputs, labels).item() == pytest.approx(math.log(2) + math.log(4 / 3), rel=1e-6)
    assert objective.count(labels).item() == 2


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, (0.3, 1.7, 2.0)])
def test_any_cut_of_a_window_has_the_mean_torch_gives_for_the_whole(
    smoothing: float, weights: tuple[float, ...] | None
) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(13, 3, generator=generator)
    labels = torch.randint(0, 3, (13,), generator=generator)
    weight = None if weights is None else torch.tensor(weights)
    objective = ClassificationObjective(weight, smoothing)
    whole = functional.cross_entropy(logits, labels, weight=weight, label_smoothing=smoothing)
    for size in (1, 4, 13):
        chunks = list(zip(logits.split(size), labels.split(size), strict=True))
        total = sum(objective.loss_sum(SimpleNamespace(logits=part), own) for part, own in chunks)
        count = sum(objective.count(own) for _, own in chunks)
        assert float(total / count) == pytest.approx(whole.item(), rel=1e-6)


def test_each_next_token_is_predicted() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 2] = math.log(5.0)  # softmax 5/8 for token 2, the next one
    labels = torch.tensor([[1, 2, 3]])
    objective = CausalLMObjective()
    loss = objective.loss_sum(SimpleNamespace(logits=logits), labels).item()
    assert loss == pytest.approx(math.log(8 / 5) + math.log(4), rel=1e-6)
    assert objective.count(labels).item() == 2
    assert objective.count(torch.tensor([[-100, -100, 3]])).item() == 1


def test_the_losses_of_rows_add_up_to_that_of_the_batch() -> None:
    logits = torch.zeros(2, 3, 4)
    logits[0, 0, 2] = math.log(5.0)
    labels = torch.tensor([[1, 2, 3], [1, 2, -100]])
    outputs, objective = SimpleNamespace(logits=logits), CausalLMObjective()
    losses = objective.row_losses(outputs, labels)
    assert losses.tolist() == pytest.approx([math.log(8 / 5) + math.log(4), math.log(4)], rel=1e-6)
    assert losses.sum().item() == pytest.approx(objective.loss_sum(outputs, labels).item(), rel=1e-6)
    assert CausalLMObjective(label_smoothing=0.2).row_losses(outputs, labels).equal(losses)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    weights = build_class_weights("balanced", np.array([0, 0, 0, 1]), NAMES)
    assert weights is not None
    assert weights.tolist() == pytest.approx([4 / 6, 4 / 2])


def test_every_wrong_weight_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        build_class_weights({"pos": -1.0, "other": 2.0}, np.array([0, 1]), NAMES)
    assert str(error.value) == (
        "the configuration has 3 problems:\n"
        "  - class_weights: other: no label of this data; the labels are neg, pos\n"
        "  - class_weights: neg: has no weight; give every label one\n"
        "  - class_weights: pos=-1.0: not above zero; give a positive weight"
    )


# -ln(sigmoid(0)) and ln(1 + e^x) by hand: logits 0 and ln 3 are probabilities of 1/2 and 3/4
MULTI_LOGITS = torch.tensor([[0.0, math.log(3.0)], [math.log(3.0), 0.0]])
MULTI_LABELS = torch.tensor([[1.0, 0.0], [1.0, 1.0]])


def test_labels_of_a_row_are_averaged_and_rows_are_summed() -> None:
    objective = MultiLabelObjective()
    loss = objective.loss_sum(SimpleNamespace(logits=MULTI_LOGITS), MULTI_LABELS).item()
    first, second = (math.log(2) + math.log(4)) / 2, (math.log(4 / 3) + math.log(2)) / 2
    assert loss == pytest.approx(first + second, rel=1e-6)
    assert objective.count(MULTI_LABELS).item() == 2


def test_a_label_that_is_there_weighs_what_it_is_given() -> None:
    objective = MultiLabelObjective(torch.tensor([3.0, 0.5]))
    loss = objective.loss_sum(SimpleNamespace(logits=MULTI_LOGITS), MULTI_LABELS).item()
    first, second = (3 * math.log(2) + math.log(4)) / 2, (3 * math.log(4 / 3) + 0.5 * math.log(2)) / 2
    assert loss == pytest.approx(first + second, rel=1e-6)
    assert objective.count(MULTI_LABELS).item() == 2


def test_smoothing_moves_labels_towards_a_half() -> None:
    loss = (
        MultiLabelObjective(None, 0.2).loss_sum(SimpleNamespace(logits=MULTI_LOGITS[:1, 1:]), torch.ones(1, 1)).item()
    )
    assert loss == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4), rel=1e-6)


def test_squared_errors_are_summed() -> None:
    objective, labels = RegressionObjective(), torch.tensor([1.0, -100.0])
    loss = objective.loss_sum(SimpleNamespace(logits=torch.tensor([[3.0], [-99.0]])), labels).item()
    assert (loss, objective.count(labels).item()) == (5.0, 2.0)  # -100 is a number like any other


@pytest.mark.parametrize("objective", [MultiLabelObjective(torch.tensor([2.0]), 0.1), RegressionObjective()])
def test_rows_without_labels_weigh_nothing_whatever_they_score(objective: LabelObjective) -> None:
    logits = torch.tensor([[0.3], [math.nan], [math.inf]], requires_grad=True)
    labels = torch.tensor([1.0, math.nan, math.nan])
    labels = labels[:, None] if isinstance(objective, MultiLabelObjective) else labels
    loss = objective.loss_sum(SimpleNamespace(logits=logits), labels)
    alone = objective.loss_sum(SimpleNamespace(logits=logits[:1]), labels[:1])
    assert (loss.item(), objective.count(labels).item()) == (alone.item(), 1.0)
    loss.backward()
    assert logits.grad is not None and logits.grad[1:].tolist() == [[0.0], [0.0]] and logits.grad[0] != 0


@pytest.mark.parametrize(
    ("problem_type", "count"), [(SINGLE_LABEL, 3), (MULTI_LABEL, 3), (MULTI_LABEL, 1), (REGRESSION, 1)]
)
def test_the_mean_of_a_batch_is_the_loss_of_the_head_of_transformers(problem_type: str, count: int) -> None:
    model = make_classifier(bert_config(num_labels=count, problem_type=problem_type))
    generator = torch.Generator().manual_seed(3)
    numbers = torch.randn(5, count, generator=generator)
    labels = {
        SINGLE_LABEL: torch.randint(0, count, (5,), generator=generator),
        MULTI_LABEL: (numbers > 0).float(),
        REGRESSION: numbers[:, 0],
    }[problem_type]
    with torch.inference_mode():
        outputs = model(input_ids=torch.randint(2, 300, (5, 9), generator=generator), labels=labels)
    objective = plain_classification_objective(problem_type)
    mean = objective.loss_sum(outputs, labels) / objective.count(labels)
    assert mean.item() == pytest.approx(outputs.loss.item(), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_any_cut_of_a_window_of_several_labels_has_the_mean_of_torch(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(13, 3, generator=generator)
    labels = (torch.randn(13, 3, generator=generator) > 0).float()
    weights = torch.tensor([0.5, 2.0, 7.0])
    smooth = labels * (1 - smoothing) + smoothing / 2
    whole = functional.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights)
    objective = MultiLabelObjective(weights, smoothing)
    for size in (1, 4, 13):
        chunks = list(zip(logits.split(size), labels.split(size), strict=True))
        total = sum(objective.loss_sum(SimpleNamespace(logits=part), own) for part, own in chunks)
        assert float(total / 13) == pytest.approx(whole.item(), rel=1e-6)


def test_balanced_weights_of_several_labels_are_rows_without_over_rows_with() -> None:
    weights = build_positive_weights("balanced", np.array([[1, 0], [0, 1], [0, 1], [0, 1]], dtype=np.float32), NAMES)
    assert weights is not None
    assert weights.tolist() == pytest.approx([3 / 1, 1 / 3])
    assert build_positive_weights(None, np.ones((2, 2)), NAMES) is None
    given = build_positive_weights({"pos": 2.0, "neg": 1.0}, np.ones((2, 2)), NAMES)
    assert given is not None and given.tolist() == [1.0, 2.0]


def test_labels_that_all_rows_have_or_none_cannot_be_balanced() -> None:
    with pytest.raises(ConfigError) as error:
        build_positive_weights("balanced", np.array([[1, 0], [1, 0]], dtype=np.float32), NAMES)
    assert str(error.value) == (
        "the configuration has 2 problems:\n"
        "  - class_weights: neg: every training row has this label; leave it out of the data, or give weights by name\n"
        "  - class_weights: pos: no training row has this label; leave it out of the data, or give weights by name"
    )


def test_a_label_without_rows_cannot_be_balanced() -> None:
    with pytest.raises(ConfigError, match=f"class_weights: {NAMES[1]}: no training row has this label; leave"):
        build_class_weights("balanced", np.array([0, 0]), NAMES)
