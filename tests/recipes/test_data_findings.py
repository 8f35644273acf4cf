"""What a run finds in its own data before it trains: findings.json, the log, and nothing else changed."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from test_exact_losses import classify, pretrain

from hfpipe.inspection.record import FINDINGS_FILE, read_findings

REPEATED = 5


def with_repeats(reviews: Path, folder: Path) -> Path:
    """Return a file of the reviews with an address in the first, and its last five once more in other letters."""
    lines = reviews.read_text(encoding="utf-8").splitlines()
    lines[1] = "kim@mail.example " + lines[1]
    shouted = [f"{text.upper()}!,{label}" for text, label in (line.split(",") for line in lines[-REPEATED:])]
    path = folder / "rows.csv"
    path.write_text("\n".join([*lines, *shouted]) + "\n", encoding="utf-8")
    return path


def test_a_classifier_run_tells_and_keeps_what_it_finds(
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows, output_dir = with_repeats(reviews_csv(60), tmp_path), tmp_path / "run"
    with caplog.at_level(logging.INFO):
        classify(rows, checkpoints("bert"), output_dir, num_train_epochs=1)
    record = read_findings(output_dir / FINDINGS_FILE)
    assert json.loads((output_dir / FINDINGS_FILE).read_text(), parse_constant=pytest.fail) == record.to_json()
    counts = {finding.kind: finding.count for finding in record.findings}
    assert counts["personal_email"] == 1
    alike = {row.place for finding in record.findings if finding.kind.startswith("near_") for row in finding.rows}
    assert {f"{rows}:{line}" for line in range(62, 62 + REPEATED)} <= alike
    assert {part.name: part.rows for part in record.overview.parts} == {"train": 49, "validation": 16}
    assert "data: e-mail addresses: 1 row (1.5 %)" in caplog.text
    assert "kim@mail.example" not in caplog.text + (output_dir / FINDINGS_FILE).read_text()


def test_a_language_model_run_looks_at_its_documents(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    lines = [f"line {index} of a corpus of plain words, {index * index}\n" for index in range(20)]
    corpus.write_text("".join([*lines, "write to kim@mail.example\n"]))
    pretrain(corpus, tmp_path / "run", num_train_epochs=1, max_train_samples=18)
    record = read_findings(tmp_path / "run" / FINDINGS_FILE)
    assert record.overview.problem_type is None
    assert record.not_looked_for == ()
    assert {finding.kind for finding in record.findings} <= {"personal_email", "near_duplicate", "near_shared_text"}
