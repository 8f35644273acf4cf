"""Token ids on disk: those a tokenizer gives, made once, gone on with after a kill, never read when damaged."""

import json
import random
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make_review
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, PreTokenizedString, Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hfpipe.data import store_writing
from hfpipe.data.encoding_documents import build_encoder
from hfpipe.data.pieces import _KNOWN_PATTERNS, build_piece_encoder
from hfpipe.data.token_store import StreamRequest, TokenStore, TokenStream, stream_documents
from hfpipe.data.tokens import LengthRule, tokenize_texts
from hfpipe.models.tokenizers import train_tokenizer

TEXTS = [make_review(index)[0] for index in range(60)]
TOKENIZER = train_tokenizer(TEXTS, 300, show_progress=False)
SEPARATOR = 0
HARD = st.text("ab A\n\t\r'\u2019s,.é中\u0301\u00a0\u2003\x1c\x85\u180e01🎉<|endoftext|>", max_size=40)


def request(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast = TOKENIZER) -> StreamRequest:
    return StreamRequest(texts, build_encoder(tokenizer), SEPARATOR, "train")


def present_path(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast = TOKENIZER) -> list[int]:
    rows = tokenize_texts(tokenizer, texts, rule=LengthRule(None), add_special_tokens=False)
    documents = np.split(rows.ids, rows.offsets[1:-1])
    return [SEPARATOR, *(token for document in documents for token in [*document.tolist(), SEPARATOR])]


def variant(**changes: object) -> PreTrainedTokenizerFast:
    backend = Tokenizer.from_str(TOKENIZER.backend_tokenizer.to_str())
    for name, value in changes.items():
        setattr(backend, name, value)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>", pad_token="<|pad|>")


def cutting_and_padding() -> PreTrainedTokenizerFast:
    tokenizer = variant()
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    return tokenizer


VARIANTS = {
    "plain": TOKENIZER,
    "marks_texts": train_tokenizer(TEXTS, 300, show_progress=False, marks_texts=True),
    "prefix_space": variant(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "lowercase": variant(normalizer=normalizers.Lowercase()),
    "no_splitting": variant(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
    "cutting_and_padding": cutting_and_padding(),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("by_pieces", [False, True])
def test_the_ids_are_those_of_the_tokenizer(name: str, by_pieces: bool) -> None:
    tokenizer, texts = VARIANTS[name], [*TEXTS, "", " two  spaces <|endoftext|> x\n\ny ", "Ä中 文"]
    wanted = replace(request(texts), encoder=build_encoder(tokenizer, by_pieces=by_pieces))
    found = stream_documents(wanted)
    assert found.ids.tolist() == present_path(texts, tokenizer)
    assert found.sizes.tolist() == [len(text.encode()) for text in texts]
    assert (found.ids[found.starts] == SEPARATOR).all()


@pytest.mark.parametrize("pattern", ["", *sorted(_KNOWN_PATTERNS)])
@given(texts=st.lists(HARD, max_size=4), at_once=st.sampled_from([1, 1_000]))
def test_pieces_have_the_ids_of_the_whole(pattern: str, texts: list[str], at_once: int) -> None:
    backend = Tokenizer.from_str(TOKENIZER.backend_tokenizer.to_str())
    if pattern:
        split = pre_tokenizers.Split(Regex(pattern), "isolated", invert=False)
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    encoder = build_piece_encoder(backend, "H")
    assert encoder is not None
    whole = backend.encode_batch_fast(texts, add_special_tokens=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfpipe.data.pieces.CHARACTERS_OF_A_PORTION", at_once)
        assert list(encoder.encode(texts)) == [array("H", row.ids).tobytes() for row in whole]


def test_a_token_that_takes_the_space_behind_it_is_not_cut_from_it() -> None:
    tokenizer = variant()
    tokenizer.add_tokens([AddedToken("<x>", rstrip=True)])
    assert build_piece_encoder(tokenizer.backend_tokenizer, "H") is None
    texts = ["good <x>  bad"]
    encoder = build_encoder(tokenizer, by_pieces=True)
    assert stream_documents(replace(request(texts), encoder=encoder)).ids.tolist() == present_path(texts, tokenizer)


def test_a_large_vocabulary_has_wider_ids() -> None:
    encoder = build_encoder(TOKENIZER)
    wide = replace(encoder, typecode="i", encode=lambda texts: [array("i", [70_000]).tobytes() for _ in texts])
    found = stream_documents(StreamRequest(["a", "b"], wide, SEPARATOR, "train"))
    assert (found.ids.dtype, found.ids.tolist()) == (np.int32, [0, 70_000, 0, 70_000, 0])
    assert stream_documents(request(["a"])).ids.dtype == np.uint16


def test_an_entry_is_made_once_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, wanted = TokenStore(tmp_path), request(TEXTS)
    assert store.find(wanted) is None
    made = store.provide(wanted)
    unable = replace(wanted, encoder=replace(wanted.encoder, encode=refuse))
    for found in (store.provide(unable), store.find(unable)):
        assert found is not None and isinstance(found.ids, np.memmap)
        same(found, made)
    assert made.ids.tolist() == present_path(TEXTS)


def refuse(texts: list[str]) -> list[bytes]:
    raise AssertionError("it is there already")


def same(found: TokenStream, wanted: TokenStream) -> None:
    assert found.ids.tolist() == wanted.ids.tolist()
    assert found.starts.tolist() == wanted.starts.tolist()
    assert found.sizes.tolist() == wanted.sizes.tolist()


def test_other_texts_borders_or_tokenizers_are_other_entries(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    other = train_tokenizer(TEXTS, 280, show_progress=False)
    wanted = [request(["ab", "c"]), request(["a", "bc"]), request(["ab", "c"], other)]
    entries = [store.entry(each) for each in (*wanted, replace(wanted[0], separator=1))]
    assert len({*entries}) == 4
    assert store.entry(replace(wanted[0], name="validation")) == entries[0]


@pytest.mark.parametrize("name", ["ids.bin", "starts.bin", "sizes.bin", "manifest.json"])
@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, name: str, damage: str) -> None:
    store, wanted = TokenStore(tmp_path), request(TEXTS)
    store.provide(wanted)
    entry = store.entry(wanted)
    assert entry is not None
    path = entry / name
    content = bytearray(path.read_bytes())
    path.unlink()
    content[len(content) // 2] ^= 0x55
    if damage != "gone":
        path.write_bytes(content if damage == "changed" else content[:-1])
    same(store.provide(wanted), stream_documents(wanted))
    assert store.find(wanted) is not None


def interrupted_at(wanted: StreamRequest, call: int) -> tuple[StreamRequest, list[list[str]]]:
    """Return `wanted`, interrupted in that call of its encoder, and the texts of each call, which fill up."""
    calls: list[list[str]] = []

    def encode(texts: list[str]) -> list[bytes]:
        calls.append(texts)
        if len(calls) == call:
            raise KeyboardInterrupt
        return list(wanted.encoder.encode(texts))

    return replace(wanted, encoder=replace(wanted.encoder, encode=encode)), calls


@pytest.mark.parametrize("killed_at", range(1, 8))
def test_what_was_done_before_a_kill_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    monkeypatch.setattr(store_writing, "BYTES_BETWEEN_MARKS", 1)
    monkeypatch.setattr("hfpipe.data.encoding_documents.TEXTS_PER_CALL", 10)
    wanted = request(TEXTS)
    watched, calls = interrupted_at(wanted, killed_at)
    store = TokenStore(tmp_path)
    if killed_at <= 6:
        with pytest.raises(KeyboardInterrupt):
            store.provide(watched)
    same(store.provide(watched), stream_documents(wanted))
    assert len(calls) == (7 if killed_at <= 6 else 6)


def test_what_a_kill_left_unwritten_or_damaged_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = request(TEXTS)
    store = TokenStore(tmp_path)
    entry = store.entry(wanted)
    assert entry is not None
    staging = entry.with_name(f".{entry.name}.partial")
    staging.mkdir(parents=True)
    for name in ("ids.bin", "starts.bin", "sizes.bin"):
        (staging / name).write_bytes(b"\0" * 64)
    digests = dict.fromkeys(("ids.bin", "starts.bin", "sizes.bin"), "0" * 64)
    (staging / "mark.json").write_text(json.dumps({"bytes": dict.fromkeys(digests, 16), "sha256": digests}))
    same(store.provide(wanted), stream_documents(wanted))
    assert not staging.exists()


def test_a_folder_that_cannot_be_written_costs_the_store_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tokens").write_text("a file where the folder would be")
    same(TokenStore(tmp_path).provide(request(TEXTS)), stream_documents(request(TEXTS)))
    assert "token ids are kept in memory" in caplog.text and "set HFPIPE_CACHE" in caplog.text


def test_a_tokenizer_with_code_of_its_own_is_called_and_not_kept(tmp_path: Path) -> None:
    class Shouting(PreTrainedTokenizerFast):
        def __call__(self, text: list[str], **options: object) -> object:  # type: ignore[override]
            return super().__call__([each.upper() for each in text], **options)

    shouting = Shouting(tokenizer_object=TOKENIZER.backend_tokenizer, eos_token="<|endoftext|>")
    wanted = request(["good film"], shouting)
    assert TokenStore(tmp_path).entry(wanted) is None
    assert stream_documents(wanted).ids.tolist() == present_path(["GOOD FILM"])
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_with_a_part_in_python_is_called_and_not_kept(tmp_path: Path) -> None:
    class Halves:
        def pre_tokenize(self, text: PreTokenizedString) -> None:
            text.split(lambda _, part: [part[: len(str(part)) // 2], part[len(str(part)) // 2 :]])

    tokenizer = variant()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Halves())
    wanted = request(["goodfilm"], tokenizer)
    assert TokenStore(tmp_path).entry(wanted) is None
    assert stream_documents(wanted).ids.tolist() == present_path(["goodfilm"], tokenizer)


def test_an_encoder_forgets_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfpipe.data.pieces.KEPT_BYTES", 500)
    encoder = build_piece_encoder(TOKENIZER.backend_tokenizer, "H")
    assert encoder is not None
    draw = random.Random(1)
    for _ in range(30):
        texts = draw.sample(TEXTS, 3)
        whole = TOKENIZER.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        assert list(encoder.encode(texts)) == [array("H", row.ids).tobytes() for row in whole]
