"""TextCNN: its filters against values worked out by hand, texts shorter than a window, empty ones."""

import pytest
import torch

from hfpipe.models.convolutional import TextCnnConfig, TextCnnForSequenceClassification, TextCnnModel


def make_model(window_sizes: tuple[int, ...]) -> TextCnnModel:
    """Return a model whose token i is the number i, and whose filters add up what they see."""
    model = TextCnnModel(TextCnnConfig(vocab_size=10, embedding_size=1, window_sizes=window_sizes, num_filters=1))
    with torch.no_grad():
        model.embed_tokens.weight.copy_(torch.arange(10.0)[:, None])
        for filters in model.filters:
            filters.weight.fill_(1.0)
            filters.bias.zero_()
    return model.eval()


def pool(model: TextCnnModel, ids: list[int], mask: list[int] | None = None) -> list[float]:
    told = None if mask is None else torch.tensor([mask])
    return model(torch.tensor([ids]), attention_mask=told).pooler_output[0].tolist()


def test_a_filter_gives_its_largest_window() -> None:
    assert pool(make_model((2, 3)), [1, 5, 2, 3]) == [7.0, 10.0]


@pytest.mark.parametrize(
    ("ids", "mask"),
    [
        ([1, 5, 2, 3, 9, 9], [1, 1, 1, 1, 0, 0]),
        ([9, 9, 1, 5, 2, 3], [0, 0, 1, 1, 1, 1]),
        ([9, 1, 5, 2, 3, 9], [0, 1, 1, 1, 1, 0]),
    ],
)
def test_no_window_reaches_into_padding(ids: list[int], mask: list[int]) -> None:
    assert pool(make_model((2, 3)), ids, mask) == [7.0, 10.0]


def test_a_text_shorter_than_a_window_is_filled_with_zeros() -> None:
    model = make_model((3, 5))
    assert pool(model, [4]) == [4.0, 4.0]
    assert pool(model, [4, 2]) == [6.0, 6.0]
    assert pool(model, [4, 2, 9, 9, 9, 9], [1, 1, 0, 0, 0, 0]) == [6.0, 6.0]
    assert pool(model, [9, 9], [0, 0]) == [0.0, 0.0]


def test_windows_are_those_of_the_paper_unless_told() -> None:
    config = TextCnnConfig()
    assert (tuple(config.window_sizes), config.num_filters, config.classifier_dropout) == ((3, 4, 5), 100, 0.5)
    model = TextCnnForSequenceClassification(TextCnnConfig(vocab_size=10, embedding_size=4, num_labels=3))
    assert [filters.weight.shape for filters in model.model.filters] == [(100, 4, size) for size in (3, 4, 5)]
    assert model.classifier.weight.shape == (3, 300)
