"""What is kept on disk for later runs: listed with its last use, removed when somebody says so and not before."""

import os
import re
from pathlib import Path

import pytest
from test_token_store import TEXTS, request, same
from typer.testing import CliRunner

from hfpipe.cli import app
from hfpipe.data.store_files import MANIFEST_FILE, lock_of, staging_of
from hfpipe.data.store_writing import EntryLock
from hfpipe.data.token_cache import SECONDS_A_DAY, clear_entries, list_entries
from hfpipe.data.token_store import TokenStore, stream_documents


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["cache", *words])
    assert result.exit_code == 0, result.output
    return result.output


def grow_old(entry: Path, days: float) -> None:
    for path in entry.iterdir():
        then = path.stat().st_mtime - days * SECONDS_A_DAY
        os.utime(path, (then, then))


def test_entries_are_listed_and_those_unused_for_long_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFPIPE_CACHE", str(tmp_path))
    assert run() == f"{tmp_path / 'tokens'}: 0 entries, 0.0 kB\n"
    store, old, used = TokenStore(tmp_path), request(TEXTS[:1]), request(TEXTS)
    for wanted in (old, used):
        made, entry = store.provide(wanted), store.entry(wanted)
        assert entry is not None
        grow_old(entry, 40.5)
    assert len(re.findall("used 40 days ago", run())) == 2
    store.provide(used)
    first, second, _ = run().splitlines()
    assert first.endswith("used today") and f"{len(made.ids):,} tokens, 60 documents" in first
    assert second.endswith("used 40 days ago")
    assert "removed 1 entry" in run("--clear", "--unused-days", "30")
    assert (store.find(old) is None, store.find(used) is None) == (True, False)
    assert run("--clear").endswith("; 0 left\n")
    assert made.ids.tolist() == stream_documents(used).ids.tolist()  # a run that has it mapped goes on
    same(store.provide(used), made)


def test_an_entry_that_is_being_made_is_left_alone(tmp_path: Path) -> None:
    store, wanted = TokenStore(tmp_path), request(TEXTS)
    entry = store.entry(wanted)
    assert entry is not None
    staging_of(entry).mkdir(parents=True)
    (staging_of(entry) / "ids.bin").write_bytes(b"\0" * 64)
    found = list_entries(store.folder)
    assert [(each.folder, each.size_bytes, each.tokens) for each in found] == [(entry, 64, None)]
    assert found[0].line(found[0].used)[1] == "not finished"
    with EntryLock(lock_of(entry)):
        assert list(clear_entries(found)) == []
    assert staging_of(entry).is_dir()
    assert list(clear_entries(found)) == found
    assert list_entries(store.folder) == []


def test_an_entry_without_its_manifest_is_listed_as_not_finished(tmp_path: Path) -> None:
    store, wanted = TokenStore(tmp_path), request(TEXTS)
    store.provide(wanted)
    entry = store.entry(wanted)
    assert entry is not None
    (entry / MANIFEST_FILE).unlink()
    assert [each.tokens for each in list_entries(store.folder)] == [None]


def test_what_is_no_entry_is_left_alone_and_days_alone_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFPIPE_CACHE", str(tmp_path))
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "notes.txt").write_text("not ours")
    assert "removed 0 entries" in run("--clear")
    assert (tmp_path / "tokens" / "notes.txt").exists()
    result = CliRunner().invoke(app, ["cache", "--unused-days", "30"])
    assert result.exit_code == 2
    assert "--unused-days: 30: says what --clear removes; add --clear\n" in result.stderr
