"""Each metric as an offline `evaluate.Metric` object.

`evaluate.load` is never called: it needs the network even for what it has cached. Refuses unknown names. A metric of
probabilities takes a list of floats, one a label, for a prediction. These objects are for code that speaks evaluate's
language; hfpipe itself calls the functions, which copy no rows.
"""

import tempfile
from collections.abc import Mapping
from typing import Any

import datasets
import evaluate
import numpy as np

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.errors import ConfigError, Problem
from hfpipe.evaluation.metrics import PREDICTION_METRICS, PROBABILITY_METRICS, Score

_VALUES: Mapping[str, datasets.Value | datasets.List] = {
    SINGLE_LABEL: datasets.Value("int64"),
    MULTI_LABEL: datasets.List(datasets.Value("int8")),
    REGRESSION: datasets.Value("float64"),
}


class ScikitLearnMetric(evaluate.Metric):
    """One metric as an `evaluate.Metric` that keeps its rows in memory; make it with `load_metric`."""

    def __init__(self, score: Score, problem_type: str, cache_dir: str) -> None:
        self._score = score
        self._reference = _VALUES[problem_type]
        judges = score in PROBABILITY_METRICS[problem_type].values()
        self._prediction = datasets.List(datasets.Value("float64")) if judges else self._reference
        super().__init__(config_name=score.__name__, keep_in_memory=True, cache_dir=cache_dir)

    def _info(self) -> evaluate.MetricInfo:
        described = (self._score.__doc__ or "").strip()
        features = datasets.Features({"predictions": self._prediction, "references": self._reference})
        # Format numpy: scikit-learn would otherwise convert a list of Python integers for every metric; evaluate has it
        # for single values only.
        kept = "numpy" if isinstance(self._prediction, datasets.Value) else None
        return evaluate.MetricInfo(
            description=described, citation="", inputs_description="", features=features, format=kept
        )

    def _compute(
        self, *, predictions: np.ndarray | None = None, references: np.ndarray | None = None, **_: Any
    ) -> dict[str, float]:
        assert predictions is not None and references is not None
        return {self._score.__name__: self._score(np.asarray(references), np.asarray(predictions))}


def load_metric(name: str, problem_type: str = SINGLE_LABEL) -> evaluate.Metric:
    """Return the named metric of a problem as a new `evaluate.Metric`; it needs no network and leaves no files.

    Each call returns an object of its own, so two threads or two runs never share one.

    Raises:
        ConfigError: If there is no metric of that name.
    """
    known = {**PREDICTION_METRICS[problem_type], **PROBABILITY_METRICS[problem_type]}
    if name not in known:
        names = ", ".join(known)
        raise ConfigError(Problem(place="metric", value=repr(name), rule="no such metric", remedy=f"there are {names}"))
    # evaluate makes a folder when a metric is built, even for one that never writes to it.
    with tempfile.TemporaryDirectory() as folder:
        return ScikitLearnMetric(known[name], problem_type, folder)
