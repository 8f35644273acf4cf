"""The values of a configuration while it is being resolved, each with its origin.

Section keys always have a value; a `TrainingArguments` key has one only where a recipe, a plan or the user gave it,
because Trainer's own defaults are Trainer's business.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from hfpipe.config.given import Origin, place_problem
from hfpipe.config.recipes import RECIPES
from hfpipe.config.sections import SECTIONS
from hfpipe.errors import Problem


@dataclass(frozen=True)
class Settled:
    """Values and origins by key; both have the same keys."""

    recipe: str
    values: Mapping[str, object]
    origins: Mapping[str, Origin]

    def get(self, key: str) -> object:
        """Return the value of `key`, None where nothing was said."""
        return self.values.get(key)

    def has(self, key: str) -> bool:
        """Whether `key` has a value that says something: not None, not empty."""
        return self.values.get(key) not in (None, (), {}, "")

    def origin(self, key: str) -> Origin:
        """Return who decided `key`."""
        return self.origins.get(key, Origin("default"))

    def is_given(self, key: str) -> bool:
        """Whether the user wrote a value for `key`."""
        return self.origin(key).is_given

    def plan(self, key: str, value: object, cause: str) -> "Settled":
        """Return these values with `key` decided by what was said about `cause`."""
        origin = Origin("plan", self.origin(cause).place)
        return dataclasses.replace(self, values={**self.values, key: value}, origins={**self.origins, key: origin})

    def problem(self, key: str, rule: str, remedy: str = "") -> Problem:
        """Return a problem of the value of `key`, at the place where it was written."""
        return place_problem(self.origin(key), key, show_value(self.get(key)), rule, remedy)


def show_value(value: object) -> str:
    """Return a typed value as YAML would have it, a text with outer white space in quotes; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(show_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {show_value(item)}' for key, item in value.items())}}}"
    text = str(value)
    return text if text == text.strip() else repr(text)


def read_defaults(recipe: str) -> Settled:
    """Return the defaults of the sections and the recipe."""
    values: dict[str, object] = {}
    for settings in SECTIONS.values():
        values |= {field.name: field.default for field in dataclasses.fields(settings)}
    origins = dict.fromkeys(values, Origin("default"))
    defaults = {**RECIPES[recipe].defaults, **RECIPES[recipe].settings}
    return Settled(recipe, {**values, **defaults}, {**origins, **dict.fromkeys(defaults, Origin("recipe"))})
