"""The wheel and the source archive carry what a checkout has: every module, recipe, named run and accelerate file."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import tomllib
from conftest import ROOT

SOURCES = ("hfpipe", "recipes", "accelerate_configs")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"


def build(kind: str, source: Path, output: Path) -> Path:
    """Build from `source` as pip does without isolation and return what was written."""
    command = [sys.executable, "-c", BUILD.format(kind), str(output)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = output.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return built


def copy_sources(folder: Path) -> Path:
    """Copy what a build reads: one in the checkout would leave folders behind, and pack what an earlier one left."""
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def files_of(root: Path) -> set[str]:
    """Return the paths of every source file, as they lie in the checkout."""
    found = (path for name in SOURCES for path in (root / name).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix() for path in found if "__pycache__" not in path.parts}


def installed_paths(checkout_paths: Iterable[str]) -> set[str]:
    return {path if path.startswith("hfpipe/") else f"hfpipe/{path}" for path in checkout_paths}


def test_source_archive_and_wheel_carry_everything(tmp_path: Path) -> None:
    expected = files_of(ROOT)
    assert {"recipes/finetune_classifier.py", "recipes/imdb/minilm.yaml"} < expected
    assert {"accelerate_configs/multi_cpu.yaml", "accelerate_configs/multi_node.sbatch"} < expected
    archive = build("sdist", copy_sources(tmp_path / "checkout"), tmp_path / "sdist")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert files_of(unpacked) == expected

    wheel = build("wheel", unpacked, tmp_path / "wheel")
    packed_names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed_names == installed_paths(expected)


def test_every_package_is_named() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent for path in (ROOT / "hfpipe").rglob("*.py")}
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(settings["packages"]) == packages | {"hfpipe.recipes", "hfpipe.accelerate_configs"}
