"""`inspect` finds what was planted: label errors, copies, leaks and personal data, with stated precision and recall.

The figures in the asserts are floors below those that were measured, which stand beside them.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from planted_reviews import OTHER_WORDS, change_words, lines_of, make_reviews, write_reviews

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, DataSettings
from hfpipe.inspection.inspecting import inspect_parts
from hfpipe.inspection.reading import read_files
from hfpipe.inspection.record import LOOK, NOTE, SERIOUS, Finding, FindingsRecord

SEED = 2_024
ROWS, FLIPPED, COPIED, PERSONAL = 2_000, 40, 60, 30


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def inspect(*files: str, labelled: bool = True, **values: object) -> FindingsRecord:
    settings = DataSettings(train_file=files, **values)  # type: ignore[arg-type]
    return inspect_parts(read_files(settings, labelled=labelled))


def only(record: FindingsRecord, kind: str) -> Finding:
    (finding,) = (finding for finding in record.findings if finding.kind == kind)
    return finding


def kinds(record: FindingsRecord) -> list[str]:
    return [finding.kind for finding in record.findings]


def places(finding: Finding) -> list[str]:
    return [row.place for row in finding.rows]


def test_clean_data_have_no_findings() -> None:
    texts, labels = make_reviews(ROWS, seed=SEED)
    record = inspect(write_reviews(Path("clean.csv"), texts, labels))
    # a text of few telling words, most of them of the other label by chance, cannot be told from an error
    assert kinds(record) in ([], ["label_error"])
    assert sum(finding.count for finding in record.findings) <= 0.005 * ROWS
    assert record.not_looked_for == ()


def test_flipped_labels_are_found() -> None:
    texts, labels = make_reviews(ROWS, seed=SEED)
    flipped = set(random.Random(SEED).sample(range(ROWS), FLIPPED))
    given = [{"neg": "pos", "pos": "neg"}[label] if row in flipped else label for row, label in enumerate(labels)]
    finding = only(inspect(write_reviews(Path("flipped.csv"), texts, given)), "label_error")
    found = [line - 2 for line in map(int, (place.rpartition(":")[2] for place in places(finding)))]
    hits = [row for row in found if row in flipped]
    assert len(hits) / FLIPPED >= 0.85
    assert len(hits) / len(found) >= 0.8
    # ranked by self-confidence: the surest are right
    assert set(found[:20]) <= flipped
    first = finding.rows[0]
    assert first.note.startswith(f"labelled {given[found[0]]!r} (0.")
    assert f"the words say {labels[found[0]]!r} (0.9" in first.note
    assert (finding.severity, finding.of) == (LOOK, ROWS)


def test_labels_that_words_do_not_tell_are_not_doubted() -> None:
    texts, labels = make_reviews(ROWS, seed=SEED)
    random.Random(SEED).shuffle(labels)
    record = inspect(write_reviews(Path("noise.csv"), texts, labels))
    assert "label_error" not in kinds(record)
    (missed,) = record.not_looked_for
    assert missed.kind == "label_error"
    assert missed.reason.startswith("a model of words is right in ")
    assert missed.reason.endswith(", the commonest label in 50.0 %: too little to doubt labels by")


def test_copies_within_and_across_parts_are_found() -> None:
    texts, labels = make_reviews(ROWS, seed=SEED)
    held, held_labels = make_reviews(400, seed=SEED + 1)
    copies = [change_words(text, 1, seed=row) for row, text in enumerate(texts[:COPIED])]
    train = write_reviews(Path("train.csv"), [*texts, *copies[:30]], [*labels, *labels[:30]])
    test = write_reviews(Path("test.csv"), [*held, *copies[30:], texts[99]], [*held_labels, *labels[30:60], "neg"])
    record = inspect(train, test_file=(test,))
    within, across = only(record, "near_duplicate"), only(record, "near_shared_text")
    assert lines_of(places(within)) <= set(range(ROWS + 2, ROWS + 32))
    assert lines_of(places(across)) <= set(range(402, 432))
    # one word in fifteen may be more than the fifth of a text that may differ
    assert within.count >= 27
    assert across.count >= 27
    assert all(f" like train.csv:{int(row.place.rpartition(':')[2]) - 370}" in row.note for row in across.rows)
    shared = only(record, "shared_text")
    assert places(shared) == ["test.csv:432"]
    assert shared.rows[0].note == "stands in train.csv:101 too, labelled 'neg' here and 'pos' there"
    assert (within.part, across.part, across.severity) == ("train", "test", SERIOUS)


@pytest.mark.parametrize("mark", ["[SRC-A]", "7/10", "#ad"])
def test_a_word_that_alone_tells_the_label_is_found(mark: str) -> None:
    texts, labels = make_reviews(ROWS, seed=SEED)
    marked = [
        f"{text} {mark}" if label == "pos" and row % 4 == 1 else text
        for row, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    finding = only(inspect(write_reviews(Path("marked.csv"), marked, labels)), "leak_word")
    assert (finding.title, finding.count, finding.of) == ("a word alone tells the label 'pos'", 500, 1_000)
    (row,) = finding.rows
    assert (row.place, row.note) == ("marked.csv:3", f"{mark.lower()!r}: 'pos' in 100.0 % of the 500 rows with it")
    assert finding.severity == SERIOUS


def test_other_leaks_are_found_and_nothing_else() -> None:
    texts, labels = make_reviews(ROWS, seed=SEED)
    draw = random.Random(SEED)
    padded = [
        f"{text} {' '.join(draw.choices(OTHER_WORDS, k=60))}" if label == "pos" else text
        for text, label in zip(texts, labels, strict=True)
    ]
    stars = [str(draw.randint(6, 10) if label == "pos" else draw.randint(1, 5)) for label in labels]
    others = {
        "stars": stars,
        "id": [f"r{row}" for row in range(ROWS)],
        "day": [str(draw.randint(1, 28)) for _ in labels],
    }
    # a row that is left out has values in the other columns too
    padded[0] = ""
    record = inspect(write_reviews(Path("long.csv"), padded, labels, **others))
    assert {kind for kind in kinds(record) if kind.startswith("leak")} == {"leak_length", "leak_column"}
    column = only(record, "leak_column")
    assert column.title == "column 'stars' alone tells the label"
    assert column.detail == (
        "counted on one half of the rows it tells the label of 100.0 % of the other half; "
        "the commonest label is right in 50.0 %"
    )
    assert only(record, "leak_length").severity == SERIOUS


def test_sorted_rows_and_files_of_one_label_are_told() -> None:
    texts, labels = make_reviews(600, seed=SEED)
    by_label = [
        write_reviews(Path(f"{name}.csv"), texts[at::2], labels[at::2]) for at, name in enumerate(("neg", "pos"))
    ]
    assert kinds(inspect(*by_label)) == ["leak_file"]
    together = write_reviews(Path("sorted.csv"), [*texts[::2], *texts[1::2]], [*labels[::2], *labels[1::2]])
    finding = only(inspect(together), "leak_order")
    assert (finding.severity, finding.title) == (NOTE, "rows are sorted by their label")


def card(digits: str) -> str:
    """Return a card number: fifteen digits and the check digit of Luhn."""
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(digits)]
    return digits + str(-sum(value - 9 * (value > 9) for value in doubled) % 10)


def personal_values(draw: random.Random) -> dict[str, Sequence[str]]:
    """Return made-up values of each kind."""
    numbers = range(PERSONAL)
    return {
        "personal_email": [f"kim{number}.lee@mail{number}.example" for number in numbers],
        "personal_phone": [f"+1 212-555-0{draw.randint(100, 199)}" for _ in numbers],
        "personal_card": [card(f"4{draw.randrange(10**14):014d}") for _ in numbers],
        "personal_ssn": [
            f"{draw.randint(100, 660)}-{draw.randint(10, 99)}-{draw.randint(1000, 9999)}" for _ in numbers
        ],
        "personal_ip": [f"{draw.randint(20, 99)}.{draw.randint(1, 250)}.0.{draw.randint(1, 250)}" for _ in numbers],
    }


def test_personal_data_are_counted_and_never_shown() -> None:
    texts, labels = make_reviews(ROWS, seed=SEED)
    draw = random.Random(SEED)
    values = personal_values(draw)
    rows = draw.sample(range(ROWS), PERSONAL * len(values))
    planted = {kind: rows[at * PERSONAL : (at + 1) * PERSONAL] for at, kind in enumerate(values)}
    for kind, chosen in planted.items():
        for row, value in zip(chosen, values[kind], strict=True):
            texts[row] = f"{value} {texts[row]}" if row % 2 else f"{texts[row]} {value} ka"
    # numbers that are none of these
    for row in set(range(0, ROWS, 50)) - set(rows):
        texts[row] += " in 1999 it cost 1234567890123456 and ran 3.5 of 10 hours since 2001-02-03"
    record = inspect(write_reviews(Path("personal.csv"), texts, labels))
    for kind, chosen in planted.items():
        assert lines_of(places(only(record, kind))) == {row + 2 for row in chosen}, kind
    shown = str(record.to_json())
    assert [value for kind in values for value in values[kind] if value in shown] == []
    assert only(record, "personal_card").rows[0].note == "4" + "*" * 15
    assert only(record, "personal_email").rows[0].note.startswith("k***.***@****")


def test_several_labels_a_row_and_numbers_are_judged_too() -> None:
    texts, labels = make_reviews(ROWS, seed=SEED)
    wrong = set(random.Random(SEED).sample(range(ROWS), FLIPPED))
    sets = [f"{label if row not in wrong else ''}|all".strip("|") for row, label in enumerate(labels)]
    several = inspect(write_reviews(Path("sets.csv"), texts, sets), problem_type=MULTI_LABEL, label_delimiter="|")
    found = lines_of(places(only(several, "label_error")))
    assert len(found & {row + 2 for row in wrong}) / FLIPPED >= 0.75
    draw = random.Random(SEED)
    scores = [(8.0 if label == "pos" else 2.0) + draw.random() for label in labels]
    for row in wrong:
        scores[row] += 20
    numbers = inspect(
        write_reviews(Path("scores.csv"), texts, [f"{score:.3f}" for score in scores]), problem_type=REGRESSION
    )
    assert lines_of(places(only(numbers, "label_error"))) == {row + 2 for row in wrong}
