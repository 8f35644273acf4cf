"""What is scored: a text, or two that are judged together."""

from typing import TypeAlias

Text: TypeAlias = str | tuple[str, str]
