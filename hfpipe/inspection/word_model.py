"""What the words of a text let expect of its label, said of each row by models that were not trained on it.

TF-IDF of words and pairs of words, logistic regression (ridge for numbers), five folds. The weights of words are
counted over all rows, which uses no label. It is a yardstick for labels, not the baseline that a run is compared with.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from tqdm.auto import tqdm

from hfpipe.data.progress import progress_options

FOLDS = 5
_MOST_WORDS = 50_000
_READ_CHARACTERS = 10_000
# weaker than scikit-learn's 1.0: probabilities of short texts are otherwise all near the middle
_STRENGTH = 5.0
_MOST_ITERATIONS = 300


def weigh_words(texts: Sequence[str]) -> csr_matrix | None:
    """Return TF-IDF weights (rows, words) of the head of each text; None where no word stands in two texts."""
    rare = 2 if len(texts) < 10_000 else 5
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        min_df=rare,
        max_features=_MOST_WORDS,
        sublinear_tf=True,
        token_pattern=r"(?u)\b\w+\b",
        dtype=np.float32,
    )
    heads = (text[:_READ_CHARACTERS] for text in texts)
    bar = tqdm(heads, desc="weighing words", total=len(texts), unit="text", **progress_options())
    try:
        return vectorizer.fit_transform(bar)
    except ValueError:
        # the one way to learn that no word is left; the matrix has no other fault by construction
        return None


def predict_out_of_fold(weights: csr_matrix, ids: np.ndarray, *, seed: int) -> np.ndarray:
    """Return probabilities (rows, classes) for class `ids` (rows,), each of which has at least `FOLDS` rows."""
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
    mean, spread = float(numbers.mean()), float(numbers.std()) or 1.0
    # squares of numbers as large as a float32 holds are beyond one
    scaled = ((numbers - mean) / spread).astype(np.float32)
    predicted = np.zeros(len(numbers))
    folds = KFold(FOLDS, shuffle=True, random_state=seed).split(weights)
    for train, held in tqdm(folds, desc="judging numbers", total=FOLDS, unit="fold", **progress_options()):
        model = Ridge(alpha=1.0, solver="sparse_cg", random_state=seed).fit(weights[train], scaled[train])
        predicted[held] = model.predict(weights[held])
    return predicted * spread + mean
