"""Training data from several sources: one table to clean and split, and the share of each source in an epoch.

Rows of all sources go through the same checks together, so a text that two sources share is used once. Which source a
row is of is told by the file it stands in. An epoch is as long as the shares allow: the source that is used up first
ends it, and no row is used more often than its source's `repeat` says.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hfpipe.config.mixture import MixtureSource
from hfpipe.data.accounting import EXAMPLES, PartAccount, Rows
from hfpipe.data.cleaning import take_rows
from hfpipe.data.findings import Findings
from hfpipe.data.places import Places
from hfpipe.data.slices import join_slices
from hfpipe.data.sources import PartSource, Sources
from hfpipe.data.splits import Strata, apportion, seeded_order
from hfpipe.data.table import Table
from hfpipe.data.text_store import join_texts
from hfpipe.errors import DataError, Problem

# Above the stages of splits and samples, below those of the epochs.
FIRST_SOURCE_STAGE = 100


@dataclass(frozen=True)
class SourceShare:
    """A source as a run goes on to know it: the names of its files, and its part in an epoch."""

    name: str
    weight: float
    repeat: int
    files: frozenset[str]


def join_sources(named: Sequence[MixtureSource], found: Sequence[Sources], findings: Findings) -> list[Sources]:
    """Return the sources with their training part alone and file names that differ.

    A file that two sources name goes to `findings`.
    """
    seen: dict[str, str] = {}
    joined: list[Sources] = []
    for source, sources in zip(named, found, strict=True):
        files = []
        for file in sources.train.files:
            key = str(file.path.resolve())
            if key in seen:
                problem = Problem(
                    f"dataset_mixture: {source.name}: {file.name}", "named twice", f"{seen[key]} has it too"
                )
                findings.add("files named twice", source.name, problem)
            seen.setdefault(key, source.name)
            is_taken = any(file.name == other.name for part in joined for other in part.train.files)
            files.append(replace(file, name=f"{source.name}: {file.name}") if is_taken else file)
        joined.append(Sources(replace(sources.train, files=tuple(files)), None, None))
    return joined


def find_shares(named: Sequence[MixtureSource], joined: Sequence[Sources]) -> tuple[SourceShare, ...]:
    """Return what tells the rows of each source, and its weight."""
    return tuple(
        SourceShare(source.name, source.weight, source.repeat, frozenset(file.name for file in sources.train.files))
        for source, sources in zip(named, joined, strict=True)
    )


def whole_source(joined: Sequence[Sources]) -> Sources:
    """Return all files as those of one training part."""
    files = tuple(file for sources in joined for file in sources.train.files)
    return Sources(PartSource("dataset_mixture", files), None, None)


def join_tables(named: Sequence[MixtureSource], tables: Sequence[Table], findings: Findings) -> Table:
    """Return the rows of all sources as one table, in the order of the list; columns are those of the first.

    How the columns of the others were chosen is said.
    """
    for source, table in zip(named, tables, strict=True):
        if table.columns is not None:
            findings.note(f"source {source.name}: {table.columns.line()}")
        if not findings and not table.texts:
            findings.add("sources", "", Problem(f"dataset_mixture: {source.name}", "no row can be used"))
    pairs = [table.text_pairs for table in tables if table.text_pairs is not None]
    return Table(
        texts=join_texts([table.texts for table in tables]),
        labels=[label for table in tables for label in table.labels],
        places=_join_places([table.places for table in tables]),
        account=_join_accounts([table.account for table in tables]),
        columns=next((table.columns for table in tables if table.columns is not None), None),
        text_pairs=[text for part in pairs for text in part] if pairs else None,
        label_sets=[labels for table in tables for labels in table.label_sets],
        numbers=[number for table in tables for number in table.numbers],
        slices=join_slices([table.slices for table in tables]),
    )


def with_label_names(table: Table, names: Mapping[str, str]) -> Table:
    """Return the table with the names its source has for its labels, under which it meets those of other sources."""
    labels = [names.get(label, label) for label in table.labels]
    sets = [tuple(sorted(names.get(label, label) for label in found)) for found in table.label_sets]
    return replace(table, labels=labels, label_sets=sets)


def _join_places(parts: Sequence[Places]) -> Places:
    firsts = np.cumsum([0, *(len(part.files) for part in parts)])
    ids = [part.file_ids + first for part, first in zip(parts, firsts[:-1], strict=True)]
    files = tuple(file for part in parts for file in part.files)
    return Places(files, np.concatenate(ids).astype(np.int32), np.concatenate([part.lines for part in parts]))


def _join_accounts(accounts: Sequence[PartAccount]) -> PartAccount:
    left_out: dict[str, Rows] = {}
    for account in accounts:
        for reason, rows in account.left_out.items():
            left_out[reason] = _join_rows([left_out.get(reason, Rows(0)), rows])
    names = ", ".join(account.source for account in accounts)
    read = sum(account.read for account in accounts)
    # the steps are those of the run, the same for every source
    by_step = zip(*(account.cleaned for account in accounts), strict=True)
    cleaned = tuple((each[0][0], _join_rows([rows for _, rows in each])) for each in by_step)
    return PartAccount(names, read, left_out, cleaned=cleaned)


def _join_rows(parts: Sequence[Rows]) -> Rows:
    return Rows(sum(rows.count for rows in parts), tuple(place for rows in parts for place in rows.examples)[:EXAMPLES])


def find_source_ids(places: Places, shares: Sequence[SourceShare]) -> np.ndarray:
    """Return the number of the source of each row, (rows,) int64."""
    of_file = {file: number for number, share in enumerate(shares) for file in share.files}
    by_file_id = np.array([of_file[file] for file in places.files], dtype=np.int64)
    return by_file_id[places.file_ids]


def split_by_source(strata: Strata, source_ids: np.ndarray) -> Strata:
    """Return the strata with every class divided by source, so that each source is held out by its share."""
    combined = strata.classes.astype(np.int64) * (int(source_ids.max(initial=0)) + 1) + source_ids
    return replace(strata, classes=np.unique(combined, return_inverse=True)[1].reshape(-1))


def plan_mixture(sizes: Sequence[int], shares: Sequence[SourceShare]) -> np.ndarray:
    """Return how many of its `sizes` rows an epoch takes from each source, (sources,) int64.

    The epoch is the longest in which no source gives more than `repeat` times its rows; shares are exact up to
    rounding by largest remainders.

    Raises:
        DataError: If a source has no rows, or another has so few that its share of an epoch would be none.
    """
    _check_sizes(sizes, shares)
    weights = [Fraction(str(share.weight)) for share in shares]
    room = np.array([size * share.repeat for size, share in zip(sizes, shares, strict=True)], dtype=np.int64)
    total = min(int(count * sum(weights) / weight) for count, weight in zip(room.tolist(), weights, strict=True))
    denominator = math.lcm(*(weight.denominator for weight in weights))
    # whole numbers of any size: a weight may be tiny, or have sixteen digits
    whole = np.array([int(weight * denominator) for weight in weights], dtype=object)
    counts = apportion(whole, total, minimum=np.zeros_like(room), maximum=room)
    empty = [share.name for share, count in zip(shares, counts, strict=True) if not count]
    if empty:
        scarce = min(range(len(shares)), key=lambda index: int(room[index]) / weights[index])
        rule = f"an epoch of {total:,} rows, which the size of '{shares[scarce].name}' limits, has none of it"
        remedy = f"raise its weight, or repeat of '{shares[scarce].name}'"
        raise DataError([Problem(f"dataset_mixture: {name}", "", rule, remedy) for name in empty])
    return counts


def _check_sizes(sizes: Sequence[int], shares: Sequence[SourceShare]) -> None:
    problems = [
        Problem(
            f"dataset_mixture: {share.name}", "", "not one row of it can be used", "give it more texts, or remove it"
        )
        for share, size in zip(shares, sizes, strict=True)
        if not size
    ]
    if problems:
        raise DataError(problems)


def draw_rows(size: int, count: int, *, seed: int, source: int) -> np.ndarray:
    """Return `count` ids of `size` rows, ascending, each as often as every other or once more: by the seed."""
    order = seeded_order(size, seed=seed, stage=FIRST_SOURCE_STAGE + source)
    whole, rest = divmod(count, size)
    return np.sort(np.concatenate([np.tile(np.arange(size), whole), order[:rest]]))


def share_rows(table: Table, shares: Sequence[SourceShare], findings: Findings, *, seed: int) -> Table:
    """Return the rows that an epoch of a mixture takes, source by source in their order; all without a mixture.

    Raises:
        DataError: As `plan_mixture`.
    """
    if not shares:
        return table
    ids = find_source_ids(table.places, shares)
    own = [np.flatnonzero(ids == number) for number in range(len(shares))]
    counts = plan_mixture([len(rows) for rows in own], shares)
    drawn = [
        rows[draw_rows(len(rows), int(count), seed=seed, source=number)]
        for number, (rows, count) in enumerate(zip(own, counts, strict=True))
    ]
    for line in describe_mixture(shares, [len(rows) for rows in own], counts.tolist(), unit="rows"):
        findings.note(line)
    taken, times = np.unique(np.concatenate(drawn), return_counts=True)
    left = np.setdiff1d(np.arange(len(table.texts)), taken)
    account = table.account.without("beyond_mixture_share", table.places.rows(left))
    account = account.noting("repeated_in_mixture", table.places.rows(taken[times > 1]))
    return replace(take_rows(table, np.concatenate(drawn)), account=account)


def describe_mixture(
    shares: Sequence[SourceShare], there: Sequence[int], used: Sequence[int], *, unit: str
) -> list[str]:
    """Return the table of a mixture for the log: what is there of each source, what is used, share asked and got."""
    widths = max(len("source"), *(len(share.name) for share in shares))
    weights, total = sum(share.weight for share in shares), sum(used)
    lines = [f"  {'source':<{widths}}  {f'{unit} there':>14}  {f'{unit} used':>14}  {'asked':>7}  {'got':>7}"]
    for share, size, count in zip(shares, there, used, strict=True):
        asked, got = f"{100 * share.weight / weights:.2f} %", f"{100 * count / total:.2f} %"
        lines.append(f"  {share.name:<{widths}}  {size:>14,}  {count:>14,}  {asked:>7}  {got:>7}")
    return lines
