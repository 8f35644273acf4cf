"""Labels that are likely wrong, by confident learning over a model of words; numbers far from what words let expect.

A row is judged by models that have not seen it, nor a copy of it. Where the words tell little of the label nothing is
said: the rule would list noise. Refuses nothing.
"""

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from hfpipe.config.sections import REGRESSION
from hfpipe.data.duplicates import find_repeats
from hfpipe.inspection.classes import Classes, find_classes
from hfpipe.inspection.confident_learning import doubt_labels
from hfpipe.inspection.inspected import Inspected
from hfpipe.inspection.record import LOOK, Finding, NotLookedFor
from hfpipe.inspection.reporting import ALL_PARTS, PooledRows, found_row, percent, severity_by_share
from hfpipe.inspection.word_model import FOLDS, predict_numbers_out_of_fold, predict_out_of_fold, weigh_words

KIND = "label_error"
FEWEST_TEXTS = 50
# robust z-score of a residual; a normal one reaches it in 1 of 1.7 million rows
_FAR = 5.0
_LEAST_EXPLAINED = 0.2
# of the error of always saying the commonest label, how much the words must take away
_LEAST_GAIN = 0.2
_SOURCE = "confident learning (Northcutt et al. 2021)"


def find_label_errors(inspected: Inspected, *, most_rows: int, seed: int) -> Iterator[Finding | NotLookedFor]:
    """Yield the rows whose label is likely wrong, worst first, or why none could be looked for.

    Beyond `most_rows` a sample of so many is judged, drawn by `seed`.
    """
    if inspected.problem_type is None or any(len(part.answers) != len(part) for part in inspected.parts):
        return
    pooled = PooledRows(inspected.parts)
    inputs = [text for part in inspected.parts for text in part.inputs]
    answers = [answer for part in inspected.parts for answer in part.answers]
    rows = _choose(inputs, answers, most_rows=most_rows, seed=seed)
    if len(rows) < FEWEST_TEXTS:
        yield NotLookedFor(KIND, f"{len(rows):,} different texts are too few to judge labels by")
        return
    weights = weigh_words([_text(pooled, row) for row in rows])
    if weights is None:
        yield NotLookedFor(KIND, "no word stands in two texts")
        return
    chosen = [answers[row] for row in rows]
    if inspected.problem_type == REGRESSION:
        yield from _far_numbers(pooled, rows, weights, np.array(chosen, dtype=np.float64), seed=seed)
    else:
        yield from _doubted(inspected, rows, weights, chosen, seed=seed)


def _choose(inputs: Sequence[Hashable], answers: Sequence[Hashable], *, most_rows: int, seed: int) -> np.ndarray:
    """Return the first rows of equal texts, without those that contradict each other, and at most so many."""
    conflicting, duplicate = find_repeats(inputs, answers)
    rows = np.setdiff1d(np.arange(len(inputs)), np.concatenate([conflicting, duplicate]))
    if len(rows) <= most_rows:
        return rows
    return np.sort(np.random.Generator(np.random.Philox(seed)).choice(rows, most_rows, replace=False))


def _text(pooled: PooledRows, row: int) -> str:
    part, own = pooled.locate(int(row))
    return part.texts[own] if part.text_pairs is None else f"{part.texts[own]}\n{part.text_pairs[own]}"


def _doubted(
    inspected: Inspected, rows: np.ndarray, weights: csr_matrix, answers: Sequence[Hashable], *, seed: int
) -> Iterator[Finding | NotLookedFor]:
    pooled, found, judged = PooledRows(inspected.parts), [], []
    unclear: list[str] = []
    for classes in find_classes(answers, inspected.problem_type):
        kept = _large_enough(classes)
        if len(set(classes.ids[kept].tolist())) < 2:
            continue
        ids = np.unique(classes.ids[kept], return_inverse=True)[1]
        names = [classes.names[label] for label in np.unique(classes.ids[kept])]
        probabilities = predict_out_of_fold(weights[kept], ids, seed=seed)
        right = float((probabilities.argmax(axis=1) == ids).mean())
        base = float(np.bincount(ids).max() / len(ids))
        if 1 - right > (1 - _LEAST_GAIN) * (1 - base):
            unclear.append(
                f"a model of words is right in {percent(right)} of rows, the commonest label in {percent(base)}"
            )
            continue
        judged.append(right)
        doubts = doubt_labels(probabilities, ids)
        for row, likelier in zip(doubts.rows, doubts.likelier, strict=True):
            own, other = probabilities[row, ids[row]], probabilities[row, likelier]
            note = f"labelled {names[ids[row]]!r} ({own:.2f}); the words say {names[likelier]!r} ({other:.2f})"
            found.append((float(own), int(rows[kept[row]]), note))
    if not judged:
        reason = unclear[0] if unclear else f"fewer than two labels have {FOLDS} rows"
        yield NotLookedFor(KIND, f"{reason}: too little to doubt labels by")
    elif found:
        yield _finding(pooled, sorted(found), judged=len(rows), right=float(np.mean(judged)))


def _large_enough(classes: Classes) -> np.ndarray:
    """Return the rows whose class has one for each fold."""
    counts = np.bincount(classes.ids, minlength=len(classes.names))
    return np.flatnonzero(counts[classes.ids] >= FOLDS)


def _finding(pooled: PooledRows, found: Sequence[tuple[float, int, str]], *, judged: int, right: float) -> Finding:
    rows = tuple(found_row(*pooled.locate(row), note) for _, row, note in found)
    count = len({row for _, row, _ in found})
    detail = (
        f"{_SOURCE} over a model of words that is right in {percent(right)} of the rows it has not seen; "
        "the surest first. Hard texts are among them, the more the further down"
    )
    severity = severity_by_share(count / judged, look=0.005)
    remedy = (
        "read them from the top, and correct what is wrong; a wrong label in a test set costs as much as in training"
    )
    return Finding(
        KIND, severity, ALL_PARTS, "labels that may be wrong, the likeliest first", count, judged, detail, remedy, rows
    )


def _far_numbers(
    pooled: PooledRows, rows: np.ndarray, weights: csr_matrix, numbers: np.ndarray, *, seed: int
) -> Iterator[Finding | NotLookedFor]:
    predicted = predict_numbers_out_of_fold(weights, numbers, seed=seed)
    residuals = numbers - predicted
    explained = 1 - float(residuals.var() / numbers.var()) if numbers.var() > 0 else 0.0
    if explained < _LEAST_EXPLAINED:
        reason = (
            f"a model of words explains {percent(max(explained, 0.0))} of the variance: too little to doubt numbers by"
        )
        yield NotLookedFor(KIND, reason)
        return
    centred = residuals - np.median(residuals)
    spread = 1.4826 * float(np.median(np.abs(centred)))
    distances = np.abs(centred) / spread if spread > 0 else np.zeros(len(centred))
    far = np.flatnonzero(distances > _FAR)
    ranked = far[np.argsort(-distances[far], kind="stable")]
    found = tuple(
        found_row(*pooled.locate(int(rows[row])), f"{numbers[row]:.4g}; the words say {predicted[row]:.4g}")
        for row in ranked
    )
    if not found:
        return
    detail = (
        f"over {_FAR:g} robust standard deviations from what a model of words says, which explains {percent(explained)}"
    )
    remedy = "read them from the top, and correct what is wrong"
    title = "numbers far from what the words let expect"
    yield Finding(KIND, LOOK, ALL_PARTS, title, len(found), len(rows), detail, remedy, found)
