"""The examples of docs/data.md: each file is answered with exactly the message printed below it."""

import re
from pathlib import Path

import pytest
from data_files import load

from hfpipe.data.accounting import REASONS
from hfpipe.errors import DataError

DOCUMENT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```csv (\S+)\n(.*?)```\n\n```text \1\n(.*?)\n```", DOCUMENT, re.DOTALL)


def test_the_examples_are_found() -> None:
    assert [name for name, _, _ in EXAMPLES] == ["reviews.csv", "labels.csv", "ratings.csv", "shop.csv"]


@pytest.mark.parametrize("name, content, message", EXAMPLES, ids=[name for name, _, _ in EXAMPLES])
def test_an_example_is_answered_as_printed(
    name: str, content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load(train_file=name)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_every_reason_for_leaving_rows_out_is_explained() -> None:
    explained = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.MULTILINE))
    noted = {"over_long", "also_in_test", "without_labels", "repeated_in_mixture", "near_conflicting"}
    assert explained == set(REASONS) - noted
