"""Objectives against values worked out by hand and against torch's own means."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from hfpipe.errors import ConfigError
from hfpipe.training.objectives import CausalLMObjective, ClassificationObjective, build_class_weights

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
