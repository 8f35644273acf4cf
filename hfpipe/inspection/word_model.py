"""What the words of a text let expect of its label, said of each row by models that were not trained on it.

TF-IDF of words and pairs of words, logistic regression (ridge for numbers), five folds. The weights of words are
counted over all rows, which uses no label. It is a yardstick for labels, not the baseline that a run is compared with.
scikit-learn takes half a second to import, which a look at rows without labels does not wait for.
"""

import re
import warnings
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from tqdm.auto import tqdm

from hfpipe.data.progress import progress_options
from hfpipe.inspection.word_counts import count_words_and_pairs, read_words

FOLDS = 5
_MOST_WORDS = 50_000
_READ_CHARACTERS = 10_000
# weaker than scikit-learn's 1.0: probabilities of short texts are otherwise all near the middle
_STRENGTH = 5.0
_MOST_ITERATIONS = 300
_WORD = re.compile(r"\w+")


def weigh_words(texts: Sequence[str]) -> csr_matrix | None:
    """Return TF-IDF weights (rows, words) of the head of each text; None where no word stands in two texts."""
    from sklearn.feature_extraction.text import TfidfTransformer

    rare = 2 if len(texts) < 10_000 else 5
    heads = (text[:_READ_CHARACTERS] for text in texts)
    bar = tqdm(heads, desc="weighing words", total=len(texts), unit="text", **progress_options())
    found = count_words_and_pairs(read_words(bar, _WORD), fewest_rows=rare).limit(_MOST_WORDS)
    return TfidfTransformer(sublinear_tf=True).fit_transform(found.counts) if len(found.keys) else None


def predict_out_of_fold(weights: csr_matrix, ids: np.ndarray, *, seed: int) -> np.ndarray:
    """Return probabilities (rows, classes) for class `ids` (rows,), each of which has at least `FOLDS` rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    classes = int(ids.max()) + 1
    probabilities = np.zeros((len(ids), classes))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(weights, ids)
    for train, held in tqdm(folds, desc="judging labels", total=FOLDS, unit="fold", **progress_options()):
        solver = "liblinear" if classes == 2 else "lbfgs"
        model = LogisticRegression(C=_STRENGTH, solver=solver, max_iter=_MOST_ITERATIONS, tol=1e-3, random_state=seed)
        with warnings.catch_warnings():
            # a model that would have become a little better still judges
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(weights[train], ids[train])
        probabilities[held] = model.predict_proba(weights[held])
    return probabilities


def predict_numbers_out_of_fold(weights: csr_matrix, numbers: np.ndarray, *, seed: int) -> np.ndarray:
    """Return a number for each row, by models of the other rows' numbers."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold

    mean, spread = float(numbers.mean()), float(numbers.std()) or 1.0
    # squares of numbers as large as a float32 holds are beyond one
    scaled = ((numbers - mean) / spread).astype(np.float32)
    predicted = np.zeros(len(numbers))
    folds = KFold(FOLDS, shuffle=True, random_state=seed).split(weights)
    for train, held in tqdm(folds, desc="judging numbers", total=FOLDS, unit="fold", **progress_options()):
        model = Ridge(alpha=1.0, solver="sparse_cg", random_state=seed).fit(weights[train], scaled[train])
        predicted[held] = model.predict(weights[held])
    return predicted * spread + mean
