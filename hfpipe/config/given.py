"""One setting as its user wrote it, with the place to name in messages.

The place is what a user can open or retype: `recipes/imdb/minilm.yaml:7`, or `--learning_rate` on the command line.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from hfpipe.config.values import Raw, show
from hfpipe.errors import Problem
from hfpipe.secrecy import HIDDEN, is_secret_name

OriginKind: TypeAlias = Literal["default", "recipe", "plan", "file", "command line"]

# The later wins; what was planned follows from the others and never wins over what a user wrote.
_PRECEDENCE: tuple[OriginKind, ...] = ("default", "recipe", "plan", "file", "command line")


@dataclass(frozen=True)
class Origin:
    """Who decided a value; `place` is `recipes/imdb/minilm.yaml:7` or `--seed`.

    For a default it is empty, or the place of the `null` that unset the value; for a plan, what it follows from.
    """

    kind: OriginKind
    place: str = ""

    @property
    def is_given(self) -> bool:
        """Whether the user wrote it."""
        return self.kind in ("file", "command line")

    def outranks(self, other: "Origin") -> bool:
        """Whether this origin's value stands where both gave one."""
        return _PRECEDENCE.index(self.kind) > _PRECEDENCE.index(other.kind)

    def __str__(self) -> str:
        if self.is_given:
            return self.place
        joint = "follows from" if self.kind == "plan" else "null at"
        return f"{self.kind} ({joint} {self.place})" if self.place else self.kind


@dataclass(frozen=True)
class Given:
    """A key and value as written; `key` has underscores, `raw` is None where it was `null`."""

    key: str
    raw: Raw
    origin: Origin

    def problem(self, rule: str, remedy: str = "") -> Problem:
        """Return a problem that names place, key and value, but the value of no secret."""
        value = HIDDEN if is_secret_name(self.key) else show(self.raw)
        return place_problem(self.origin, self.key, value, rule, remedy)

    def key_problem(self, rule: str, remedy: str = "") -> Problem:
        """Return a problem of the key itself, whatever its value."""
        if self.origin.kind == "command line":
            return Problem(self.origin.place, "", rule, remedy)
        return Problem(self.origin.place, self.key, rule, remedy)


def place_problem(origin: Origin, key: str, value: str, rule: str, remedy: str = "") -> Problem:
    """Return a problem of `key`: `--key value` as it could be retyped, or `file:line: key: value`."""
    if origin.kind == "command line":
        separator = " " if origin.place.startswith("--") else "="
        return Problem(f"{origin.place}{separator}{value}", "", rule, remedy)
    return Problem(origin.place or key, f"{key}: {value}" if origin.place else value, rule, remedy)
