"""Reads a run's YAML file into settings with line numbers.

The file is one flat mapping whose first key is `recipe`. Scalars stay text (see `values`). Refuses what could make a
file say something else than it seems to: duplicate keys, anchors and aliases, tags, more than one document, deep
nesting; and files too large to be a configuration.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from hfpipe.config.given import Given, Origin
from hfpipe.config.values import Raw, Scalar, join_surrogates
from hfpipe.errors import ConfigError, Problem

RECIPE_KEY = "recipe"
_MAX_BYTES = 1_000_000
_MAX_DEPTH = 10
_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True)
class YamlFile:
    """The settings of one file in their order; `recipe` is its first key, or None where another key comes first."""

    path: Path
    recipe: Given | None
    settings: tuple[Given, ...]
    problems: tuple[Problem, ...]


def read_yaml(path: Path) -> YamlFile:
    """Return the settings of `path`, with the problems that leave it readable (duplicate keys).

    Raises:
        ConfigError: If the file is missing, is not UTF-8, is no YAML, or is no flat mapping of keys to values.
    """
    node = _compose(_read_text(path), str(path))
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(Problem(str(path), "", "must be a mapping", "begin it with 'recipe: NAME', one key a line"))
    problems: list[Problem] = []
    items: dict[str, Given] = {}
    for key_node, value_node in node.value:
        origin = Origin("file", f"{path}:{key_node.start_mark.line + 1}")
        key = key_node.value.replace("-", "_") if isinstance(key_node, yaml.ScalarNode) else ""
        if not key:
            problems.append(Problem(origin.place, "", "a key must be a word"))
        elif key in items:
            problems.append(Problem(origin.place, key, f"given already at {items[key].origin}", "keep one of them"))
        else:
            items[key] = Given(key, _raw(value_node, str(path), problems), origin)
    recipe = items.pop(RECIPE_KEY) if next(iter(items), None) == RECIPE_KEY else None
    return YamlFile(path, recipe, tuple(items.values()), tuple(problems))


def read_flow(text: str) -> Raw:
    """Return a list or mapping written in one line, as in '[a, b]' or '{a: 1}'.

    Raises:
        ConfigError: If it is not one.
    """
    problems: list[Problem] = []
    node = _compose(text, "")
    raw = None if node is None else _raw(node, "", problems)
    if problems:
        raise ConfigError(problems)
    return raw


def _read_text(path: Path) -> str:
    try:
        if path.is_file() and path.stat().st_size > _MAX_BYTES:
            raise ConfigError(Problem(str(path), "", f"is over {_MAX_BYTES:,} bytes", "give a configuration file"))
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(Problem(str(path), "", "no such file", "`hfpipe recipes` lists the shipped ones")) from error
    except OSError as error:
        raise ConfigError(Problem(str(path), "", f"cannot be read ({error.strerror})")) from error
    except UnicodeDecodeError as error:
        raise ConfigError(Problem(str(path), "", f"is not UTF-8 (byte {error.start:,})", "save it as UTF-8")) from error


def _compose(text: str, place: str) -> yaml.Node | None:
    try:
        for problem in _event_problems(text, place):
            raise ConfigError(problem)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{place}:{mark.line + 1}" if mark is not None else place
        raise ConfigError(Problem(where, "", f"is not YAML: {error.problem}", _syntax_remedy(error))) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(Problem(f"{place}:{line}", "", "holds a control character", "remove it")) from error


def _syntax_remedy(error: yaml.MarkedYAMLError) -> str:
    if "'\\t'" in (error.problem or ""):
        return "indent with spaces, not with tabs"
    return "write one 'key: value' a line, texts with ': ' or '#' in quotation marks"


def _event_problems(text: str, place: str) -> Iterator[Problem]:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = f"{place}:{event.start_mark.line + 1}" if event.start_mark else place
        if isinstance(event, yaml.AliasEvent) or (isinstance(event, yaml.NodeEvent) and event.anchor):
            yield Problem(where, "", "anchors and aliases are not allowed", "write the value out")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
            yield Problem(where, event.tag, "tags are not allowed", "write the plain value")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            yield Problem(where, "", f"is nested more than {_MAX_DEPTH} deep", "write a flat mapping")


def _raw(node: yaml.Node, place: str, problems: list[Problem]) -> Raw:
    if isinstance(node, yaml.ScalarNode):
        if node.style is None and node.value in _NULLS:
            return None
        text = join_surrogates(node.value)
        if text is None:
            problems.append(Problem(f"{place}:{node.start_mark.line + 1}", "", "holds half a character", "remove it"))
            return None
        return Scalar(text, node.style is not None)
    if isinstance(node, yaml.SequenceNode):
        return [_raw(item, place, problems) for item in node.value]
    values: dict[str, Raw] = {}
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
        if not key or key in values:
            rule = "given twice" if key else "a key must be a word"
            problems.append(Problem(f"{place}:{key_node.start_mark.line + 1}", key, rule, "keep one of them"))
            continue
        values[key] = _raw(value_node, place, problems)
    return values
