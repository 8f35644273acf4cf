"""Training rows whose texts nearly repeat others, left out where a cleaning step asks for it.

Equal texts are gone before. Here texts count as the same where only case, width, white space and signs differ
(`deduplicate`), or where most of their runs of five characters are shared (`deduplicate_near`). As everywhere, the
training part gives way to validation and test, which are not touched. The decision worth knowing: of near-repeats with
different labels each label keeps its first row, with a word on it, for the difference may be what the label is about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hfpipe.config.cleaning_names import DEDUPLICATE, find_row_step
from hfpipe.data.cleaning import take_rows
from hfpipe.data.near_duplicates import even_out, find_near_duplicates
from hfpipe.data.table import Table
from hfpipe.data.text_store import digest_text, join_texts


@dataclass
class _Repeats:
    """Training rows by what speaks against them."""

    elsewhere: list[int] = field(default_factory=list)
    repeating: list[int] = field(default_factory=list)
    conflicting: list[int] = field(default_factory=list)


def deduplicate_tables(tables: Mapping[str, Table], steps: Sequence[str]) -> dict[str, Table]:
    """Return the tables by part, 'train' without the near-repeats that the steps leave out."""
    step = find_row_step(steps)
    if step is None:
        return dict(tables)
    train = tables["train"]
    others = [_compared(table) for name, table in tables.items() if name != "train"]
    texts = join_texts([_compared(train), *others])
    groups = find_same_letters(texts) if step == DEDUPLICATE else find_near_duplicates(texts)
    found, places = _sort_out(groups, train), train.places
    account = train.account.noting("near_conflicting", places.rows(_ids(found.conflicting)))
    account = account.without("near_validation_or_test", places.rows(_ids(found.elsewhere)))
    account = account.without("near_duplicate", places.rows(_ids(found.repeating)))
    left = np.setdiff1d(np.arange(len(train.texts)), [*found.elsewhere, *found.repeating]).astype(np.int64)
    return {**tables, "train": replace(take_rows(train, left), account=account)}


def find_same_letters(texts: Sequence[str]) -> list[list[int]]:
    """Return groups of rows, ascending, that are equal but for case, width, white space and signs.

    Texts without letters and digits are in none.
    """
    groups: dict[bytes, list[int]] = {}
    for row, text in enumerate(texts):
        if evened := even_out(text):
            groups.setdefault(digest_text(evened.encode("utf-8", "surrogatepass")), []).append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def _compared(table: Table) -> Sequence[str]:
    """Return what is compared of each row: its text, or its two texts as one."""
    if table.text_pairs is None:
        return table.texts
    return [f"{text}\n{pair}" for text, pair in zip(table.texts, table.text_pairs, strict=True)]


def _sort_out(groups: Sequence[Sequence[int]], train: Table) -> _Repeats:
    """Return the training rows of each group: all where a row of another part is in it, else those after the first."""
    found, size, answers = _Repeats(), len(train.texts), train.answers
    for group in groups:
        own = [row for row in group if row < size]
        if len(own) < len(group):
            found.elsewhere += own
            continue
        seen: set[object] = set()
        for row in own:
            answer = answers[row] if answers else None
            if answer in seen:
                found.repeating.append(row)
            elif seen:
                found.conflicting.append(row)
            seen.add(answer)
    return found


def _ids(rows: Sequence[int]) -> np.ndarray:
    return np.array(sorted(rows), dtype=np.int64)
