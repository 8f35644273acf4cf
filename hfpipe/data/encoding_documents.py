"""Documents as token ids, straight from the tokenizer's own threads into flat arrays.

`transformers` turns what its backend gives into lists of lists, offsets and masks, of which a corpus needs none. A
tokenizer that is Python, or that has code of its own around the backend, is called as usual; and as no file tells what
it does, its ids are not kept for other runs.
"""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import tokenizers
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from hfpipe.data.pieces import build_piece_encoder, find_blanks, pays
from hfpipe.data.stretches import Stretch

TEXTS_PER_CALL = 1_000
CHARACTERS_PER_CALL = 1_000_000
"""A call of the tokenizer takes some 40 bytes of memory a character for a moment, and the threads want work."""

_SMALL, _LARGE = 2**16, "i"

Encode = Callable[[list[str]], Iterable[bytes]]
"""The ids of each text, as an `array` of the encoder's type has them in memory."""


@dataclass(frozen=True)
class DocumentEncoder:
    """Turns texts into token ids, whole and without special tokens.

    `content` stands for all that the ids depend on, None where nothing can; `typecode` is that of `array` for the ids:
    'H' where 16 bits hold the vocabulary, else 'i'. Cut before one of the `blanks`, a text has the same ids.
    """

    encode: Encode
    typecode: str
    content: str | None
    blanks: str = ""


def build_encoder(tokenizer: PreTrainedTokenizerBase, *, by_pieces: bool | None = None) -> DocumentEncoder:
    """Return the encoder of a tokenizer, which stays as it is; `by_pieces` where that pays, unless it is said."""
    highest = max(tokenizer.get_vocab().values(), default=0)
    typecode = "H" if highest < _SMALL else _LARGE
    backend = _copy_backend(tokenizer)
    if backend is None:
        return DocumentEncoder(_calling(tokenizer, typecode), typecode, None)
    pieces = build_piece_encoder(backend, typecode) if (pays() if by_pieces is None else by_pieces) else None
    whole = _encoding_with(backend, typecode)
    encode = whole if pieces is None else pieces.encode
    return DocumentEncoder(encode, typecode, _content_of(backend), find_blanks(backend))


def batch_stretches(stretches: Iterable[Stretch]) -> Iterator[list[Stretch]]:
    """Yield texts and parts of texts in lists for one call each."""
    batch: list[Stretch] = []
    characters = 0
    for stretch in stretches:
        batch.append(stretch)
        characters += len(stretch.text)
        if characters >= CHARACTERS_PER_CALL or len(batch) >= TEXTS_PER_CALL:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _copy_backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer | None:
    """Return a copy of what makes the ids, cutting and padding off; None where Python has a part in them."""
    if not (isinstance(tokenizer, PreTrainedTokenizerFast) and _calls_backend(type(tokenizer))):
        return None
    try:
        backend = Tokenizer.from_str(_write(tokenizer.backend_tokenizer))
    except ValueError:
        return None
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    return backend


def _write(backend: Tokenizer) -> str:
    """Return a backend as JSON, or raise a ValueError where a part is Python: tokenizers has no error for it."""
    try:
        return backend.to_str()
    except Exception as error:
        if type(error) is Exception:
            raise ValueError(str(error)) from error
        raise


def _calls_backend(kind: type[PreTrainedTokenizerFast]) -> bool:
    """Tell whether a class has left alone what stands between a text and the backend, and behind it."""
    usual = PreTrainedTokenizerFast
    return (
        kind.__call__ is usual.__call__
        and kind._encode_plus is usual._encode_plus
        and kind._convert_encoding is usual._convert_encoding
    )


def _encoding_with(backend: Tokenizer, typecode: str) -> Encode:
    def encode(texts: list[str]) -> Iterator[bytes]:
        for encoding in backend.encode_batch_fast(texts, add_special_tokens=False):
            yield array(typecode, encoding.ids).tobytes()

    return encode


def _calling(tokenizer: PreTrainedTokenizerBase, typecode: str) -> Encode:
    def encode(texts: list[str]) -> Iterator[bytes]:
        for ids in encode_whole(tokenizer, texts):
            yield array(typecode, ids).tobytes()

    return encode


def encode_whole(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each text, whole and without special tokens, by an ordinary call."""
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def _content_of(backend: Tokenizer) -> str:
    facts = {
        "tokenizers": tokenizers.__version__,
        "tokenizer": json.loads(backend.to_str()),
        "encode_special_tokens": backend.encode_special_tokens,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
