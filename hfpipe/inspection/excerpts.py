"""Texts and personal data as messages may show them: short, on one line, and masked."""

from hfpipe.data.personal import mask_personal

EXCERPT_LENGTH = 60
_READ_LENGTH = 4 * EXCERPT_LENGTH
_SHOWN_LENGTH = 40


def excerpt(text: str) -> str:
    """Return how a text begins, on one line, with personal data masked."""
    masked = mask_personal(" ".join(text[:_READ_LENGTH].split()))
    if len(text) > _READ_LENGTH:
        # a number that this cut goes through is not known as one
        masked = masked[:-_SHOWN_LENGTH]
    masked = "".join(sign if sign.isprintable() else " " for sign in masked)
    return masked if len(masked) <= EXCERPT_LENGTH else f"{masked[: EXCERPT_LENGTH - 3]}..."


def mask_value(value: str) -> str:
    """Return the first character of a value and the signs that shape it; letters and digits become stars."""
    shape = "".join("*" if sign.isalnum() else sign for sign in value[1:_SHOWN_LENGTH])
    return f"{value[:1]}{' '.join(shape.splitlines())}"
