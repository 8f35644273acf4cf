"""What a model has to beat: the most frequent answer, and a linear model on counted words. No torch, no GPU.

TF-IDF counts words and pairs of words; logistic regression (ridge regression of numbers) weighs them, its strength
chosen on rows held out of the training part. Whole texts are read, pairs joined. Refuses nothing: a label that the
training part has not, or a text without words, gets the frequencies. The one decision: one thread and one seed, so that
the same rows give the same bits on any number of cores, and so many rows that it takes minutes at most.
"""

import math
import re
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from hfpipe.config.baseline_models import MAJORITY, TFIDF
from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.data.progress import progress_options

# About two minutes on one core of 2026 for texts of 200 words; more rows hardly change such a model.
MAX_ROWS = 100_000
MAX_CHARACTERS = 100_000_000
MAX_ROWS_TIMES_LABELS = 10_000_000
# L-BFGS keeps some twenty vectors of this length: about 1 GB.
MAX_WEIGHTS = 6_000_000

STRENGTHS = (1.0, 10.0, 100.0)
"""Candidates for the inverse regularisation of logistic regression."""
PENALTIES = (10.0, 1.0, 0.1)
"""Candidates for the regularisation of ridge regression, the strongest first too."""
MIN_ROWS_TO_CHOOSE, MAX_ROWS_TO_CHOOSE = 100, 20_000
_SHARE_HELD_OUT = 0.2
_ROWS_FOR_RARE_WORDS = 1_000
_ROWS_AT_ONCE = 10_000
_MAX_ITERATIONS = 1_000
# What a label that no row has is taken to have: finite, so that the log loss is.
_UNSEEN = 0.5

# Marks above and below letters belong to their word; scripts that put no blanks between words go by letters and pairs.
_MARKS = "\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[\w{_MARKS}])+")


@dataclass(frozen=True)
class TrainingRows:
    """What a baseline is trained on: texts (pairs joined, by `join_pairs`) and targets as in `LabelledPart`."""

    problem_type: str
    label_count: int
    texts: Sequence[str]
    targets: np.ndarray


@dataclass(frozen=True)
class ClassicalModel:
    """A trained baseline.

    `parameters` are the numbers it has learnt, `train_seconds` those of counting, choosing and fitting; `note` says how
    it was trained. `score_texts` returns logits of joined texts.
    """

    name: str
    title: str
    parameters: int
    train_seconds: float
    note: str
    score_texts: Callable[[Sequence[str]], np.ndarray]

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        """Return (rows, labels) float32, of a number to predict (rows, 1), as a model's outputs are read."""
        return self.score_texts(join_pairs(texts, pairs)).astype(np.float32)


def join_pairs(texts: Sequence[str], pairs: Sequence[str] | None) -> Sequence[str]:
    """Return each text with its second one, where there are such."""
    return texts if pairs is None else [f"{text}\n{pair}" for text, pair in zip(texts, pairs, strict=True)]


def fit_majority(rows: TrainingRows) -> ClassicalModel:
    """Return what answers every text alike: by the frequency of each label in the training part, or with the mean.

    The softmax (of several labels a row the sigmoid) of its logits is these frequencies, so its log loss is the entropy
    of the labels.
    """
    started = time.perf_counter()
    answer = _frequencies(rows)
    seconds = time.perf_counter() - started
    titles = {MULTI_LABEL: "majority of each label", REGRESSION: "mean of the training part"}
    title = titles.get(rows.problem_type, "majority class")
    note = f"{len(rows.texts):,} rows"
    return ClassicalModel(MAJORITY, title, len(answer), seconds, note, lambda texts: np.tile(answer, (len(texts), 1)))


def fit_tfidf(rows: TrainingRows, *, seed: int) -> ClassicalModel:
    """Return a linear model on the words and pairs of words of a text, trained on at most `MAX_ROWS` rows.

    More than that are sampled by `seed`, and the title says so. A word counts by the logarithm of its occurrences and
    of its rarity (Salton and Buckley 1988); from 1,000 rows on it has to be in two texts.
    """
    started = time.perf_counter()
    with threadpool_limits(1):
        sampled = _sample(rows, seed)
        vectorizer, features = _count_words(sampled)
        strength = _choose_strength(sampled, features, seed=seed)
        model = _fit(sampled, features, strength)
    seconds = time.perf_counter() - started

    def score(texts: Sequence[str]) -> np.ndarray:
        parts = [np.zeros((0, rows.label_count))]
        with threadpool_limits(1):
            for start in range(0, len(texts), _ROWS_AT_ONCE):
                words = vectorizer.transform(texts[start : start + _ROWS_AT_ONCE])
                parts.append(model.score(words, rows.label_count))
        return np.concatenate(parts)

    kind = "ridge" if rows.problem_type == REGRESSION else "logistic"
    count, whole = len(sampled.texts), len(rows.texts)
    told = "" if count == whole else f" ({count:,} of {whole:,} rows)"
    penalty = "alpha" if rows.problem_type == REGRESSION else "C"
    note = f"{count:,} rows, {features.shape[1]:,} words and pairs of words, {penalty} {strength:g}"
    return ClassicalModel(TFIDF, f"TF-IDF + {kind} regression{told}", model.parameters, seconds, note, score)


def _frequencies(rows: TrainingRows) -> np.ndarray:
    """Return the logits (labels,) that stand for the frequencies of the labels, of numbers their mean."""
    targets, count = rows.targets, len(rows.targets)
    if rows.problem_type == REGRESSION:
        return np.array([targets.mean(dtype=np.float64)])
    if rows.problem_type == MULTI_LABEL:
        return _frequencies_of_labels(targets)
    assert rows.problem_type == SINGLE_LABEL, "there are three problems"
    counts = np.bincount(targets, minlength=rows.label_count)
    return np.log(np.maximum(counts, _UNSEEN) / count)


def _frequencies_of_labels(targets: np.ndarray) -> np.ndarray:
    present = targets.sum(axis=0, dtype=np.float64).clip(_UNSEEN, len(targets) - _UNSEEN)
    return np.log(present) - np.log(len(targets) - present)


def _sample(rows: TrainingRows, seed: int) -> TrainingRows:
    """Return the rows, or a sample of them that is drawn by `seed`, in their order."""
    limit = min(MAX_ROWS, max(MAX_ROWS_TIMES_LABELS // rows.label_count, 1))
    order = np.random.default_rng(seed).permutation(len(rows.texts))
    lengths = np.array([len(rows.texts[row]) for row in order[:limit]])
    fitting = int(np.searchsorted(lengths.cumsum(), MAX_CHARACTERS, side="right"))
    if fitting == len(order):
        return rows
    kept = np.sort(order[: max(fitting, 1)])
    texts = [rows.texts[row] for row in kept]
    return TrainingRows(rows.problem_type, rows.label_count, texts, rows.targets[kept])


def _count_words(rows: TrainingRows) -> tuple[TfidfVectorizer, Any]:
    fewest = 2 if len(rows.texts) >= _ROWS_FOR_RARE_WORDS else 1
    try:
        return _vectorize(rows, fewest)
    except ValueError:  # scikit-learn's word for: no word is in two texts
        if fewest == 1:
            raise
    return _vectorize(rows, 1)


def _vectorize(rows: TrainingRows, fewest: int) -> tuple[TfidfVectorizer, Any]:
    vectorizer = TfidfVectorizer(
        tokenizer=find_words,
        token_pattern=None,
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=fewest,
        max_features=max(MAX_WEIGHTS // rows.label_count, 1),
    )
    bar = tqdm(rows.texts, "counting words", unit=" texts", **progress_options())
    return vectorizer, vectorizer.fit_transform(bar)


def find_words(text: str) -> list[str]:
    """Return the words of a text in order; a text without any has one that is empty, so that it can be told."""
    return _WORD.findall(text) or [""]


@dataclass(frozen=True)
class _Linear:
    """Weights (features, labels) and offsets (labels,).

    Where a row has one label, `seen` are those that had rows, and only these have weights; the others get the
    logarithm `unseen`.
    """

    weights: np.ndarray
    offsets: np.ndarray
    parameters: int
    seen: np.ndarray | None = None
    unseen: float = 0.0

    def score(self, features: Any, label_count: int) -> np.ndarray:
        """Return logits (rows, labels)."""
        values = np.asarray(features @ self.weights + self.offsets)
        if self.seen is None:
            return values
        # normed, so that what stands for a label without rows means the same for every text
        scores = np.full((len(values), label_count), self.unseen)
        scores[:, self.seen] = special.log_softmax(values, axis=1)
        return scores


def _fit(rows: TrainingRows, features: Any, strength: float) -> _Linear:
    fits = {SINGLE_LABEL: _fit_classes, MULTI_LABEL: _fit_labels, REGRESSION: _fit_numbers}
    with warnings.catch_warnings():
        # after 1,000 iterations the rest is beyond the digits that scores have
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fits[rows.problem_type](features, rows.targets, strength)


def _fit_numbers(features: Any, targets: np.ndarray, strength: float) -> _Linear:
    ridge = Ridge(alpha=strength, solver="sparse_cg", tol=1e-6).fit(features, targets.astype(np.float64))
    return _Linear(ridge.coef_.reshape(-1, 1), np.atleast_1d(ridge.intercept_), features.shape[1] + 1)


def _fit_labels(features: Any, targets: np.ndarray, strength: float) -> _Linear:
    """Fit each label for itself; one that every row has, or none, keeps its frequency."""
    offsets = _frequencies_of_labels(targets)
    weights = np.zeros((features.shape[1], targets.shape[1]))
    for label in range(targets.shape[1]):
        has_label = targets[:, label] > 0
        if has_label.any() and not has_label.all():
            found = LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS).fit(features, has_label)
            weights[:, label], offsets[label] = found.coef_[0], found.intercept_[0]
    return _Linear(weights, offsets, weights.size + offsets.size)


def _fit_classes(features: Any, targets: np.ndarray, strength: float) -> _Linear:
    seen, unseen = np.unique(targets), math.log(_UNSEEN / len(targets))
    if len(seen) == 1:
        return _Linear(np.zeros((features.shape[1], 1)), np.zeros(1), 0, seen, unseen)
    found = LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS).fit(features, targets)
    weights, offsets = found.coef_.T, found.intercept_
    if len(seen) == 2:  # one column, the logit of the second class
        weights, offsets = np.hstack([-weights, weights]) / 2, np.array([-offsets[0], offsets[0]]) / 2
    return _Linear(weights, offsets, found.coef_.size + found.intercept_.size, seen, unseen)


def _choose_strength(rows: TrainingRows, features: Any, *, seed: int) -> float:
    """Return the candidate that does best on a fifth of (at most 20,000 of) the rows, trained on the others."""
    candidates = PENALTIES if rows.problem_type == REGRESSION else STRENGTHS
    if len(rows.texts) < MIN_ROWS_TO_CHOOSE:
        return candidates[1]
    order = np.random.default_rng([seed, 1]).permutation(len(rows.texts))[:MAX_ROWS_TO_CHOOSE]
    split = round(len(order) * _SHARE_HELD_OUT)
    held_out, others = np.sort(order[:split]), np.sort(order[split:])
    kept = TrainingRows(rows.problem_type, rows.label_count, (), rows.targets[others])
    losses = [
        _loss(rows, _fit(kept, features[others], strength).score(features[held_out], rows.label_count), held_out)
        for strength in candidates
    ]
    return candidates[int(np.argmin(losses))]


def _loss(rows: TrainingRows, logits: np.ndarray, chosen: np.ndarray) -> float:
    """Return the mean loss of the `chosen` rows: nats, of numbers the squared error."""
    targets = rows.targets[chosen]
    if rows.problem_type == REGRESSION:
        return float(((logits[:, 0] - targets) ** 2).mean())
    if rows.problem_type == MULTI_LABEL:
        return float((np.logaddexp(0, logits) - logits * targets).mean())
    return -float(special.log_softmax(logits, axis=1)[np.arange(len(targets)), targets].mean())
