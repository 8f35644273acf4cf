"""Every key a configuration may hold: hfpipe's own settings and the passed `TrainingArguments` fields, as one table.

A name stands once: Trainer's fields that hfpipe reads itself appear as settings only. `gradient_checkpointing` is a
key only where the installed transformers has no `activation_checkpointing` yet.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from hfpipe.config.arguments import ACCEPTED, PASSED, REFUSED, Passed
from hfpipe.config.decays import DECAYS
from hfpipe.config.installed import InstalledField, read_installed_fields, read_reporters
from hfpipe.config.retired import CHECKPOINTING, EXPLAINED, SUCCESSORS
from hfpipe.config.sections import FINETUNE, PRETRAIN, SECTIONS, Change, Setting
from hfpipe.config.values import Bounds, ValueType

TRAINER_SECTION = "trainer"
# Tuned on every one-letter slip of every key: below it, words that share nothing are suggested.
_SUGGESTION_CUTOFF = 0.7


@dataclass(frozen=True)
class Key:
    """What is known of one key; `default_text` is the default as documentation shows it."""

    name: str
    section: str
    value_type: ValueType
    bounds: Bounds
    change: Change
    default_text: str
    help: str = ""
    recipes: tuple[str, ...] = (PRETRAIN, FINETUNE)


@cache
def read_keys() -> Mapping[str, Key]:
    """Return every key by name: the sections in their order, then `TrainingArguments`.

    Raises:
        ConfigError: If transformers is not installed.
    """
    keys = {key.name: key for section, settings in SECTIONS.items() for key in _section_keys(section, settings)}
    installed = read_installed_fields()
    for name, passed in PASSED.items():
        replaced = CHECKPOINTING.get(name) in installed
        if name in installed and not replaced:
            keys[name] = _trainer_key(installed[name], passed)
    return keys


def read_retired() -> Mapping[str, str]:
    """Return the names that are read as another one of the same meaning."""
    installed = read_installed_fields()
    newer = {old: new for old, new in CHECKPOINTING.items() if new in installed}
    older = {new: old for old, new in CHECKPOINTING.items() if new not in installed}
    return {**SUCCESSORS, **newer, **older}


def suggest_key(name: str) -> str | None:
    """Return the known key closest to a mistyped one, or None where nothing is close."""
    candidates = [*read_keys(), *read_retired(), *EXPLAINED, *REFUSED, *ACCEPTED]
    matches = difflib.get_close_matches(name.lower(), candidates, n=1, cutoff=_SUGGESTION_CUTOFF)
    return read_retired().get(matches[0], matches[0]) if matches else None


def change_of(key: str) -> Change:
    """Return what a change of `key` means to a run that is resumed; unknown keys are part of its identity."""
    return read_keys()[key].change if key in read_keys() else "identity"


def _section_keys(section: str, settings: type) -> list[Key]:
    hints = typing.get_type_hints(settings)
    return [
        _setting_key(section, field, _type_of_hint(hints[field.name]), field.metadata["setting"])
        for field in dataclasses.fields(settings)
    ]


def _setting_key(section: str, field: "dataclasses.Field[object]", value_type: ValueType, details: Setting) -> Key:
    # a list of names out of a few may be written as one text, where a list of files may not
    value_type = dataclasses.replace(value_type, comma_list=value_type.items and bool(details.choices))
    return Key(
        name=field.name,
        section=section,
        value_type=value_type,
        bounds=Bounds(details.minimum, details.maximum, details.above, details.below, choices=details.choices),
        change=details.change,
        default_text=_default_text(field.default),
        help=details.help,
        recipes=details.recipes,
    )


def _default_text(default: object) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, tuple):
        return f"[{', '.join(default)}]"
    return str(default).lower() if isinstance(default, bool) else str(default)


def _trainer_key(field: InstalledField, passed: Passed) -> Key:
    value_type, bounds = field.value_type, passed.bounds
    if field.name == "report_to":
        value_type = dataclasses.replace(value_type, comma_list=True)
        bounds = Bounds(choices=read_reporters())
    elif field.choices:
        own = DECAYS if field.name == "lr_scheduler_type" else ()
        bounds = dataclasses.replace(bounds, choices=(*field.choices, *own))
    default = "" if field.default in ("None", "default_optim") else field.default.strip("'")
    default = default.lower() if default in ("True", "False") else default
    return Key(field.name, TRAINER_SECTION, value_type, bounds, passed.change, default)


def _type_of_hint(hint: object) -> ValueType:
    """Return the forms of an annotation made of scalars, tuples of texts or mappings, mappings and None."""
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    parts = typing.get_args(hint) if union else (hint,)
    value_type = ValueType(optional=type(None) in parts)
    scalars = tuple(name for name, kind in _SCALARS.items() if kind in parts)
    for part in parts:
        if typing.get_origin(part) is tuple:
            of_mappings = bool(typing.get_args(typing.get_args(part)[0]))
            value_type = dataclasses.replace(value_type, items=True, item_entries=("any",) if of_mappings else ())
        elif typing.get_args(part):
            entries = _type_of_hint(typing.get_args(part)[1]).scalars
            value_type = dataclasses.replace(value_type, entries=entries)
    return dataclasses.replace(value_type, scalars=scalars)


_SCALARS: Mapping[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
