"""Texts in stretches: whole ones, and long ones cut where a tokenizer cannot tell, so that none need be in memory.

A tokenizer that splits texts into words first, each with the white space before it, makes the same ids of the stretches
as of the whole; which white space that holds for is the tokenizer's to say (`pieces.find_blanks`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hfpipe.data.text_store import Span, StoredTexts

STRETCH_BYTES = 1 << 16


@dataclass(frozen=True)
class Stretch:
    """A text, or a part of a long one, and its bytes in UTF-8.

    `size` are the bytes of the whole text where it begins here, None where it began before; `done` are its bytes up to
    the end of this stretch, 0 where the text ends with it.
    """

    text: str
    size_here: int
    size: int | None
    done: int = 0


def cut_texts(texts: Sequence[str], blanks: str, *, first: int = 0, done: int = 0) -> Iterator[Stretch]:
    """Yield the texts from number `first` on, without the first `done` bytes of that one.

    Those in files are cut before one of the `blanks`; in memory, or without `blanks`, each is whole.
    """
    if not (isinstance(texts, StoredTexts) and blanks):
        for text in texts[first:]:
            encoded = text.encode("utf-8", "surrogatepass")
            # the rest of one that another process had begun
            rest = encoded[done:].decode("utf-8", "surrogatepass") if done else text
            yield Stretch(rest, len(encoded) - done, None if done else len(encoded))
            done = 0
        return
    for span in texts[first:].spans():
        if span.length <= STRETCH_BYTES:
            yield Stretch(span.read(), span.length, span.length)
        else:
            yield from _cut(span, blanks, done)
        done = 0


def _cut(span: Span, blanks: str, done: int) -> Iterator[Stretch]:
    wanted = STRETCH_BYTES
    while done < span.length:
        text = span.read_part(done, wanted)
        size = _count(text)
        if done + size < span.length:
            end = find_cut(text, blanks)
            if not end:  # a word of such a length
                wanted *= 2
                continue
            text = text[:end]
            size = _count(text)
        yield Stretch(text, size, None if done else span.length, (done + size) % span.length)
        done, wanted = done + size, STRETCH_BYTES


def _count(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def find_cut(text: str, blanks: str) -> int:
    """Return the last place where one of the `blanks` follows what is no white space, 0 where there is none."""
    return next((at for at in range(len(text) - 1, 0, -1) if text[at] in blanks and not text[at - 1].isspace()), 0)
