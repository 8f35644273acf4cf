"""The README's tables of what goes in and what comes out name formats, settings, commands and files that there are."""

import re
from pathlib import Path

from hfpipe.config.keys import read_keys
from hfpipe.data.records import SUFFIXES

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_formats_are_those_that_are_read() -> None:
    first = rows("What goes in")[0][0]
    named = {name for name in re.findall(r"`(\.\w+)`", first) if name not in (".gz", ".zst")}
    assert named == set(SUFFIXES)


def test_every_setting_named_there_is_one() -> None:
    named = [name for row in rows("What goes in") for name in re.findall(r"`(\w+)`", row[1])]
    assert len(named) > 25
    assert [name for name in named if name not in read_keys()] == []
