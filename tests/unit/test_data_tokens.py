"""Cutting texts: head, tail and windows are the tokenizer's own, whatever stands around a text; pairs and types."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_review
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors
from tokenizers.models import BPE
from transformers import BertTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from hfpipe.config import DataSettings
from hfpipe.data.batches import FILLER
from hfpipe.data.cutting import SpecialTokens, cut_text, find_special_tokens
from hfpipe.data.places import Places
from hfpipe.data.tokens import LengthRule, TokenizedTexts, find_length_rule, tokenize_texts
from hfpipe.errors import ConfigError
from hfpipe.models.tokenizers import train_tokenizer
from hfpipe.training.datasets import LabelledRows

START, END = ("<|endoftext|>", 0), ("<|pad|>", 1)
WORDS = ("good", "bad", "film", "plot", "##s", "a")


def make_tokenizer(post_processor: object | None) -> PreTrainedTokenizerBase:
    """Return a byte-level BPE whose texts stand in the special tokens of `post_processor`."""
    tokenizer = train_tokenizer([make_review(index)[0] for index in range(40)], 320, show_progress=False)
    if post_processor is not None:
        tokenizer.backend_tokenizer.post_processor = post_processor
    return tokenizer


def make_bert_tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={word: index for index, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))})


LLAMA = processors.TemplateProcessing(
    single="<|endoftext|> $A", pair="<|endoftext|> $A <|endoftext|> $B", special_tokens=[START]
)
T5 = processors.TemplateProcessing(single="$A <|pad|>", pair="$A <|pad|> $B <|pad|>", special_tokens=[END])
TOKENIZERS = {
    "bert": make_bert_tokenizer(),
    "roberta": make_tokenizer(processors.RobertaProcessing(END, START)),
    "gpt2": make_tokenizer(None),
    "llama": make_tokenizer(LLAMA),
    "t5": make_tokenizer(T5),
}
texts_of = st.lists(
    st.text() | st.lists(st.sampled_from(["good", "bad", "film", "plots", "a", "zq"]), max_size=30).map(" ".join),
    min_size=1,
    max_size=4,
)


def windows_of(tokenized: TokenizedTexts) -> list[list[list[int]]]:
    """Return the token ids of each window of each text."""
    rows = range(len(tokenized))
    return [[tokenized.ids[tokenized.window(index)].tolist() for index in tokenized.windows(row)] for row in rows]


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(texts=texts_of, max_length=st.integers(4, 12))
def test_head_and_tail_are_the_truncation_of_the_tokenizer(name: str, texts: list[str], max_length: int) -> None:
    tokenizer = TOKENIZERS[name]
    for long_texts, side in (("head", "right"), ("tail", "left")):
        found = tokenize_texts(tokenizer, texts, rule=LengthRule(max_length, long_texts))
        tokenizer.truncation_side = side
        expected = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
        tokenizer.truncation_side = "right"
        assert windows_of(found) == [[ids] for ids in expected]
        whole = [len(ids) for ids in tokenizer(texts, truncation=False)["input_ids"]]
        assert found.full_lengths.tolist() == whole
        assert found.lost_tokens.tolist() == [max(0, length - max_length) for length in whole]
        assert found.cut_rows.tolist() == [row for row, length in enumerate(whole) if length > max_length]


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(texts=texts_of, max_length=st.integers(6, 12), doc_stride=st.integers(0, 3), max_windows=st.integers(1, 5))
def test_windows_are_those_of_the_tokenizer(
    name: str, texts: list[str], max_length: int, doc_stride: int, max_windows: int
) -> None:
    tokenizer = TOKENIZERS[name]
    found = tokenize_texts(tokenizer, texts, rule=LengthRule(max_length, "windows", doc_stride, max_windows))
    lost = []
    for text, windows in zip(texts, windows_of(found), strict=True):
        options = {"truncation": True, "max_length": max_length, "stride": doc_stride}
        every = tokenizer([text], return_overflowing_tokens=True, **options)["input_ids"]
        assert windows == every[:max_windows]
        # tokens of the text itself: all of the first window, and what each further one adds
        content = [len(window) - tokenizer.num_special_tokens_to_add() for window in every]
        lost.append(sum(length - doc_stride for length in content[max_windows:]))
    assert found.lost_tokens.tolist() == lost
    assert found.lengths.tolist() == [sum(map(len, windows)) for windows in windows_of(found)]


def test_windows_by_hand() -> None:
    special = SpecialTokens((90,), (91,))
    rule = LengthRule(6, "windows", doc_stride=1, max_windows=3)  # 4 tokens of the text a window, 3 of them new
    ids = [90, *range(12), 91]
    assert cut_text(ids, special, rule) == [
        [90, 0, 1, 2, 3, 91],
        [90, 3, 4, 5, 6, 91],
        [90, 6, 7, 8, 9, 91],
    ]
    assert rule.kept_length(special.count) == 6 + 2 * 3
    # the last window holds the end of the text, and no more
    assert cut_text(ids, special, replace(rule, max_windows=9))[-1] == [90, 9, 10, 11, 91]
    assert cut_text([*ids[:5], 91], special, rule) == [[*ids[:5], 91]]


@pytest.mark.parametrize(("max_length", "kept"), [(7, [0, 1, 2, 8, 9]), (6, [0, 1, 8, 9]), (3, [0]), (12, range(10))])
def test_head_and_tail_are_equal_parts(max_length: int, kept: Sequence[int]) -> None:
    ids = [90, *range(10), 91]
    rule = LengthRule(max_length, "head_tail")
    assert cut_text(ids, SpecialTokens((90,), (91,)), rule) == [[90, *kept, 91]]


@pytest.mark.parametrize("long_texts", ["tail", "head_tail", "windows"])
def test_texts_that_fit_are_whole_under_every_rule(long_texts: str) -> None:
    texts = ["a good film", "bad"]
    whole = tokenize_texts(TOKENIZERS["roberta"], texts, rule=LengthRule(None))
    found = tokenize_texts(TOKENIZERS["roberta"], texts, rule=LengthRule(40, long_texts, 2, 4))
    assert np.array_equal(found.ids, whole.ids) and np.array_equal(found.offsets, whole.offsets)
    assert found.lost_tokens.tolist() == [0, 0]
    assert found.row(1).tolist() == whole.row(1).tolist()


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(first=texts_of, second=texts_of, max_length=st.integers(5, 14))
def test_pairs_are_those_of_the_tokenizer(name: str, first: list[str], second: list[str], max_length: int) -> None:
    tokenizer = TOKENIZERS[name]
    first, second = first[: len(second)], second[: len(first)]
    found = tokenize_texts(tokenizer, first, text_pairs=second, rule=LengthRule(max_length))
    options = {"truncation": "longest_first", "max_length": max_length, "return_token_type_ids": True}
    expected = tokenizer(first, second, **options)
    assert windows_of(found) == [[ids] for ids in expected["input_ids"]]
    if name == "bert":
        assert found.type_ids is not None
        assert found.type_ids.tolist() == [each for types in expected["token_type_ids"] for each in types]
    else:
        assert found.type_ids is None
    whole = [len(ids) for ids in tokenizer(first, second)["input_ids"]]
    assert found.full_lengths.tolist() == whole
    assert found.cut_rows.tolist() == [row for row, length in enumerate(whole) if length > max_length]


def test_rule_of_the_settings() -> None:
    data = DataSettings(max_seq_length=64, long_texts="windows", doc_stride=8, max_windows=3)
    assert find_length_rule(data) == LengthRule(64, "windows", 8, 3)
    assert LengthRule(64).kept_length(2) == 64
    assert LengthRule(64, "windows", 8, 3).kept_length(2) == 64 + 2 * (62 - 8)


def test_a_tokenizer_that_does_not_know_the_letter_a_is_refused() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE({"x": 0}, [])))
    with pytest.raises(ConfigError, match="its special tokens cannot be told from a text: 'a' becomes "):
        find_special_tokens(tokenizer)


def make_rows(rule: LengthRule, targets: np.ndarray) -> LabelledRows:
    texts = tokenize_texts(TOKENIZERS["bert"], ["good", "good bad film plot a good", "bad film"], rule=rule)
    places = Places(("a.csv",), np.zeros(3, np.int32), np.array([2, 3, 4]))
    return LabelledRows(texts, targets, places, padding_id=0)


def test_a_batch_of_windows() -> None:
    rows = make_rows(LengthRule(5, "windows", 1, 9), np.array([0, 1, 0]))
    batch = rows.__getitems__([1, 2, FILLER])
    # [CLS] 2, [SEP] 3; a text of 6 tokens is 3 windows: 0-2, 2-4 and 4-5
    assert batch["input_ids"].tolist() == [
        [2, 4, 5, 6, 3],
        [2, 6, 7, 9, 3],
        [2, 9, 4, 3, 0],
        [2, 5, 6, 3, 0],
        [2, 4, 3, 0, 0],
    ]
    assert batch["attention_mask"].sum(dim=1).tolist() == [5, 5, 4, 4, 3]
    assert batch["window_rows"].tolist() == [0, 0, 0, 1, 2]
    assert batch["labels"].tolist() == [1, 0, -100]
    assert rows.lengths.tolist() == [3, 14, 4]


def test_rows_that_are_one_window_each_have_no_window_rows() -> None:
    assert set(make_rows(LengthRule(5), np.array([0, 1, 0])).__getitems__([0, 1])) == {
        "input_ids",
        "attention_mask",
        "labels",
    }


def test_a_filler_has_no_labels_and_leaves_the_targets_alone() -> None:
    targets = np.array([[1, 0], [0, 0], [1, 1]], dtype=np.float32)
    labels = make_rows(LengthRule(5), targets).__getitems__([FILLER, 2])["labels"]
    assert labels[0].isnan().all() and labels[1].tolist() == [1, 1]
    numbers = np.array([-100.0, 1.5, 0.0], dtype=np.float32)  # -100 is a number like any other
    labels = make_rows(LengthRule(5), numbers).__getitems__([0, FILLER])["labels"]
    assert labels[0] == -100 and labels[1].isnan()
    assert targets[0].tolist() == [1, 0] and numbers[0] == -100


def test_types_are_padded_beside_their_tokens() -> None:
    texts = tokenize_texts(TOKENIZERS["bert"], ["good", "bad"], text_pairs=["film plot", "a"], rule=LengthRule(9))
    places = Places(("a.csv",), np.zeros(2, np.int32), np.array([2, 3]))
    batch = LabelledRows(texts, np.array([0, 1]), places, padding_id=0).__getitems__([0, 1])
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0]]
