"""What the installed transformers accepts, read from its source without importing it.

Importing `TrainingArguments` takes seconds and imports torch; parsing its file takes 50 ms. Only names, annotations,
defaults and enumerations are read, so nothing of transformers runs. Refuses a version whose source has another shape.
"""

import ast
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hfpipe.config.values import ValueType
from hfpipe.errors import ConfigError, Problem

_SCALARS = ("bool", "int", "float", "str")


@dataclass(frozen=True)
class InstalledField:
    """A field of the installed `TrainingArguments`; `default` is its source text."""

    name: str
    value_type: ValueType
    default: str
    choices: tuple[str, ...]


def find_package(name: str) -> Path | None:
    """Return the folder of an installed package, or None; a top-level package is found without being imported."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def read_source(package: str, relative: str) -> str:
    """Return the text of a file of an installed package.

    Raises:
        ConfigError: If the package is not installed.
    """
    folder = find_package(package)
    if folder is None:
        raise ConfigError(Problem(package, "", "is not installed", "install hfpipe with its dependencies"))
    return (folder / relative).read_text(encoding="utf-8")


@cache
def read_installed_fields() -> Mapping[str, InstalledField]:
    """Return every field of the installed `TrainingArguments` by name, in its order.

    Raises:
        ConfigError: If transformers is not installed, or has no such class where every tested version has it.
    """
    tree = ast.parse(read_source("transformers", "training_args.py"))
    enumerations = _read_enumerations(tree) | _read_enumerations(
        ast.parse(read_source("transformers", "trainer_utils.py"))
    )
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments":
            return {field.name: field for field in _read_fields(node, enumerations)}
    raise ConfigError(
        Problem("transformers", "", "this version has no TrainingArguments", "install a version hfpipe is tested with")
    )


@cache
def read_reporters() -> tuple[str, ...]:
    """Return the names `report_to` takes in the installed version."""
    table = re.search(
        r"^INTEGRATION_TO_CALLBACK = \{(.*?)^\}",
        read_source("transformers", "integrations/integration_utils.py"),
        re.M | re.S,
    )
    names = re.findall(r'"(\w+)":', table.group(1)) if table else []
    return (*names, "all", "none")


def _read_enumerations(tree: ast.Module) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(_name(base) == "ExplicitEnum" for base in node.bases):
            found[node.name] = tuple(
                item.value.value
                for item in node.body
                if isinstance(item, ast.Assign)
                and isinstance(item.value, ast.Constant)
                and isinstance(item.value.value, str)
            )
    return found


def _read_fields(node: ast.ClassDef, enumerations: Mapping[str, tuple[str, ...]]) -> list[InstalledField]:
    fields = []
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            parts = _alternatives(item.annotation)
            choices = tuple(choice for part in parts for choice in enumerations.get(_name(part), ()))
            fields.append(InstalledField(item.target.id, _value_type(parts), _default(item.value), choices))
    return fields


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _alternatives(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [*_alternatives(node.left), *_alternatives(node.right)]
    if isinstance(node, ast.Subscript) and _name(node.value) == "Optional":
        return [*_alternatives(node.slice), ast.Constant(None)]
    return [node]


def _value_type(parts: list[ast.expr]) -> ValueType:
    names = {_name(part.value) if isinstance(part, ast.Subscript) else _name(part) for part in parts}
    # The one Literal there is, Literal[False], is a switch beside a name.
    names |= {"bool"} if "Literal" in names else set()
    mapping = "dict" in names
    return ValueType(
        # Beside a mapping, a string is the path of a JSON file or JSON itself: the mapping says it all.
        scalars=() if mapping else tuple(scalar for scalar in _SCALARS if scalar in names),
        items="list" in names,
        entries=("any",) if mapping else (),
        optional=any(isinstance(part, ast.Constant) and part.value is None for part in parts),
    )


def _default(value: ast.expr | None) -> str:
    if isinstance(value, ast.Call):
        for keyword in value.keywords:
            if keyword.arg == "default":
                return ast.unparse(keyword.value)
        return "None"
    return "None" if value is None else ast.unparse(value)
