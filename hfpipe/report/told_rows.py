"""The rows a report tells of: where the model was surest and wrong, and where it was least sure.

Refuses nothing. The same rows are explained at the end of a run (which words spoke for the answer) and shown by every
later report, so which ones they are depends on the predictions alone. Ties go to the row that comes first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.evaluation.classifier_scores import LogitReading
from hfpipe.evaluation.predictions import Predictions
from hfpipe.evaluation.probabilities import judge_answers, to_probabilities
from hfpipe.inference.decisions import THRESHOLD

Kind = Literal["error", "uncertain"]

ROWS_OF_A_KIND = 5


@dataclass(frozen=True)
class ToldRow:
    """A row worth telling of: its number in the part, and the label (a column of the logits) it is about.

    `score` is the model's for that label: a probability, or under regression the number.
    """

    kind: Kind
    row: int
    label: int
    score: float


@dataclass(frozen=True)
class ScoredPart:
    """The predictions of a part as probabilities at a temperature; under regression as the numbers themselves.

    Answers are those of `predict`: the likeliest label, labels of a half and more, or what the `thresholds` give.
    """

    predictions: Predictions
    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def scores(self) -> np.ndarray:
        """Probabilities (rows, labels) float64, or numbers (rows, 1)."""
        logits = self.predictions.logits.astype(np.float64)
        if self.predictions.problem_type == REGRESSION:
            return logits
        return to_probabilities(self.predictions.problem_type, logits / self.temperature)

    @cached_property
    def answers(self) -> np.ndarray:
        """The labels given: ids (rows,), or of several labels whether each is given, (rows, labels)."""
        own = self.predictions
        if own.problem_type == MULTI_LABEL:
            return self.scores >= self._limits
        reading = LogitReading(own.problem_type, tuple(own.label_names), self.temperature, self.thresholds)
        given: np.ndarray = reading.decide(own.logits).argmax(axis=1)
        return given

    @cached_property
    def is_right(self) -> np.ndarray:
        """Whether each answer is right: (rows,) of one label a row, (rows, labels) of several."""
        if self.predictions.problem_type == MULTI_LABEL:
            return self.answers == (self.predictions.targets > 0.5)
        right: np.ndarray = self.answers == self.predictions.targets
        return right

    @cached_property
    def confidence(self) -> tuple[np.ndarray, np.ndarray]:
        """How sure the model is of the likeliest label and whether that is right, float64 (answers,).

        Of several labels a row each is one: how sure that it is there, and whether it is. No threshold has a say: this
        is about the probabilities.
        """
        return judge_answers(self.predictions.problem_type, self.predictions.targets, self.scores)

    @property
    def _limits(self) -> np.ndarray:
        """From which probability on each label is given, (labels,)."""
        return np.array([self.thresholds.get(name, THRESHOLD) for name in self.predictions.label_names])

    def find_told_rows(self, count: int = ROWS_OF_A_KIND) -> list[ToldRow]:
        """Return the most confident errors and the least certain rows, so many of each, worst first."""
        problem_type = self.predictions.problem_type
        if not len(self.predictions):
            return []
        if problem_type == REGRESSION:
            return self._largest_misses(count)
        if problem_type == MULTI_LABEL:
            return self._worst_labels(count)
        return self._worst_answers(count)

    def _worst_answers(self, count: int) -> list[ToldRow]:
        best = self.answers
        surest = self.scores[np.arange(len(best)), best]
        wrong = _largest(np.where(self.is_right, -1.0, surest), count)
        unsure = _largest(-self._margins(), count)
        errors = [ToldRow("error", row, int(best[row]), float(surest[row])) for row in wrong if not self.is_right[row]]
        return errors + [ToldRow("uncertain", row, int(best[row]), float(surest[row])) for row in unsure]

    def _margins(self) -> np.ndarray:
        """Return how far each row is from another answer, (rows,)."""
        for name, threshold in self.thresholds.items():
            return np.abs(self.scores[:, list(self.predictions.label_names).index(name)] - threshold)
        ordered = np.sort(self.scores, axis=1)
        return ordered[:, -1] - ordered[:, -2] if ordered.shape[1] > 1 else np.ones(len(ordered))

    def _worst_labels(self, count: int) -> list[ToldRow]:
        """Return of each row its worst label, as one that is not there at a probability of 0.9."""
        distance = np.abs(self.scores - self.predictions.targets)
        wrong = np.where(self.is_right, -1.0, distance)
        nearness = -np.abs(self.scores - self._limits)
        found = []
        for kind, values in (("error", wrong), ("uncertain", nearness)):
            worst = values.argmax(axis=1)
            for row in _largest(values.max(axis=1), count):
                label = int(worst[row])
                if kind == "uncertain" or not self.is_right[row, label]:
                    found.append(ToldRow(kind, row, label, float(self.scores[row, label])))  # type: ignore[arg-type]
        return found

    def _largest_misses(self, count: int) -> list[ToldRow]:
        misses = np.abs(self.scores[:, 0] - self.predictions.targets)
        return [
            ToldRow("error", row, 0, float(self.scores[row, 0])) for row in _largest(misses, count) if misses[row] > 0
        ]


def _largest(values: np.ndarray, count: int) -> list[int]:
    return [int(row) for row in np.argsort(-values, kind="stable")[:count]]
