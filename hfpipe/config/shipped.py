"""Finds what ships with hfpipe: recipes, named runs and accelerate files.

They lie in `recipes/` and `accelerate_configs/` beside the package in a checkout, and inside the package once
installed. A path that a user gives and that exists wins over a name.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hfpipe.config.recipes import RECIPES
from hfpipe.config.values import show
from hfpipe.config.yaml_file import read_yaml
from hfpipe.errors import ConfigError, Problem

_PACKAGE = Path(__file__).resolve().parent.parent
_RECIPES = "recipes"
_ACCELERATE_CONFIGS = "accelerate_configs"
_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class NamedRun:
    """A shipped YAML file: `name` is `imdb/minilm`, `summary` the comment at its top, else the recipe's."""

    name: str
    recipe: str
    summary: str
    path: Path


def list_named_runs() -> list[NamedRun]:
    """Return the shipped runs by name.

    Raises:
        ConfigError: If a shipped file cannot be read.
    """
    folder = _find_folder(_RECIPES)
    return [_describe_run(path, folder) for path in sorted(folder.glob("*/*.yaml"))]


def find_named_run(name: str) -> Path:
    """Return the YAML file that `name` means: a path as given, or a shipped run such as `imdb/minilm`.

    Raises:
        ConfigError: If there is neither.
    """
    known = {path.relative_to(_find_folder(_RECIPES)).with_suffix("").as_posix(): path for path in _named_files()}
    return _find(name, known, rule="no such file and no such run", remedy="`hfpipe recipes` lists the shipped ones")


def find_accelerate_config(name: str) -> Path:
    """Return the accelerate file that `name` means: a path as given, or a shipped one such as `multi_cpu`.

    Raises:
        ConfigError: If there is neither.
    """
    known = {path.stem: path for path in sorted(_find_folder(_ACCELERATE_CONFIGS).glob("*.yaml"))}
    remedy = f"the shipped ones are {', '.join(known)}"
    return _find(name, known, rule="no such file and no such accelerate configuration", remedy=remedy)


def find_recipe_module(recipe: str) -> Path:
    """Return the file of a recipe, for launching it by its path.

    Raises:
        ConfigError: If there is no such recipe.
    """
    path = _find_folder(_RECIPES) / f"{recipe}.py"
    if recipe not in RECIPES or not path.is_file():
        raise ConfigError(Problem("recipe", recipe, "no such recipe", f"the recipes are {', '.join(RECIPES)}"))
    return path


def find_shipped(name: str) -> Path:
    """Return the file that `name` means among all that ships: a run, a recipe's module, an accelerate file or script.

    Raises:
        ConfigError: If nothing has this name.
    """
    known = {path.relative_to(_find_folder(_RECIPES)).with_suffix("").as_posix(): path for path in _named_files()}
    known |= {recipe: find_recipe_module(recipe) for recipe in RECIPES}
    known |= {path.stem: path for path in sorted(_find_folder(_ACCELERATE_CONFIGS).glob("*.yaml"))}
    known |= {path.name: path for path in sorted(_find_folder(_ACCELERATE_CONFIGS).glob("*.sbatch"))}
    return _find(
        name.removesuffix(".py"), known, rule="nothing of this name ships", remedy=f"these do: {', '.join(known)}"
    )


def _find_folder(name: str) -> Path:
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def _named_files() -> Iterable[Path]:
    return sorted(_find_folder(_RECIPES).glob("*/*.yaml"))


def _find(name: str, known: dict[str, Path], *, rule: str, remedy: str) -> Path:
    given = Path(name).expanduser()
    if given.is_file():
        return given
    stem = name.removeprefix(f"{_RECIPES}/").removeprefix(f"{_ACCELERATE_CONFIGS}/")
    for suffix in _YAML:
        stem = stem.removesuffix(suffix)
    if stem in known:
        return known[stem]
    closest = difflib.get_close_matches(stem, known, n=1)
    raise ConfigError(Problem(name, "", rule, f"did you mean '{closest[0]}'?" if closest else remedy))


def _describe_run(path: Path, folder: Path) -> NamedRun:
    file = read_yaml(path)
    recipe = show(file.recipe.raw) if file.recipe is not None else ""
    if recipe not in RECIPES:
        raise ConfigError(Problem(str(path), "", "must begin with its recipe", f"one of {', '.join(RECIPES)}"))
    summary = _first_comment(path) or RECIPES[recipe].summary
    return NamedRun(path.relative_to(folder).with_suffix("").as_posix(), recipe, summary, path)


def _first_comment(path: Path) -> str:
    """Return the first line of the comment that stands above the first key."""
    first = path.read_text(encoding="utf-8").lstrip().partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""
