"""Resolves a YAML file and a command line into a `RunConfig`, or into all that is wrong with them at once.

Command line over file over recipe default over default. Everything is known before torch is imported.
"""

import dataclasses
import difflib
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hfpipe.config.arguments import ACCEPTED, REFUSED
from hfpipe.config.argv import CONFIG_KEY, CommandLine, leave_out, read_argv
from hfpipe.config.given import Given, Origin
from hfpipe.config.keys import TRAINER_SECTION, Key, read_keys, read_retired, suggest_key
from hfpipe.config.plan import plan_values
from hfpipe.config.recipes import RECIPES
from hfpipe.config.retired import EXPLAINED
from hfpipe.config.rules import find_conflicts, find_warnings
from hfpipe.config.run_config import RunConfig
from hfpipe.config.sections import SECTIONS
from hfpipe.config.settled import Settled, read_defaults
from hfpipe.config.values import Raw, Scalar, Unfit, ValueType, parse_value, show
from hfpipe.config.yaml_file import RECIPE_KEY, YamlFile, read_flow, read_yaml
from hfpipe.errors import ConfigError, Problem

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Reading:
    """What became of the given settings: their values by key, what is wrong, what deserves a word."""

    values: dict[str, tuple[object, Origin]]
    problems: list[Problem]
    notes: list[str]


def load_config(argv: Sequence[str], *, recipe: str | None = None) -> RunConfig:
    """Return the configuration of a run from its command line and the YAML file that `--config` names.

    `recipe` is the recipe that is going to run; without it the file's first key decides.

    Raises:
        ConfigError: With every problem of file and command line, each at its file:line or flag.
    """
    command = read_argv(argv, _is_switch)
    file = None if command.config_file is None else read_yaml(command.config_file)
    problems = [*(file.problems if file else ()), *command.problems]
    name = _choose_recipe(file, recipe, problems)
    reading = _read_given(file, command, name)
    problems += reading.problems
    settled = plan_values(_overlay(read_defaults(name), reading))
    problems += find_conflicts(settled)
    if problems:
        raise ConfigError(problems)
    for note in reading.notes:
        logger.info(note)
    for warning in find_warnings(settled):
        logger.warning(warning)
    return _build(settled, command)


def without_settings(argv: Sequence[str], keys: Collection[str]) -> list[str]:
    """Return the words of a command line without those of the settings `keys`."""
    return leave_out(argv, keys, _is_switch)


def _is_switch(key: str) -> bool | None:
    if key in ACCEPTED or key == CONFIG_KEY:
        return key in ACCEPTED
    known = read_keys().get(read_retired().get(key, key))
    return None if known is None else known.value_type.scalars == ("bool",)


def _choose_recipe(file: YamlFile | None, recipe: str | None, problems: list[Problem]) -> str:
    """Return the recipe to resolve for; what is wrong is added to `problems`, or raised where nothing can go on."""
    named = None if file is None or file.recipe is None else file.recipe
    later = next((given for given in file.settings if given.key == RECIPE_KEY), None) if file is not None else None
    if later is not None and named is None:
        problems.append(later.key_problem("must be the first key of the file", "move it to the top"))
    elif file is not None and named is None:
        known = recipe or " | ".join(RECIPES)
        problems.append(Problem(str(file.path), "", "must begin with its recipe", f"write 'recipe: {known}' first"))
    if named is not None and show(named.raw) not in RECIPES:
        near = difflib.get_close_matches(show(named.raw).lower(), RECIPES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"the recipes are {', '.join(RECIPES)}"
        problems.append(named.problem("no such recipe", hint))
    elif named is not None and recipe not in (None, show(named.raw)):
        written = show(named.raw)
        remedy = f"run it with `hfpipe run {file.path if file else 'FILE'}` or recipes/{written}.py"
        raise ConfigError([*problems, named.problem(f"this file is for {written}, not for {recipe}", remedy)])
    chosen = recipe if recipe is not None else show(named.raw) if named is not None else ""
    if chosen not in RECIPES:
        raise ConfigError(problems or Problem("--config", "", "no file is given", "write --config FILE.yaml"))
    return chosen


def _read_given(file: YamlFile | None, command: CommandLine, recipe: str) -> _Reading:
    reading = _Reading({}, [], [])
    of_file = [given for given in file.settings if given.key != RECIPE_KEY] if file else []
    for settings in (of_file, command.settings):
        for given in _translate(settings, reading):
            try:
                reading.values[given.key] = (_read_value(given, recipe, reading), given.origin)
            except ConfigError as error:
                reading.problems.extend(error.problems)
    return reading


def _translate(settings: Iterable[Given], reading: _Reading) -> list[Given]:
    """Return the settings under today's names."""
    translated: dict[str, Given] = {}
    for given in settings:
        key = read_retired().get(given.key, given.key)
        if key != given.key:
            reading.notes.append(f"{given.origin.place}: {given.key} is read as {key}")
        if given.key == "warmup_ratio" and show(given.raw) in ("1", "1.0"):
            reading.problems.append(given.problem("is gone from transformers", "write warmup_steps, below 1 a share"))
        elif key in translated:
            first = translated[key].origin.place
            reading.problems.append(given.problem(f"is {key}, which is given already at {first}", "keep one of them"))
        else:
            translated[key] = dataclasses.replace(given, key=key)
    return list(translated.values())


def _read_value(given: Given, recipe: str, reading: _Reading) -> object:
    """Return the typed value of a setting, None where it is unset.

    Raises:
        ConfigError: If there is no such setting for this recipe, or its value does not fit.
    """
    key = read_keys().get(given.key)
    if given.key in ACCEPTED:
        _note_accepted(given, reading)
        return None
    if key is None:
        raise ConfigError(_refuse(given))
    if given.raw is None or _means_newest(given, reading):
        return None
    if recipe not in key.recipes:
        raise ConfigError(given.problem(f"is a setting of {', '.join(key.recipes)}, not of {recipe}", _twin(given.key)))
    try:
        return _typed(parse_value(_expand(given.raw, key.value_type), key.value_type, key.bounds), key)
    except Unfit as unfit:
        raise ConfigError(given.problem(unfit.rule, unfit.remedy)) from unfit


def _means_newest(given: Given, reading: _Reading) -> bool:
    """Whether this is Trainer's `resume_from_checkpoint: true`, which is what a run does in any case.

    Raises:
        ConfigError: If it is `false`, which in Trainer means to begin anew.
    """
    word = show(given.raw).lower() if given.key == "resume_from_checkpoint" else ""
    if word == "false":
        raise ConfigError(
            given.problem("a run goes on from its newest checkpoint", "remove it, or begin anew with fresh_start: true")
        )
    if word == "true":
        reading.notes.append(f"{given.origin.place}: {given.key}: true has no effect: a run is resumed in any case")
    return word == "true"


def _twin(key: str) -> str:
    twins = {"block_size": "write max_seq_length", "max_seq_length": "write block_size"}
    return twins.get(key, "remove it")


def _typed(value: object, key: Key) -> object:
    # Trainer asks for lists, and takes a tuple for one name.
    return list(value) if isinstance(value, tuple) and key.section == TRAINER_SECTION else value


def _expand(raw: Raw, value_type: ValueType) -> Raw:
    """Return the list or mapping that a word in brackets stands for, where one is wanted."""
    if not isinstance(raw, Scalar):
        return raw
    text = raw.text.strip()
    is_list = value_type.items and text.startswith("[") and text.endswith("]")
    is_mapping = value_type.entries and text.startswith("{") and text.endswith("}")
    if not (is_list or is_mapping):
        return raw
    try:
        return read_flow(text)
    except ConfigError as error:
        raise Unfit("is no list or mapping in YAML's short form", "write '[a, b]' or '{a: 1, b: 2}'") from error


def _note_accepted(given: Given, reading: _Reading) -> None:
    accepted = ACCEPTED[given.key]
    if show(given.raw).lower() in ("false", "no", "0", "off"):
        raise ConfigError(given.problem(accepted.reason, accepted.remedy))
    reading.notes.append(f"{given.origin.place}: {given.key} has no effect: {accepted.reason}")


def _refuse(given: Given) -> Problem:
    if given.key in REFUSED:
        return given.key_problem(REFUSED[given.key].reason, REFUSED[given.key].remedy)
    if given.key in EXPLAINED:
        rule, _, remedy = EXPLAINED[given.key].partition("; ")
        return given.key_problem(rule, remedy)
    if given.key in (*SECTIONS, TRAINER_SECTION) and isinstance(given.raw, dict):
        return given.key_problem("settings are not nested", "write its keys at the left margin, without this line")
    if given.key == RECIPE_KEY:
        return given.key_problem("is no flag", "write it first in the file of --config")
    if given.key == CONFIG_KEY:
        return given.key_problem("a file cannot name another", "put the settings into one file")
    closest = suggest_key(given.key)
    hint = f"did you mean '{closest}'?" if closest else "`--help` lists the settings"
    return given.key_problem("no such setting", hint)


def _overlay(defaults: Settled, reading: _Reading) -> Settled:
    values, origins = dict(defaults.values), dict(defaults.origins)
    for key, (value, origin) in reading.values.items():
        if key in ACCEPTED:
            continue
        if value is None:
            origins[key] = Origin(defaults.origin(key).kind, origin.place)
        else:
            values[key], origins[key] = value, origin
    return Settled(defaults.recipe, values, {key: origins[key] for key in values})


def _build(settled: Settled, command: CommandLine) -> RunConfig:
    # Every value was parsed by the annotation of the field it goes to.
    sections: dict[str, Any] = {
        section: settings(**{field.name: settled.values[field.name] for field in dataclasses.fields(settings)})
        for section, settings in SECTIONS.items()
    }
    trainer = {key: value for key, value in settled.values.items() if read_keys()[key].section == TRAINER_SECTION}
    return RunConfig(
        recipe=settled.recipe,
        **sections,
        trainer_arguments=trainer,
        origins=settled.origins,
        config_file=command.config_file,
    )
