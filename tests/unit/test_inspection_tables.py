"""Any table can be looked at: whatever texts and labels it holds, counts add up and nothing is raised."""

import json
from collections.abc import Hashable, Sequence

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.data.accounting import PartAccount
from hfpipe.data.columns import ColumnChoice
from hfpipe.data.places import Places
from hfpipe.inspection.inspected import Inspected, InspectedPart
from hfpipe.inspection.inspecting import CHEAP, WHOLE, Scope, inspect_parts
from hfpipe.inspection.record import SEVERITIES
from hfpipe.inspection.rendering import render

COLUMNS = ColumnChoice(("text",), "label", "by its name", "by its name")
ANSWERS: dict[str | None, st.SearchStrategy[Hashable]] = {
    SINGLE_LABEL: st.sampled_from(["a", "b", "c"]),
    MULTI_LABEL: st.lists(st.sampled_from(["a", "b"]), unique=True, max_size=2).map(
        lambda labels: tuple(sorted(labels))
    ),
    REGRESSION: st.sampled_from([0.0, 1.5, -2.0, 1e30]),
    None: st.just(""),
}
TEXTS = st.one_of(
    st.text(min_size=1, max_size=8), st.sampled_from(["good film", "bad film", "!!", "<br />", "a@b.example"])
)


def make_part(name: str, texts: Sequence[str], answers: Sequence[Hashable], *, paired: bool = False) -> InspectedPart:
    places = Places((f"{name}.csv",), np.zeros(len(texts), dtype=np.int32), np.arange(len(texts)) + 2)
    pairs = list(reversed(texts)) if paired else None
    return InspectedPart(name, PartAccount(f"{name}.csv", len(texts)), texts, pairs, answers, places)


@given(st.data(), st.sampled_from(list(ANSWERS)), st.booleans())
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_any_table_can_be_looked_at(data: st.DataObject, problem_type: str | None, paired: bool) -> None:
    parts = []
    for name, repeats in (("train", data.draw(st.sampled_from([1, 40]))), ("test", 1)):
        rows = data.draw(st.lists(st.tuples(TEXTS, ANSWERS[problem_type]), min_size=0 if parts else 1, max_size=8))
        texts = [f"{text} {copy}" if copy else text for copy in range(repeats) for text, _ in rows]
        answers = [answer for _ in range(repeats) for _, answer in rows] if problem_type is not None else []
        parts.append(make_part(name, texts, answers, paired=paired))
    inspected = Inspected(tuple(parts), problem_type, COLUMNS)
    record = inspect_parts(inspected)
    assert inspect_parts(inspected).to_json() == record.to_json()
    json.dumps(record.to_json(), allow_nan=False)
    for finding in record.findings:
        assert 0 < finding.count <= finding.of
        assert len(finding.rows) > 0
    worst = [SEVERITIES.index(finding.severity) for finding in record.findings]
    assert worst == sorted(worst)
    assert all(line.isprintable() for line in render(record, rows=None, coloured=False))


def test_a_row_of_two_rare_labels_is_one_row() -> None:
    part = make_part("train", ["one", "two"], [("a", "b"), ("c",)])
    record = inspect_parts(Inspected((part,), MULTI_LABEL, COLUMNS))
    (rare,) = [finding for finding in record.findings if finding.kind == "rare_label"]
    assert (rare.count, rare.of, len(rare.rows)) == (2, 2, 3)


def test_a_cheap_look_is_bounded() -> None:
    texts = [f"text number {row} of many" for row in range(300)]
    inspected = Inspected((make_part("train", texts, ["a", "b", "c"] * 100),), SINGLE_LABEL, COLUMNS)
    late = inspect_parts(inspected, scope=Scope(1, 1, label_error_rows=100, leak_rows=100, seconds=-1.0))
    assert late.findings == ()
    assert {missed.reason for missed in late.not_looked_for} == {
        "the -1 seconds for it were over; hfpipe inspect looks"
    }
    few = inspect_parts(inspected, scope=Scope(299, 10**9, label_error_rows=100, leak_rows=100))
    assert "near_duplicate" in [missed.kind for missed in few.not_looked_for]
    large = inspect_parts(inspected, scope=Scope(1, 1, label_error_rows=1, leak_rows=1, characters=1_000))
    expected = "the texts have 6,790 characters, over 1,000; hfpipe inspect looks"
    assert [(missed.kind, missed.reason) for missed in large.not_looked_for] == [
        ("personal data, markup, leaks, label errors", expected)
    ]
    assert CHEAP.seconds is not None and WHOLE.seconds is None
