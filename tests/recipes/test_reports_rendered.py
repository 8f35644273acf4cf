"""Reports in a browser: nothing sticks out on a wide screen or a telephone, nothing is loaded, nothing complains.

Skipped where neither Chromium nor Chrome is installed: there is no other way to see a page.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from chromium import check_untouched, find_chromium, render
from report_runs import HOSTILE, make_predictions, save_classifier_run, save_language_run

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.evaluation.report import build_report

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


RUNS: Mapping[str, Callable[[Path], list[Path]]] = {
    "classifier": lambda folder: [save_classifier_run(folder / "reviews", make_predictions())],
    "many labels": lambda folder: [save_classifier_run(folder / "topics", make_predictions(labels=TOPICS))],
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
        assert (found.empty, found.loaded, found.console) == (0, [], [])
        assert found.letters >= SMALLEST_LETTERS
    whole = tmp_path / "whole.html"
    whole.write_text(page, encoding="utf-8")
    assert check_untouched(whole, tmp_path) == []
