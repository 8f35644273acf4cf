"""The command `hfpipe cache`: lists the token ids that are kept for all runs, and removes them where it is told to."""

import time
from typing import Annotated

import typer

from hfpipe.errors import ConfigError, Problem


def cache(
    cache_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="That of the runs, where they set cache_dir.")
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove entries; not while runs with spawned data workers are at work.")
    ] = False,
    unused_days: Annotated[
        float, typer.Option(min=0, metavar="DAYS", help="With --clear: only those no run has asked for in so long.")
    ] = 0.0,
) -> None:
    """List the token ids kept on disk for later runs on the same texts, and remove them with --clear."""
    if unused_days and not clear:
        raise ConfigError(Problem("--unused-days", f"{unused_days:g}", "says what --clear removes", "add --clear"))
    from hfpipe.data.token_cache import clear_entries, find_store, list_entries
    from hfpipe.records.disk import show_bytes

    store = find_store(cache_dir)
    entries = list_entries(store)
    chosen = list(clear_entries(entries, unused_days=unused_days)) if clear else entries
    rows = [entry.line(time.time()) for entry in chosen]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    noun = "entry" if len(chosen) == 1 else "entries"
    total = f"{len(chosen):,} {noun}, {show_bytes(sum(entry.size_bytes for entry in chosen))}"
    print(f"{store}: removed {total}; {len(entries) - len(chosen):,} left" if clear else f"{store}: {total}")
