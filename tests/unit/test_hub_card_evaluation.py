"""What a card says of an honest evaluation, and the pictures beside it."""

from pathlib import Path

from hub_runs import METRICS, make_facts, make_record
from PIL import Image
from report_runs import make_evaluation, make_predictions, save_classifier_run

from hfpipe.evaluation.record import flatten_metrics, read_evaluation
from hfpipe.hub.card import render_card
from hfpipe.hub.card_pictures import write_pictures
from hfpipe.hub.files import CONFUSION, RELIABILITY, is_allowed

EVALUATION = make_evaluation(make_predictions(), "accuracy", 0.8)
CARD = render_card(
    make_facts(
        make_record(),
        metrics={**METRICS, **flatten_metrics(EVALUATION)},
        evaluation=EVALUATION,
        pictures=(CONFUSION, RELIABILITY),
    )
)
RESULTS = CARD.split("## Results\n\n")[1].split("\n## ")[0]


def test_the_verdict_comes_first() -> None:
    assert RESULTS.startswith("**Better than the baselines.** The model gives 80.0 % of the 120 test rows")
    assert "p &lt; 0.001, exact McNemar test" in RESULTS


def test_scores_have_intervals_and_nothing_else_is_a_score() -> None:
    rows = [line for line in RESULTS.split("### ")[0].splitlines() if line.startswith("| ")][2:]
    assert rows == [
        "| loss | 0.3100 | 0.3100 |",
        "| accuracy | 0.8000 (0.7500 to 0.8500) | 0.8000 (0.7500 to 0.8500) |",
    ]
    assert "accuracy_low" not in CARD and "majority_accuracy" not in CARD


def test_the_ladder_is_a_table() -> None:
    rows = [line for line in RESULTS.split("### Against baselines")[1].splitlines() if line.startswith("| ")]
    assert rows[0] == (
        "| model | accuracy | 95 % interval | model against it (points) | parameters | training | rows a second |"
    )
    assert rows[2:] == [
        "| **BERT** | 80.0 % | 75.0 to 85.0 % |  | 1,234,567 | 1 min 2 s | 480 |",
        "| TF-IDF + logistic regression | 70.0 % | 65.0 to 75.0 % | +10.0 p &lt; 0.001 | 2,000 | 0.5 s | 9,000 |",
        "| Majority class | 50.0 % | 45.0 to 55.0 % |  | 2,000 | 0.5 s | 9,000 |",
    ]


def test_calibration_and_pictures_are_told() -> None:
    assert "a temperature of 1.6, fitted on 90 validation rows, takes their log loss from 0.4000 to 0.3500" in RESULTS
    assert f"]({CONFUSION})" in RESULTS and f"]({RELIABILITY})" in RESULTS
    assert is_allowed(CONFUSION) and is_allowed(RELIABILITY)
    assert "The probabilities were not calibrated." not in CARD


def test_weights_on_the_way_claim_nothing_of_it() -> None:
    card = render_card(make_facts(make_record(), is_finished=False, step=2))
    assert "baselines" not in card and "temperature" not in card and ".png)" in card and CONFUSION not in card


def test_pictures_are_drawn_from_the_run(tmp_path: Path) -> None:
    run = save_classifier_run(tmp_path / "reviews", make_predictions())
    write_pictures(run, read_evaluation(run))
    for name in (CONFUSION, RELIABILITY):
        with Image.open(run / name) as picture:
            assert picture.format == "PNG" and len(set(picture.convert("L").tobytes())) > 10
