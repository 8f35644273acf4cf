"""Memory of a corpus from its files to its token ids: it grows neither with the texts nor with one long text."""

import tracemalloc
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from hfpipe.config.sections import DataSettings
from hfpipe.data.encoding_documents import DocumentEncoder
from hfpipe.data.parts import load_document_parts
from hfpipe.data.token_store import StreamRequest, TokenStore

LINE = "a line of a corpus that is not the same as the one before it"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HFPIPE_CACHE", str(tmp_path / "cache"))
    # what is held for a moment is bounded: here by little, so that small files tell what grows
    for name in ("text_store.ROWS_PER_READ", "duplicates.ROWS_AT_ONCE", "splits._DRAWS_AT_ONCE"):
        monkeypatch.setattr(f"hfpipe.data.{name}", 500)
    monkeypatch.setattr("hfpipe.data.encoding_documents.CHARACTERS_PER_CALL", 100_000)
    return tmp_path / "cache"


def write_lines(file: Path, count: int, *, first: str = "") -> Path:
    file.write_text(first + "".join(f"{number} {LINE}\n" for number in range(count)), encoding="utf-8")
    return file


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_document_takes_few_bytes(tmp_path: Path, cache: Path) -> None:
    # files are read by the megabyte: smaller ones would tell nothing
    long = "x" * 1_200_000 + "\n"
    few, many = (write_lines(tmp_path / f"{count}.txt", count, first=long) for count in (1_000, 9_000))

    def read(file: Path) -> Callable[[], object]:
        settings = DataSettings(train_file=(str(file),), document_per="line", validation_fraction=0.01)
        return lambda: load_document_parts(settings, seed=1)

    peak_of(read(few))  # what is imported and cached stays
    # 70 bytes of text, 57 of Python around it, 32 of digest and place, were they held
    grown = peak_of(read(many)) - peak_of(read(few))
    assert grown < 8_000 * 60


def test_one_long_document_is_never_in_memory(tmp_path: Path, cache: Path) -> None:
    small, large = (write_lines(tmp_path / f"{count}.txt", count) for count in (20_000, 40_000))
    held_out = write_lines(tmp_path / "validation.txt", 5)
    encoder = DocumentEncoder(lambda texts: [array("H", map(ord, text)).tobytes() for text in texts], "H", "x", " \n")

    def provide(file: Path) -> Callable[[], object]:
        settings = DataSettings(train_file=(str(file),), validation_file=(str(held_out),), document_per="file")

        def work() -> object:
            part = load_document_parts(settings, seed=1).train
            assert len(part.texts) == 1
            return TokenStore(cache).provide(StreamRequest(part.texts, encoder, 0, "train"))

        return work

    peak_of(provide(write_lines(tmp_path / "other.txt", 6)))  # what is imported and cached stays
    grown = peak_of(provide(large)) - peak_of(provide(small))
    assert grown < 100_000 < large.stat().st_size - small.stat().st_size
