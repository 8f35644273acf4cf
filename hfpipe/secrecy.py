"""Secrets taken out of what people read and what is written: tokens, passwords, keys and signed addresses.

Known are the values of the environment's variables with such names, of proxies, of the login to the Hub and of
~/.netrc, as they are, percent-encoded and in base64; and whatever looks like a token or like an address with a
password. It is the net below the rule that nobody hands a secret around: every `Problem`, line of the log and recorded
setting goes through `hide`. It cannot know a secret that stands nowhere and looks like any word.
"""

import base64
import logging
import netrc
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

HIDDEN = "***"
# Shorter values, and plain words, would be found where they mean something else.
_MIN_LENGTH = 8
_PLAIN_WORD = re.compile(r"[A-Z]?[a-z_.-]{1,19}|[A-Z_.-]{1,19}")

_KEYS = r"(?:api|access|private|secret|auth)[_-]?key(?:_id)?"
_WORDS = rf"token|secrets?|passwords?|passwd|passphrase|credentials?|{_KEYS}"
_NAME = re.compile(rf"(?:^|[_.-])(?:{_WORDS})(?:$|[_.-])", re.IGNORECASE)
_PROXY = re.compile(r"(?:https?|all|ftp|socks)_proxy", re.IGNORECASE)
_QUERY = r"(?:[\w-]*(?:token|secret|passw(?:or)?d|signature|credential)|sig|auth|key|[\w-]*api[_-]?key)"
# 'pad_token: <pad>' is a setting like others
_FIELD = r"[\w-]*(?:secret|passw(?:or)?d|(?:api|access|secret)[_-]?key)|(?:(?:hub|hf|auth|access|api)[_-])?token"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # a path has lost one of the two slashes of an address; a password may hold some
    (re.compile(r"(\b[a-z][a-z0-9+.-]+:/{1,3})[^/\s@'\":]+:(?!\d+/)[^\s@'\"]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]+:/{1,3})[^/\s@'\"]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (
        re.compile(rf"\b((?:{_FIELD})['\"]?\s*[:=]\s*['\"]?)(?=\S*\d)[^\s,'\"&)\]}}]{{8,}}", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(rf"([?&;]{_QUERY}=)[^&\s'\"#)]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\b(authorization['\"]?\s*[:=]\s*['\"]?(?:\w+ )?)[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1{HIDDEN}"),
    # a digit: 'basic understanding' is no login
    (re.compile(r"\b(bearer|basic) (?=\S*\d)[\w.~+/-]{12,}=*", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\bhf_[A-Za-z0-9]{20,}"), HIDDEN),
    (re.compile(r"\b(?:sk|pk|rk)-(?=[\w-]*\d)[\w-]{16,}"), HIDDEN),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})"), HIDDEN),
    (re.compile(r"\b(?:glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,})"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), HIDDEN),
    (re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+"), HIDDEN),
)


def is_secret_name(name: str) -> bool:
    """Tell whether a setting or variable of this name holds a secret, as `hub_token` and `OPENAI_API_KEY` do."""
    return _NAME.search(name) is not None


def hide(text: str) -> str:
    """Return `text` with every secret that is known or looks like one replaced by `***`."""
    return _hide(text, find_secrets(os.environ))


def hide_in(value: Any) -> Any:
    """Return JSON-like `value` with the secrets in its texts hidden, those of names of fields excepted."""
    return _hide_in(value, find_secrets(os.environ))


def _hide(text: str, secrets: Sequence[str]) -> str:
    for value in secrets:
        text = text.replace(value, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _hide_in(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        return _hide(value, secrets)
    if isinstance(value, Mapping):
        return {key: _hide_in(each, secrets) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_hide_in(each, secrets) for each in value]
    return value


def find_secrets(environment: Mapping[str, str]) -> list[str]:
    """Return the secrets this process may come across, in the forms they may take; the longest first."""
    found = {value for value in _known_values(environment) if _is_telling(value)}
    return sorted({form for value in found for form in _forms(value)}, key=len, reverse=True)


def _known_values(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if is_secret_name(name) and not _is_file(value):
            yield value.strip()
        if _PROXY.fullmatch(name):
            yield from _passwords(value)
    yield from _login(environment)
    yield from _netrc_passwords(environment)


def _passwords(address: str) -> Iterator[str]:
    try:
        password = urlsplit(address).password
    except ValueError:  # no address
        return
    if password:
        yield from (password, unquote(password))


def _login(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the token that `hf auth login` has left."""
    home = environment.get("HF_HOME") or "~/.cache/huggingface"
    text = _read(Path(environment.get("HF_TOKEN_PATH") or f"{home}/token"))
    if text:
        yield text.strip()


def _netrc_passwords(environment: Mapping[str, str]) -> Iterator[str]:
    path = Path(environment.get("NETRC") or "~/.netrc").expanduser()
    try:
        hosts = netrc.netrc(path).hosts if path.is_file() else {}
    except (OSError, UnicodeDecodeError, netrc.NetrcParseError):  # clients cannot read it either
        return
    yield from (password for _, _, password in hosts.values() if password)


def _forms(value: str) -> Iterator[str]:
    yield value
    yield quote(value, safe="")
    yield quote_plus(value)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(value.encode()).decode().rstrip("=")


def _is_telling(value: str) -> bool:
    return len(value) >= _MIN_LENGTH and _PLAIN_WORD.fullmatch(value) is None


def _is_file(value: str) -> bool:
    return value.startswith(("/", "~", ".")) and len(value) < 1_000 and Path(value).expanduser().is_file()


def _read(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError):  # RuntimeError: a home that is not known
        return ""


class HidingFormatter(logging.Formatter):
    """Formats log records, tracebacks among them, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of the log."""
        return hide(super().format(record))


def hide_in_tracebacks() -> None:
    """Have Python print what nobody caught, which is a bug, without secrets."""
    sys.excepthook = _print_hidden


def _print_hidden(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    write: Callable[[str], object] = sys.stderr.write
    write(hide("".join(traceback.format_exception(kind, error, trace))))
