"""LSTM and GRU models: padding changes nothing, a state carried is a prefix read, and torch's own layers agree."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from hfpipe.config import ModelSettings
from hfpipe.config.baseline_models import GRU, LSTM, OWN_CLASSIFIERS, OWN_LANGUAGE_MODELS, TEXTCNN
from hfpipe.models.causal import check_causal
from hfpipe.models.recurrent import LstmConfig, LstmModel

TOLERANCE = 1e-6
VOCABULARY = 40
SHAPES = [
    (kind, {"bidirectional": ways, "num_hidden_layers": layers, "pooling": pooling})
    for kind, ways, layers, pooling in itertools.product((LSTM, GRU), (False, True), (1, 2), ("max", "mean", "last"))
]
TEXTS = [[5], [7, 9], [3, 8, 2], [11, 4, 4, 17, 30, 2, 9], [21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32]]


def make_classifier(kind: str, **fields: object) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {} if kind == TEXTCNN else {"hidden_size": 6}
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, embedding_size=5, **sizes, **fields)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():  # so that texts score differently
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def make_language_model(kind: str, **fields: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=VOCABULARY, embedding_size=6, hidden_size=9, num_hidden_layers=2, pad_token_id=0, **fields
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def pad(texts: list[list[int]], before: list[int], width: int) -> dict[str, torch.Tensor]:
    """Return texts as a batch with so much padding before each, of ids that would change a score if they were read."""
    input_ids, attention_mask = torch.full((len(texts), width), 13), torch.zeros(len(texts), width, dtype=torch.int64)
    for row, (text, start) in enumerate(zip(texts, before, strict=True)):
        input_ids[row, start : start + len(text)] = torch.tensor(text)
        attention_mask[row, start : start + len(text)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def largest_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one - other).abs().max().item()


@pytest.mark.parametrize(("kind", "fields"), [*SHAPES, (TEXTCNN, {})])
@torch.no_grad()
def test_a_text_scores_the_same_whatever_it_is_batched_with(kind: str, fields: dict[str, object]) -> None:
    model, width = make_classifier(kind, **fields), 15
    alone = torch.cat([model(input_ids=torch.tensor([text])).logits for text in TEXTS])
    assert alone.std(dim=0).max() > 0.02
    for before in ([0] * 5, [width - len(text) for text in TEXTS], [2, 0, 5, 1, 3]):
        assert largest_difference(model(**pad(TEXTS, before, width)).logits, alone) < TOLERANCE
    pair = model(**pad(TEXTS[:2], [0, 0], 2)).logits
    assert largest_difference(pair, alone[:2]) < TOLERANCE


@settings(max_examples=25)
@given(
    texts=st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=8), min_size=1, max_size=4),
    shifts=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    shape=st.sampled_from([*SHAPES, (TEXTCNN, {})]),
)
@torch.no_grad()
def test_no_padding_anywhere_reaches_a_score(
    texts: list[list[int]], shifts: list[int], shape: tuple[str, dict[str, object]]
) -> None:
    model = make_classifier(shape[0], **shape[1])
    alone = torch.cat([model(input_ids=torch.tensor([text])).logits for text in texts])
    batch = pad(texts, shifts[: len(texts)], 13)
    assert largest_difference(model(**batch).logits, alone) < TOLERANCE


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_padding_reaches_no_gradient(kind: str) -> None:
    one, other = (make_classifier(kind, bidirectional=True, num_hidden_layers=2).train() for _ in range(2))
    for module in (*one.modules(), *other.modules()):
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    labels = torch.tensor([0, 1, 1, 0, 1])
    one(**pad(TEXTS, [0] * 5, 12), labels=labels).loss.backward()
    for text, label in zip(TEXTS, labels, strict=True):
        (other(input_ids=torch.tensor([text]), labels=label[None]).loss / len(TEXTS)).backward()
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None, name
        assert largest_difference(mine.grad, theirs.grad) < 1e-5, name
    embedded = one.get_input_embeddings().weight.grad
    assert embedded[13].abs().sum() == 0 and embedded[5].abs().sum() > 0  # 13 is padding alone


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [LSTM, GRU])
@torch.no_grad()
def test_layers_are_those_of_torch_on_the_unpadded_text(kind: str, layers: int) -> None:
    config = AutoConfig.for_model(
        kind, vocab_size=VOCABULARY, embedding_size=5, hidden_size=6, num_hidden_layers=layers, bidirectional=True
    )
    model = AutoModel.from_config(config).eval()
    make = torch.nn.LSTM if kind == LSTM else torch.nn.GRU
    reference = make(5, 6, num_layers=layers, bidirectional=True, batch_first=True)
    weights = model.state_dict()
    for name, parameter in reference.named_parameters():
        kept, layer = name.removesuffix("_reverse").rsplit("_l", 1)
        way = "backwards" if name.endswith("_reverse") else "forwards"
        parameter.copy_(weights[f"stack.layers.{layer}.{way}.{kept}_l0"])
    together = model(**pad(TEXTS, [3] * 5, 15)).last_hidden_state
    for row, text in enumerate(TEXTS):
        expected, _ = reference(model.embed_tokens(torch.tensor([text])))
        assert largest_difference(together[row, 3 : 3 + len(text)], expected[0]) < TOLERANCE
        assert together[row, :3].abs().sum() == 0 and together[row, 3 + len(text) :].abs().sum() == 0


@torch.no_grad()
def test_one_step_is_the_formula_of_hochreiter_and_schmidhuber() -> None:
    model = LstmModel(LstmConfig(vocab_size=3, embedding_size=1, hidden_size=1)).eval()
    cell = model.stack.layers[0].forwards
    model.embed_tokens.weight.copy_(torch.tensor([[0.0], [0.5], [-1.0]]))
    cell.weight_ih_l0.copy_(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))  # input, forget, cell, output
    cell.weight_hh_l0.copy_(torch.tensor([[0.1], [0.2], [0.3], [0.4]]))
    cell.bias_ih_l0.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    cell.bias_hh_l0.zero_()
    hidden, memory = torch.tensor(0.0), torch.tensor(0.0)
    expected = []
    for x in (0.5, -1.0):
        entry = torch.sigmoid(1.0 * x + 0.1 * hidden + 0.1)
        forget = torch.sigmoid(2.0 * x + 0.2 * hidden + 0.2)
        written = torch.tanh(3.0 * x + 0.3 * hidden + 0.3)
        shown = torch.sigmoid(4.0 * x + 0.4 * hidden + 0.4)
        memory = forget * memory + entry * written
        hidden = shown * torch.tanh(memory)
        expected.append(hidden.item())
    found = model(torch.tensor([[1, 2]]), use_cache=True)
    assert found.last_hidden_state[0, :, 0].tolist() == pytest.approx(expected, abs=1e-7)
    assert [tensor.item() for tensor in found.past_key_values.tensors] == pytest.approx(
        [hidden.item(), memory.item()], abs=1e-7
    )


def test_a_new_lstm_does_not_forget() -> None:
    layer = LstmModel(LstmConfig(vocab_size=3, embedding_size=4, hidden_size=8)).stack.layers[0].forwards
    assert layer.bias_ih_l0[8:16].tolist() == [1.0] * 8
    others = torch.cat([layer.bias_ih_l0[:8], layer.bias_ih_l0[16:]]).abs()
    assert 0 < others.max() <= 8**-0.5


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("how", [{}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}])
def test_generating_with_a_state_is_reading_the_whole_prefix(kind: str, how: dict[str, object]) -> None:
    model = make_language_model(kind)
    batch = pad([TEXTS[4], TEXTS[2], TEXTS[0]], [0, 9, 11], 12)
    found = []
    for use_cache in (True, False):
        torch.manual_seed(3)
        found.append(model.generate(**batch, **how, max_new_tokens=12, use_cache=use_cache))
    assert torch.equal(*found)
    assert found[0].shape[1] == 24 and len(found[0].unique()) > 5


@pytest.mark.parametrize("kind", [LSTM, GRU])
@torch.no_grad()
def test_logits_with_a_state_are_those_of_the_whole_prefix(kind: str) -> None:
    model = make_language_model(kind)
    batch = pad([TEXTS[4], TEXTS[3]], [0, 5], 12)
    whole = model(**batch, use_cache=False)
    assert whole.past_key_values is None
    state, pieces = None, []
    # an odd cut: the first piece holds padding alone of the second text
    for start, end in ((0, 3), (3, 7), (7, 8), (8, 12)):
        piece = model(
            batch["input_ids"][:, start:end],
            attention_mask=batch["attention_mask"][:, :end],
            past_key_values=state,
            use_cache=True,
        )
        state = piece.past_key_values
        pieces.append(piece.logits)
        assert state.get_seq_length() == end
    found = torch.cat(pieces, dim=1)
    assert largest_difference(found[0], whole.logits[0]) < 1e-5
    assert largest_difference(found[1, 5:], whole.logits[1, 5:]) < 1e-5


def test_each_new_token_costs_one_step_and_a_state_is_continued_twice() -> None:
    model = make_language_model(LSTM)
    seen: list[int] = []
    embedding = model.get_input_embeddings()
    embedding.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1]))
    prompt = torch.tensor([TEXTS[3]])
    told = model.generate(prompt, max_new_tokens=5, return_dict_in_generate=True)
    assert seen == [7, 1, 1, 1, 1]
    state = told.past_key_values
    assert state.get_seq_length() == 11  # the last token was said, and not yet read
    for _ in range(2):
        seen.clear()
        more = model.generate(told.sequences, past_key_values=state, max_new_tokens=4)
        assert seen == [1, 1, 1, 1]
        assert torch.equal(more, model.generate(prompt, max_new_tokens=9))


@pytest.mark.parametrize("kind", OWN_CLASSIFIERS)
@pytest.mark.parametrize(
    ("problem_type", "labels", "expected"),
    [
        ("single_label_classification", torch.tensor([0, 2]), torch.nn.CrossEntropyLoss()),
        ("multi_label_classification", torch.tensor([[1.0, 0, 1], [0, 0, 1]]), torch.nn.BCEWithLogitsLoss()),
    ],
)
def test_the_loss_is_that_of_the_problem(
    kind: str, problem_type: str, labels: torch.Tensor, expected: Callable[..., torch.Tensor]
) -> None:
    model = make_classifier(kind, num_labels=3, problem_type=problem_type)
    batch = pad(TEXTS[1:3], [0, 0], 3)
    found = model(**batch, labels=labels)
    assert found.logits.shape == (2, 3)
    assert found.loss.item() == pytest.approx(expected(found.logits, labels).item(), rel=1e-6)
    assert len(model(**batch, labels=labels, return_dict=False)) == 2


@pytest.mark.parametrize("kind", OWN_CLASSIFIERS)
def test_a_number_is_predicted_by_squared_error(kind: str) -> None:
    model = make_classifier(kind, num_labels=1, problem_type="regression")
    labels = torch.tensor([0.5, 2.0])
    found = model(**pad(TEXTS[1:3], [0, 0], 3), labels=labels)
    assert found.loss.item() == pytest.approx(((found.logits[:, 0] - labels) ** 2).mean().item(), rel=1e-6)


@pytest.mark.parametrize("kind", OWN_LANGUAGE_MODELS)
def test_the_loss_of_a_language_model_counts_items(kind: str) -> None:
    model = make_language_model(kind)
    ids = torch.tensor([TEXTS[3]])
    each = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="sum").item()
    assert model(ids, labels=ids).loss.item() == pytest.approx(each / 6, rel=1e-5)
    assert model(ids, labels=ids, num_items_in_batch=20).loss.item() == pytest.approx(each / 20, rel=1e-5)
    assert model(ids, logits_to_keep=1).logits.shape == (1, 1, VOCABULARY)


@pytest.mark.parametrize("kind", OWN_CLASSIFIERS)
def test_saved_and_loaded_it_has_the_same_bits(kind: str, tmp_path: Path) -> None:
    model = make_classifier(kind, num_labels=3)
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(loaded) is type(model) and loaded.config.to_dict().keys() == model.config.to_dict().keys()
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    batch = pad(TEXTS, [0] * 5, 12)
    assert largest_difference(loaded(**batch).logits, model(**batch).logits) < TOLERANCE


@pytest.mark.parametrize("kind", OWN_LANGUAGE_MODELS)
def test_a_saved_language_model_ties_its_embeddings(kind: str, tmp_path: Path) -> None:
    model = make_language_model(kind)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    ids = torch.tensor([TEXTS[3]])
    assert largest_difference(loaded(ids).logits, model(ids).logits) < TOLERANCE
    assert torch.equal(loaded.generate(ids, max_new_tokens=4), model.generate(ids, max_new_tokens=4))


@pytest.mark.parametrize("kind", OWN_LANGUAGE_MODELS)
def test_a_language_model_looks_back_only(kind: str) -> None:
    check_causal(ModelSettings(model_type=kind), make_language_model(kind))
    with pytest.raises(ValueError, match="a language model reads one way; leave bidirectional out"):
        make_language_model(kind, bidirectional=True)
