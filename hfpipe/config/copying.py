"""Copies what ships with hfpipe into a folder of the user's, to be changed there.

Refuses to overwrite. A copy is a file like any other: `hfpipe run` takes the copied YAML, and launchers take a copied
recipe, which finds everything it calls in the installed hfpipe.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from hfpipe.config.recipes import RECIPES
from hfpipe.config.shipped import find_shipped
from hfpipe.errors import ConfigError, Problem


@dataclass(frozen=True)
class Copied:
    """The file that was written, and the command that uses it."""

    path: Path
    next_command: str


def copy_shipped(name: str, target: Path, *, overwrite: bool = False) -> Copied:
    """Copy a named run, a recipe's module, an accelerate file or the Slurm script to `target` and return the copy.

    `target` is a folder, made where it is missing, or a file name with the ending of what is copied.

    Raises:
        ConfigError: If nothing of that name ships, the copy would take the place of a file, or it cannot be written.
    """
    source = find_shipped(name)
    is_file_name = target.suffix == source.suffix and not target.is_dir()
    path = target if is_file_name else target / source.name
    if path.exists() and path.samefile(source):
        raise ConfigError(Problem(str(path), rule="is the shipped file itself", remedy="name another folder"))
    if path.exists() and not overwrite:
        raise ConfigError(Problem(str(path), rule="exists", remedy="name another folder, or add --overwrite"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(Problem(str(path), reason, "cannot be written", "name another folder")) from error
    return Copied(path, _next_command(source, path))


def _next_command(source: Path, path: Path) -> str:
    if source.suffix == ".sbatch":
        return f"sbatch {path} FILE|NAME"
    if source.stem in RECIPES:
        return f"python {path} --config FILE"
    if source.parent.name == "accelerate_configs":
        return f"hfpipe run FILE|NAME --accelerate {path}"
    return f"hfpipe run {path}"
