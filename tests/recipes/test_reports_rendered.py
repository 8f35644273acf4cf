"""Reports in a browser: nothing sticks out on a wide screen or a telephone, nothing is loaded, nothing complains.

Skipped where neither Chromium nor Chrome is installed: there is no other way to see a page.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import check_untouched, find_chromium, render
from report_runs import HOSTILE, make_evaluation, make_predictions, save_classifier_run, save_language_run

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.evaluation.record import ThresholdsRecord, write_evaluation
from hfpipe.report.page import build_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed"),
]

WIDTHS = (1280, 400)
SMALLEST_LETTERS = 9.0
LONG = "Donaudampfschifffahrtsgesellschaftskapitaen" * 3
TOPICS = tuple(f"topic {place} of many" for place in range(11))


def long_words(folder: Path) -> Path:
    """Return a run whose name, labels and texts have no place to be broken at."""
    return save_classifier_run(folder / f"run-{LONG}", make_predictions(labels=(LONG, HOSTILE, "pos")))


def long_names(folder: Path) -> Path:
    """Return a run whose model has a name as on the Hub, and thresholds."""
    predictions = make_predictions(labels=("not recommended", "recommended"))
    run = save_classifier_run(folder / "imdb-minilm", predictions)
    record = make_evaluation(predictions, "accuracy", 0.8)
    model = replace(record.model, title="organisation/transformers_of_sentences")
    thresholds = ThresholdsRecord("precision_at_recall=0.9", {"recommended": 0.3}, {})
    write_evaluation(run, replace(record, model=model, thresholds=thresholds))
    return run


RUNS: Mapping[str, Callable[[Path], list[Path]]] = {
    "classifier": lambda folder: [save_classifier_run(folder / "reviews", make_predictions())],
    "many labels": lambda folder: [save_classifier_run(folder / "topics", make_predictions(labels=TOPICS))],
    "long names": lambda folder: [long_names(folder)],
    "long words": lambda folder: [long_words(folder)],
    "multi-label": lambda folder: [
        save_classifier_run(folder / "several", make_predictions(MULTI_LABEL, ("a", LONG)), headline="f1_micro")
    ],
    "regression": lambda folder: [
        save_classifier_run(
            folder / "stars", make_predictions(REGRESSION, ("stars",)), headline="rmse", value=0.4, sign=-1
        )
    ],
    "language model": lambda folder: [save_language_run(folder / "lm")],
    "comparison": lambda folder: [
        save_classifier_run(folder / "reviews", make_predictions()),
        long_words(folder),
        save_language_run(folder / "lm"),
    ],
}


@pytest.mark.parametrize("case", list(RUNS))
def test_nothing_sticks_out_or_complains(case: str, tmp_path: Path) -> None:
    page = build_report(RUNS[case](tmp_path))
    for width in WIDTHS:
        found = render(page, width, tmp_path, dark=width == WIDTHS[-1])
        assert found.inner == width
        assert (found.scroll <= width, found.wide) == (True, [])
        assert (found.empty, found.torn, found.loaded, found.console) == (0, [], [], [])
        assert found.letters >= SMALLEST_LETTERS
    whole = tmp_path / "whole.html"
    whole.write_text(page, encoding="utf-8")
    assert check_untouched(whole, tmp_path) == []
