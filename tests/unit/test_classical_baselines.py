"""Baselines without a network: exact frequencies, words of many scripts, the same bits, and data that breaks others."""

import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import log_loss

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation import classical
from hfpipe.evaluation.classical import (
    STRENGTHS,
    ClassicalModel,
    TrainingRows,
    find_words,
    fit_majority,
    fit_tfidf,
)

SEED = 7
COLOURS = ("red", "green", "blue")


def make_rows(count: int, *, labels: int = 3, seed: int = SEED) -> TrainingRows:
    """Return texts of noise words and one word that tells the label in nine of ten rows."""
    drawn = np.random.default_rng(seed)
    targets = drawn.integers(labels, size=count)
    told = np.where(drawn.random(count) < 0.9, targets, drawn.integers(labels, size=count))
    noise = drawn.integers(50, size=(count, 6))
    texts = [f"{COLOURS[word]} {' '.join(f'w{each}' for each in row)}" for word, row in zip(told, noise, strict=True)]
    return TrainingRows(SINGLE_LABEL, labels, texts, targets)


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits.astype(np.float64))
    return raised / raised.sum(axis=1, keepdims=True)


def test_the_majority_of_one_label_is_its_frequencies() -> None:
    targets = np.array([0] * 6 + [1] * 3 + [3])
    model = fit_majority(TrainingRows(SINGLE_LABEL, 4, ["text"] * 10, targets))
    logits = model.logits(["anything", ""])
    assert (model.title, model.parameters, logits.dtype, logits.shape) == ("majority class", 4, np.float32, (2, 4))
    assert logits[0] == pytest.approx(np.log([0.6, 0.3, 0.05, 0.1]))  # a label without rows counts as half a row
    assert (logits[0] == logits[1]).all()
    entropy = -(0.6 * math.log(0.6) + 0.3 * math.log(0.3) + 0.1 * math.log(0.1))
    predicted = model.logits(["text"] * 10)
    assert -np.mean(predicted[np.arange(10), targets]) == pytest.approx(entropy)


def test_the_majority_of_several_labels_and_of_numbers() -> None:
    targets = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 1]], dtype=np.float32)
    several = fit_majority(TrainingRows(MULTI_LABEL, 3, ["text"] * 4, targets)).logits(["text"])
    assert several[0] == pytest.approx([math.log(3.5 / 0.5), math.log(0.5 / 3.5), 0.0])
    numbers = np.array([1.0, 2.0, 6.0], dtype=np.float32)
    model = fit_majority(TrainingRows(REGRESSION, 1, ["text"] * 3, numbers))
    assert (model.title, model.logits(["a", "b"]).tolist()) == ("mean of the training part", [[3.0], [3.0]])


@pytest.mark.parametrize("labels", [2, 3])
def test_words_that_tell_the_label_are_found(labels: int) -> None:
    train, test = make_rows(1_200, labels=labels), make_rows(400, labels=labels, seed=SEED + 1)
    model = fit_tfidf(train, seed=SEED)
    logits = model.logits(test.texts)
    assert (logits.argmax(axis=1) == test.targets).mean() > 0.88  # 0.93 is what can be had
    assert log_loss(test.targets, softmax(logits)) < 0.45
    words = int(model.note.split(" rows, ")[1].split(" words")[0].replace(",", ""))
    assert model.parameters == (words + 1) * (1 if labels == 2 else 3)
    assert model.title == "TF-IDF + logistic regression" and model.train_seconds > 0


def test_the_strength_is_the_one_that_does_best_on_rows_held_out() -> None:
    drawn = np.random.default_rng(SEED)
    texts = [f"a{drawn.integers(30)} b{drawn.integers(30)}" for _ in range(400)]
    clear = TrainingRows(SINGLE_LABEL, 2, texts, np.array([int(text[1:].split()[0]) < 15 for text in texts], dtype=int))
    chance = TrainingRows(SINGLE_LABEL, 2, texts, drawn.integers(2, size=400))
    assert fit_tfidf(clear, seed=SEED).note.endswith(f"C {STRENGTHS[-1]:g}")
    assert fit_tfidf(chance, seed=SEED).note.endswith(f"C {STRENGTHS[0]:g}")


def test_several_labels_are_each_their_own_question() -> None:
    drawn = np.random.default_rng(SEED)
    targets = (drawn.random((600, 4)) < [0.5, 0.2, 0.0, 1.0]).astype(np.float32)
    texts = [
        " ".join([*(f"label{at}" for at in np.flatnonzero(row)), f"w{index % 9}"]) for index, row in enumerate(targets)
    ]
    model = fit_tfidf(TrainingRows(MULTI_LABEL, 4, texts, targets), seed=SEED)
    assert ((model.logits(texts) >= 0) == targets).all()
    # those without a second answer keep their frequency: half a row
    assert model.logits(["nothing known"])[0, 2:] == pytest.approx([-math.log(1199), math.log(1199)])


def test_a_number_is_met_where_words_tell_it() -> None:
    drawn = np.random.default_rng(SEED)
    stars = drawn.integers(1, 6, size=500)
    texts = [f"star{star} w{drawn.integers(20)}" for star in stars]
    model = fit_tfidf(TrainingRows(REGRESSION, 1, texts, stars.astype(np.float32)), seed=SEED)
    found = model.logits(texts)
    assert found.shape == (500, 1) and np.abs(found[:, 0] - stars).max() < 0.2
    assert model.title == "TF-IDF + ridge regression"


def test_the_same_rows_give_the_same_bits_on_any_number_of_threads_and_without_torch() -> None:
    rows = make_rows(600)
    code = (
        "import sys; from test_classical_baselines import SEED, digest, fit_tfidf, make_rows; rows = make_rows(600);"
        "print(digest(fit_tfidf(rows, seed=SEED).logits(rows.texts)), {'torch', 'datasets'} & set(sys.modules))"
    )
    threads = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONHASHSEED": "3"}
    environment = {**threads, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == f"{digest(fit_tfidf(rows, seed=SEED).logits(rows.texts))} set()"


def digest(logits: np.ndarray) -> str:
    return hashlib.sha256(logits.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("texts", "targets"),
    [
        (["one text"], [1]),
        (["good film", "bad film"], [1, 1]),
        (["!!!", "...", "?"], [0, 1, 2]),
        (["", " ", ""], [0, 1, 0]),
        (["all", "unlike", "words"], [0, 1, 2]),
        (["same text"] * 300, [0, 1, 2] * 100),
    ],
)
def test_data_without_anything_to_learn_from_gives_finite_scores(texts: list[str], targets: list[int]) -> None:
    for problem, encoded in (
        (SINGLE_LABEL, np.array(targets)),
        (MULTI_LABEL, np.eye(3, dtype=np.float32)[targets]),
        (REGRESSION, np.array(targets, dtype=np.float32)),
    ):
        rows = TrainingRows(problem, 1 if problem == REGRESSION else 3, texts, encoded)
        for model in (fit_majority(rows), fit_tfidf(rows, seed=SEED)):
            assert np.isfinite(model.logits(["another text", "", "!"])).all()
            assert model.logits([]).shape == (0, rows.label_count)


def test_words_that_are_in_one_text_only_are_taken_where_there_are_no_others() -> None:
    rows = TrainingRows(SINGLE_LABEL, 2, [f"word{index}" for index in range(1_000)], np.arange(1_000) % 2)
    assert "1,000 words" in fit_tfidf(rows, seed=SEED).note


def test_a_label_without_rows_is_never_likely() -> None:
    rows = TrainingRows(SINGLE_LABEL, 3, ["good film", "bad film", "good", "bad"], np.array([0, 2, 0, 2]))
    logits = fit_tfidf(rows, seed=SEED).logits(["good film", "bad"])
    assert logits.argmax(axis=1).tolist() == [0, 2]
    assert logits[:, 1] == pytest.approx(math.log(0.5 / 4))


def test_pairs_are_joined() -> None:
    rows = make_rows(300)
    model = fit_tfidf(rows, seed=SEED)
    halves = [text.split(" ", 1) for text in rows.texts]
    joined = model.logits([first for first, _ in halves], [second for _, second in halves])
    assert (joined == model.logits(rows.texts)).all()


def test_large_data_are_sampled_and_the_title_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical, "MAX_ROWS", 100)
    rows = make_rows(250)
    model = fit_tfidf(rows, seed=SEED)
    assert model.title == "TF-IDF + logistic regression (100 of 250 rows)"
    assert (model.logits(rows.texts) == fit_tfidf(rows, seed=SEED).logits(rows.texts)).all()
    assert (model.logits(rows.texts) != fit_tfidf(rows, seed=SEED + 1).logits(rows.texts)).any()
    monkeypatch.setattr(classical, "MAX_CHARACTERS", len(rows.texts[0]) * 10)
    assert 7 <= rows_of(fit_tfidf(rows, seed=SEED)) <= 13
    monkeypatch.setattr(classical, "MAX_CHARACTERS", 1)
    assert rows_of(fit_tfidf(rows, seed=SEED)) == 1
    monkeypatch.undo()
    monkeypatch.setattr(classical, "MAX_ROWS_TIMES_LABELS", 90)
    assert rows_of(fit_tfidf(rows, seed=SEED)) == 30


def rows_of(model: ClassicalModel) -> int:
    return int(model.note.split(" ")[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't panic, it's 42!", ["Don", "t", "panic", "it", "s", "42"]),
        ("naïve cafe\u0301", ["naïve", "cafe\u0301"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("我喜欢film", ["我", "喜", "欢", "film"]),
        ("これはfilm2", ["こ", "れ", "は", "film2"]),
        ("한국어 영화", ["한국어", "영화"]),
        ("...", [""]),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str]) -> None:
    assert find_words(text) == words
