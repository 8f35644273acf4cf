"""Token ids of long texts, and entries that several processes want: cut, killed, sent and refused by a full disk."""

import multiprocessing
import os
import pickle
import resource
import signal
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_token_store import SEPARATOR, TEXTS, VARIANTS, interrupted_at, present_path, request, same

from hfpipe.data import store_files, store_writing
from hfpipe.data.corpus import pack_training_blocks
from hfpipe.data.encoding_documents import DocumentEncoder, build_encoder
from hfpipe.data.text_store import StoredTexts, TextWriter
from hfpipe.data.token_store import StreamRequest, TokenStore, stream_documents


def stored(folder: Path, texts: Sequence[str]) -> StoredTexts:
    writer = TextWriter(folder)
    for text in texts:
        writer.append(text)
    return writer.build()


@pytest.mark.parametrize("by_pieces", [False, True])
@pytest.mark.parametrize("name", ["plain", "prefix_space"])
def test_a_long_text_has_the_ids_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, by_pieces: bool
) -> None:
    monkeypatch.setattr("hfpipe.data.stretches.STRETCH_BYTES", 32)
    texts = [" ".join(TEXTS[:20]), "short", "\n\n".join(TEXTS[20:30]) + " \u2003 x\u00a0 y  z <|endoftext|>  w " * 9]
    wanted = replace(request(stored(tmp_path, texts)), encoder=build_encoder(VARIANTS[name], by_pieces=by_pieces))
    assert bool(wanted.encoder.blanks) == (name == "plain")
    found = stream_documents(wanted)
    assert found.ids.tolist() == present_path(texts, VARIANTS[name])
    assert found.sizes.tolist() == [len(text.encode()) for text in texts]
    assert (found.ids[found.starts] == SEPARATOR).all()


@pytest.mark.parametrize("killed_at", [2, 5, 9])
def test_a_kill_within_a_long_text_costs_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    monkeypatch.setattr("hfpipe.data.stretches.STRETCH_BYTES", 64)
    monkeypatch.setattr("hfpipe.data.encoding_documents.TEXTS_PER_CALL", 3)
    monkeypatch.setattr(store_writing, "BYTES_BETWEEN_MARKS", 1)
    wanted = request(stored(tmp_path / "texts", ["one", " ".join(TEXTS[:30]), "two", "three"]))
    watched, calls = interrupted_at(wanted, killed_at)
    store = TokenStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.provide(watched)
    same(store.provide(watched), stream_documents(wanted))
    assert calls[killed_at] == calls[killed_at - 1]
    assert "".join(text for call in calls[:killed_at] + calls[killed_at + 1 :] for text in call) == "".join(
        wanted.texts
    )


def encode_until_killed(folder: Path, killed_at: int) -> Callable[[list[str]], list[bytes]]:
    """Encode by characters and note each call; the process that makes the call number `killed_at` is killed in it."""

    def encode(texts: list[str]) -> list[bytes]:
        with (folder / "calls").open("ab") as calls:
            calls.write(b".")
        if (folder / "calls").stat().st_size == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.005)
        return [array("H", map(ord, text)).tobytes() for text in texts]

    return encode


def provide_apart(cache: Path, wanted: StreamRequest) -> None:
    found = TokenStore(cache).provide(wanted)
    (cache / f"found-{os.getpid()}").write_bytes(found.ids.tobytes() + found.starts.tobytes() + found.sizes.tobytes())


@pytest.mark.parametrize("killed_at", [0, 1, 4])
def test_of_several_processes_one_makes_an_entry_and_another_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    monkeypatch.setattr(store_writing, "BYTES_BETWEEN_MARKS", 1)
    monkeypatch.setattr("hfpipe.data.encoding_documents.TEXTS_PER_CALL", 10)
    encoder = DocumentEncoder(encode_until_killed(tmp_path, killed_at), "H", "characters")
    wanted = StreamRequest(TEXTS, encoder, SEPARATOR, "train")
    apart = multiprocessing.get_context("fork")
    processes = [apart.Process(target=provide_apart, args=(tmp_path, wanted)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert sorted(process.exitcode or 0 for process in processes) == (
        [-signal.SIGKILL, 0, 0] if killed_at else [0, 0, 0]
    )
    assert (tmp_path / "calls").stat().st_size == (7 if killed_at else 6)
    alone = stream_documents(replace(wanted, encoder=replace(encoder, encode=encode_until_killed(tmp_path, 0))))
    expected = alone.ids.tobytes() + alone.starts.tobytes() + alone.sizes.tobytes()
    found = [path.read_bytes() for path in tmp_path.glob("found-*")]
    assert found == [expected] * (2 if killed_at else 3)


def provide_until_renamed(cache: Path, wanted: StreamRequest, name: str) -> None:
    def kill(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and Path(str(arguments[0])).match(name):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    TokenStore(cache).provide(wanted)


@pytest.mark.parametrize(("name", "calls"), [(".mark.json.*", 11), (".manifest.json.*", 7), ("tokens/.*.partial", 6)])
def test_a_kill_between_two_files_leaves_none_and_one_before_the_move_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, calls: int
) -> None:
    monkeypatch.setattr("hfpipe.data.encoding_documents.TEXTS_PER_CALL", 10)
    encoder = DocumentEncoder(encode_until_killed(tmp_path, 0), "H", "characters")
    wanted = StreamRequest(TEXTS, encoder, SEPARATOR, "train")
    alone = stream_documents(wanted)
    monkeypatch.setattr(store_writing, "BYTES_BETWEEN_MARKS", alone.ids.nbytes * 3 // 4)
    (tmp_path / "calls").unlink()
    killed = multiprocessing.get_context("fork").Process(target=provide_until_renamed, args=(tmp_path, wanted, name))
    killed.start()
    killed.join(30)
    assert killed.exitcode == -signal.SIGKILL
    store = TokenStore(tmp_path)
    same(store.provide(wanted), alone)
    entry = store.entry(wanted)
    assert entry is not None
    assert sorted(path.name for path in entry.iterdir()) == ["ids.bin", "manifest.json", "sizes.bin", "starts.bin"]
    assert not store_files.staging_of(entry).exists()
    assert (tmp_path / "calls").stat().st_size == calls


def test_what_is_sent_to_another_process_is_mapped_there_and_not_copied(tmp_path: Path) -> None:
    made = TokenStore(tmp_path).provide(request(TEXTS * 9))
    sent = pickle.dumps(pack_training_blocks(made.ids, 16, place="train"))
    assert len(sent) < 600 < made.ids.nbytes
    received = pickle.loads(sent)
    assert isinstance(received.stream, np.memmap)
    assert received.ids.tolist() == pack_training_blocks(made.ids, 16, place="train").ids.tolist()
    for part in (made.ids[3:9], made.ids[::-1], made.ids[: len(made.ids) // 2 * 2].reshape(2, -1), made.ids + 1):
        assert (pickle.loads(pickle.dumps(part)) == part).all()


def test_a_full_disk_leaves_nothing_and_its_room_is_given_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = request(TEXTS)
    entry = TokenStore(tmp_path).entry(wanted)
    assert entry is not None
    monkeypatch.setattr("hfpipe.data.encoding_documents.TEXTS_PER_CALL", 10)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(store_writing, "BYTES_BETWEEN_MARKS", 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    found = TokenStore(tmp_path).provide(wanted)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    same(found, stream_documents(wanted))
    assert "token ids are kept in memory" in caplog.text
    assert [path.name for path in entry.parent.iterdir()] == [f".{entry.name}.lock"]
