"""What is kept of a text that has more tokens than fit: its head, its tail, both, or overlapping windows.

Works on token ids without special tokens, which are put around each piece again, where the tokenizer puts them; so
head and windows are what the tokenizer's own truncation gives. The decision worth knowing: the last window keeps the
end of the text and may be short, rather than being moved back over tokens that others hold already.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from hfpipe.config.sections import DataSettings
from hfpipe.errors import ConfigError, Problem

HEAD = "head"
TAIL = "tail"
HEAD_TAIL = "head_tail"
WINDOWS = "windows"

_PROBE = "a"


@dataclass(frozen=True)
class LengthRule:
    """How many tokens a text or window may have, special tokens included, and what becomes of longer texts.

    `max_length` None keeps every text whole. `doc_stride` tokens are shared by neighbouring windows, of which a text
    has `max_windows` at most; both are read under windows only.
    """

    max_length: int | None
    long_texts: str = HEAD
    doc_stride: int = 0
    max_windows: int = 1

    @property
    def is_windowed(self) -> bool:
        """Whether a text may become several windows."""
        return self.long_texts == WINDOWS

    def room(self, special_tokens: int) -> int:
        """Return the tokens of the text itself that one window holds."""
        assert self.max_length is not None, "a text that is never cut has all the room there is"
        return self.max_length - special_tokens

    def step(self, special_tokens: int) -> int:
        """Return the tokens by which each window stands after the one before: what it adds to a text."""
        return self.room(special_tokens) - self.doc_stride if self.is_windowed else self.room(special_tokens)

    def kept_length(self, special_tokens: int) -> int:
        """Return the tokens of the longest text that loses none, special tokens counted once."""
        assert self.max_length is not None, "a text that is never cut has no such length"
        further = self.max_windows - 1 if self.is_windowed else 0
        return self.max_length + further * self.step(special_tokens)


@dataclass(frozen=True)
class SpecialTokens:
    """The ids a tokenizer puts before and after a text."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.before) + len(self.after)


def find_length_rule(settings: DataSettings) -> LengthRule:
    """Return the rule of a fine-tuning run."""
    return LengthRule(settings.max_seq_length, settings.long_texts, settings.doc_stride, settings.max_windows)


def find_special_tokens(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """Return what `tokenizer` puts around a single text.

    Raises:
        ConfigError: If they do not stand before and after it.
    """
    plain, whole = (_encode(tokenizer, add_special_tokens) for add_special_tokens in (False, True))
    for start in range(len(whole) - len(plain) + 1):
        if plain and whole[start : start + len(plain)] == plain:
            return SpecialTokens(tuple(whole[:start]), tuple(whole[start + len(plain) :]))
    rule = f"its special tokens cannot be told from a text: {_PROBE!r} becomes {whole}, without them {plain}"
    raise ConfigError(Problem("tokenizer_name", str(tokenizer.name_or_path), rule, "choose another tokenizer"))


def cut_text(ids: list[int], special: SpecialTokens, rule: LengthRule) -> list[list[int]]:
    """Return the windows of a text of token `ids`, special tokens included in both; one, unless under windows."""
    if rule.max_length is None or len(ids) <= rule.max_length:
        return [ids]
    content = ids[len(special.before) : len(ids) - len(special.after)]
    assert rule.step(special.count) > 0, "a window holds nothing new: the caller has checked that it does"
    pieces = _cut_content(content, rule, room=rule.room(special.count), step=rule.step(special.count))
    return [[*special.before, *piece, *special.after] for piece in pieces]


def count_lost(length: int, special: SpecialTokens, rule: LengthRule) -> int:
    """Return how many tokens a text of `length`, special tokens included, loses."""
    return 0 if rule.max_length is None else max(0, length - rule.kept_length(special.count))


def _cut_content(content: Sequence[int], rule: LengthRule, *, room: int, step: int) -> list[Sequence[int]]:
    length = len(content)
    if rule.long_texts == HEAD:
        return [content[:room]]
    if rule.long_texts == TAIL:
        return [content[length - room :]]
    if rule.long_texts == HEAD_TAIL:
        tail = room // 2
        return [[*content[: room - tail], *content[length - tail :]]]
    needed = 1 + -(-(length - room) // step)
    return [content[index * step : index * step + room] for index in range(min(needed, rule.max_windows))]


def _encode(tokenizer: PreTrainedTokenizerBase, add_special_tokens: bool) -> list[int]:
    # a tokenizer file may carry truncation and padding of its own
    encoded = tokenizer(_PROBE, add_special_tokens=add_special_tokens, truncation=False, padding=False)
    return encoded["input_ids"]
