"""Text about settings: a resolved configuration with its origins, and the help of a recipe."""

import textwrap
from collections.abc import Iterable

from hfpipe.config.keys import TRAINER_SECTION, Key, read_keys
from hfpipe.config.recipes import RECIPES
from hfpipe.config.run_config import RunConfig
from hfpipe.config.settled import read_defaults, show_value
from hfpipe.secrecy import hide

_HELP_WIDTH = 120

TITLES = {
    "data": "Data",
    "model": "Model",
    "training": "Training",
    "evaluation": "Evaluation",
    "hub": "Hub",
    TRAINER_SECTION: "TrainingArguments",
}


def describe_config(config: RunConfig, *, with_defaults: bool = False) -> list[str]:
    """Return a line for each setting by section, with its value and who decided it, and without secrets.

    Without `with_defaults`, only what differs from the defaults of the sections.
    """
    lines = [f"recipe: {config.recipe}", f"run directory: {config.output_dir}"]
    for section, values in config.sections().items():
        shown = [
            (key, show_value(value) or "null", str(config.origins[key]))
            for key, value in values.items()
            if config.recipe in read_keys()[key].recipes and (with_defaults or str(config.origins[key]) != "default")
        ]
        lines += [f"{TITLES[section]}:", *_columns(shown)] if shown else []
    return [hide(line) for line in lines]


def describe_recipe(recipe: str) -> str:
    """Return the help of a recipe: what it does, and its settings with type, default and meaning."""
    name = f"recipes/{recipe}.py"
    parts = [
        f"{RECIPES[recipe].summary}\n",
        f"usage: python {name} [--config FILE.yaml] [--key value | --key=value | key=value]...",
        f"       accelerate launch [--config_file FILE] {name} [--config FILE.yaml] [--key value]...",
        "\nCommand line over file over default; '--key null' unsets. The file begins with 'recipe: " + recipe + "'.",
    ]
    keys = [key for key in read_keys().values() if recipe in key.recipes]
    for section, title in TITLES.items():
        entries = [key for key in keys if key.section == section]
        is_trainers = section == TRAINER_SECTION
        lines = _trainer_lines(entries, recipe) if is_trainers else [_setting_lines(key, recipe) for key in entries]
        parts += [f"\n{title}:", *lines]
    return "\n".join(parts)


def short_type(key: Key) -> str:
    """Return the type of a setting in the words of its documentation."""
    if key.bounds.choices and key.section != TRAINER_SECTION and not key.value_type.items:
        return " | ".join(key.bounds.choices)
    forms = list(key.value_type.scalars)
    forms += ["list"] if key.value_type.items else []
    forms += ["mapping"] if key.value_type.entries else []
    return " | ".join(forms)


def _setting_lines(key: Key, recipe: str) -> str:
    own = RECIPES[recipe].settings
    text = show_value(own[key.name]) if key.name in own else key.default_text
    default = f"  [default: {text}]" if text else ""
    meaning = textwrap.fill(key.help, _HELP_WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return f"  --{key.name}  {short_type(key)}{default}\n{meaning}"


def _trainer_lines(keys: Iterable[Key], recipe: str) -> list[str]:
    """The documentation of these is Hugging Face's; a line each, and a mark where the recipe has its own default."""
    own = read_defaults(recipe).values
    rows = [
        (
            f"--{key.name}",
            short_type(key),
            f"{show_value(own[key.name])} (this recipe's)" if key.name in own else key.default_text,
        )
        for key in keys
    ]
    return _columns(rows)


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    widths = [min(48, max(len(row[column]) for row in rows)) for column in (0, 1)]
    return [f"  {key:<{widths[0]}}  {value:<{widths[1]}}  {last}".rstrip() for key, value, last in rows]
