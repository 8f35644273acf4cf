"""Token ids of texts piece by piece, each different piece encoded once: two thirds of the processor's time on prose.

A piece is a word with the white space before it. Where a tokenizer splits texts by a rule that is known here, and never
within such a border, the ids of a text are those of its pieces one after another, and a few words make most of a text.
Every other tokenizer is left to encode whole texts: nothing is guessed.

The decision worth knowing: texts are cut and put together in the main thread, beside the tokenizer's own ones. So this
pays on few cores; on more those are faster by themselves.
"""

import json
import os
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding, Tokenizer

MOST_CORES = 4
KEPT_BYTES = 48 << 20
_BYTES_OF_A_PIECE = 150
CHARACTERS_OF_A_PORTION = 1 << 14
"""Of large portions the tokenizer's results take memory that is new each time: 1 << 17 takes 1.4 times as long."""

# White space that a pattern takes for itself is cut off before it begins; what begins otherwise stays with what is
# before it: engines differ on rare characters, and these patterns let line ends follow signs.
_ANY_SPACE = re.compile(r"\s*\S+(?:[^\S \t\n\r]\s*\S+)*|\s+")
_BLANKS = re.compile(r"\s*\S+(?:[^\S ]\s*\S+)*|\s+")
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_BEHIND_NUMBERS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_KNOWN_PATTERNS = {
    _CONTRACTIONS + r"\p{N}{1,3}" + _BEHIND_NUMBERS,  # GPT-4, Llama 3
    _CONTRACTIONS + r"\p{N}" + _BEHIND_NUMBERS,  # Qwen 2 to 3
}


@dataclass(frozen=True)
class _Portion:
    """Texts as their pieces, and those of them that nobody knew, which are being encoded."""

    rows: list[list[str]]
    new: set[str]
    found: "Future[list[Encoding]]"


class PieceEncoder:
    """Encodes texts by their pieces, of which it keeps some 300,000; ids are those of `backend`."""

    def __init__(self, backend: Tokenizer, borders: "re.Pattern[str]", typecode: str) -> None:
        self._backend = backend
        self._borders = borders
        self._typecode = typecode
        self._known: dict[str, bytes] = {}
        self._kept_bytes = 0

    def encode(self, texts: Sequence[str]) -> Iterator[bytes]:
        """Yield the ids of each text, as `array` has them in memory."""
        if self._kept_bytes > KEPT_BYTES:
            self._known.clear()
            self._kept_bytes = 0
        with ThreadPoolExecutor(1) as thread:
            before = None
            for portion in _cut_portions(texts):
                begun = self._begin(portion, thread, before)
                if before is not None:
                    yield from self._finish(before)
                before = begun
            if before is not None:
                yield from self._finish(before)

    def _begin(self, texts: Sequence[str], thread: ThreadPoolExecutor, before: _Portion | None) -> _Portion:
        """Cut texts into pieces, while those of the portion `before` are encoded, and have the new ones follow."""
        rows = [self._borders.findall(text) for text in texts]
        known, awaited = self._known, before.new if before else set()
        new = {piece for piece in set().union(*rows) if piece not in known and piece not in awaited}
        return _Portion(rows, new, thread.submit(self._backend.encode_batch_fast, [*new], add_special_tokens=False))

    def _finish(self, portion: _Portion) -> Iterator[bytes]:
        for piece, found in zip(portion.new, portion.found.result(), strict=True):
            self._known[piece] = array(self._typecode, found.ids).tobytes()
            self._kept_bytes += len(piece) + _BYTES_OF_A_PIECE
        for row in portion.rows:
            yield b"".join(map(self._known.__getitem__, row))


def _cut_portions(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield `texts` in portions, so that some are cut and some put together while others are encoded."""
    first = characters = 0
    for place, text in enumerate(texts, start=1):
        characters += len(text)
        if characters >= CHARACTERS_OF_A_PORTION or place == len(texts):
            yield texts[first:place]
            first, characters = place, 0


def pays() -> bool:
    """Tell whether pieces are faster than the threads of the tokenizer, here and as the environment says."""
    is_alone = os.environ.get("TOKENIZERS_PARALLELISM", "").lower() in ("0", "false", "off", "no", "n", "f")
    return is_alone or (os.cpu_count() or 1) <= MOST_CORES


def build_piece_encoder(backend: Tokenizer, typecode: str) -> PieceEncoder | None:
    """Return the encoder of a tokenizer whose splitting is known, None for all others."""
    borders = _find_usable_borders(backend)
    return None if borders is None else PieceEncoder(backend, borders, typecode)


def find_blanks(backend: Tokenizer) -> str:
    """Return the white space before which, behind anything else, a text may be cut and have the same ids; '' for none.

    Every such place is a border of pieces.
    """
    borders = _find_usable_borders(backend)
    return "" if borders is None else " \t\n\r" if borders is _ANY_SPACE else " "


def _find_usable_borders(backend: Tokenizer) -> "re.Pattern[str] | None":
    content: Mapping[str, Any] = json.loads(backend.to_str())
    model = content["model"]
    is_plain = content["normalizer"] is None and model["type"] == "BPE" and not model.get("dropout")
    if not is_plain or any(map(_reaches_over, content["added_tokens"])):
        return None
    return _find_borders(content["pre_tokenizer"] or {})


def _find_borders(splitting: Mapping[str, Any]) -> "re.Pattern[str] | None":
    if splitting.get("type") == "ByteLevel":
        is_known = splitting.get("use_regex", True) and not splitting["add_prefix_space"]
        return _ANY_SPACE if is_known else None
    parts = splitting.get("pretokenizers", ())
    if splitting.get("type") != "Sequence" or [part["type"] for part in parts] != ["Split", "ByteLevel"]:
        return None
    split, level = parts
    is_known = split["pattern"].get("Regex") in _KNOWN_PATTERNS and split["behavior"] == "Isolated"
    is_only = not split["invert"] and not level["add_prefix_space"] and not level.get("use_regex", True)
    return _BLANKS if is_known and is_only else None


def _reaches_over(token: Mapping[str, Any]) -> bool:
    """Tell whether an added token may hold a border: white space behind something else, or all that follows it."""
    return bool(token["rstrip"]) or re.search(r"\S\s", token["content"]) is not None
