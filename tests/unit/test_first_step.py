"""What a run waits for before its first step: few imports, and findings as slower ways have them."""

import gc
import importlib
import json
import random
import subprocess
import sys

import numpy as np
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from hfpipe.config import find_recipe_module
from hfpipe.config.entry import quick_imports
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.data.near_duplicates import _sketch
from hfpipe.inspection.word_counts import count_words_and_pairs, read_words
from hfpipe.inspection.word_model import _WORD, weigh_words

SEED, TEXTS = 11, 400
# parts of a recipe, with `open_session` in place of which the process tells what it has imported
TELL = """
import gc, json, sys
for source in sys.argv[1:]:
    code = open(source).read().partition("    session = open_session")[0] + "    pass\\n"
    exec(code, names := {"__name__": "recipe"})
    names["run"](None)
slow = [name for name in ("torch", "sklearn", "scipy.stats", "matplotlib", "evaluate") if name in sys.modules]
print(json.dumps([slow, gc.isenabled(), gc.get_freeze_count() > 100_000]))
"""


def test_what_is_used_after_training_is_not_imported_before() -> None:
    recipes = [str(find_recipe_module(recipe)) for recipe in (PRETRAIN, FINETUNE)]
    told = subprocess.run([sys.executable, "-c", TELL, *recipes], capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == [["torch"], True, True]


def test_where_torch_is_imported_the_garbage_collector_goes_on() -> None:
    importlib.import_module("torch")
    frozen = gc.get_freeze_count()
    with quick_imports():
        assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


SIGNS = ("a", "A", "aa", "a_", "b", "1", "Das", "das", "zz", ".", " ", "\u00e9", "\u0130", "\u4e2d\u6587")
WORDS = st.sampled_from(SIGNS)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=9).map(" ".join), min_size=1, max_size=12))
def test_words_are_weighed_as_scikit_learn_weighs_them(texts: list[str]) -> None:
    assert_same_weights(texts)


def test_words_beyond_the_limit_are_those_scikit_learn_leaves_out() -> None:
    draw = random.Random(SEED)
    texts = [" ".join(str(int(draw.paretovariate(0.35))) for _ in range(draw.randrange(200))) for _ in range(TEXTS)]
    words = read_words(texts, _WORD)
    found = count_words_and_pairs(words, fewest_rows=2).limit(300)
    pattern = _WORD.pattern
    slow = TfidfVectorizer(ngram_range=(1, 2), min_df=2, max_features=300, token_pattern=pattern, dtype=np.float32)
    expected = slow.fit(texts).get_feature_names_out().tolist()
    pairs = [divmod(int(key), len(words.vocabulary) + 1) for key in found.keys]
    names = words.vocabulary
    assert [names[word] + (f" {names[after - 1]}" if after else "") for word, after in pairs] == expected
    assert_same_weights(texts)


def assert_same_weights(texts: list[str]) -> None:
    pattern = r"(?u)\b\w+\b"
    slow = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, max_features=50_000, sublinear_tf=True, token_pattern=pattern, dtype=np.float32
    )
    weights = weigh_words(texts)
    if weights is None:
        words = [word for text in texts for word in set(slow.build_analyzer()(text))]
        assert len(words) == len(set(words))
        return
    expected = slow.fit_transform(texts)
    for name in ("indptr", "indices", "data"):
        # order within a row too: other sums round otherwise
        np.testing.assert_array_equal(getattr(weights, name), getattr(expected, name))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=20), st.sampled_from([1, 60]))
def test_texts_are_sketched_as_the_package_sketches_them(hashes: list[int], times: int) -> None:
    many = np.array([(each * 2654435761 * (1 + time)) % 2**32 for time in range(times) for each in hashes], np.uint32)
    slow = MinHash(num_perm=140, seed=1, hashfunc=int)
    slow.update_batch(many.tolist())
    np.testing.assert_array_equal(_sketch(many, *slow.permutations), slow.hashvalues)
